//! What comes out, and what is hidden.

use proptest::prelude::*;

use super::*;

#[test]
fn every_rank_gets_the_mean() {
    for ranks in [2, 3, 5] {
        for mode in [Mode::Pairs, Mode::Group] {
            let rings = rings(ranks, mode);
            for (lanes, error) in [(Lanes::Two, 1e-8), (Lanes::Three, 2e-5)] {
                for length in [1, 2, 3, 4, 2047, 2048, 2049, 6145, 20_001] {
                    let vectors = vectors(ranks, length);
                    let found = reduce(&rings, lanes, &vectors);
                    for (at, one) in found[0].iter().enumerate() {
                        let wanted = mean(&vectors, at);
                        let bound = error + wanted.abs() * f64::from(f32::EPSILON);
                        assert!(
                            (f64::from(*one) - wanted).abs() <= bound,
                            "{ranks} {length} {at}"
                        );
                    }
                    assert!(found.iter().all(|one| one == &found[0]));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_error_is_that_of_the_grid(
        values in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::ZERO | proptest::num::f32::SUBNORMAL, 2..40),
    ) {
        static SESSION: LazyLock<std::sync::Mutex<Vec<Ring>>> =
            LazyLock::new(|| std::sync::Mutex::new(rings(2, Mode::Pairs)));
        let rings = SESSION.lock().unwrap();
        let vectors = [values.clone(), values.iter().rev().copied().collect()];
        prop_assume!(values.iter().any(|value| *value != 0.0));
        let largest = values.iter().fold(0f32, |most, value| most.max(value.abs()));
        let found = reduce(&rings, Lanes::Two, &vectors);
        for (at, one) in found[0].iter().enumerate() {
            let wanted = mean(&vectors, at);
            // Half a step of 2^-29 of the largest value for each rank, and rounding to 32 bits.
            let bound = f64::from(largest) * 2f64.powi(-29) + wanted.abs() * 2f64.powi(-24) + 2f64.powi(-149);
            prop_assert!((f64::from(*one) - wanted).abs() <= bound, "{one} {wanted}");
        }
    }
}

#[test]
fn no_sum_of_some_ranks_or_of_all_shows_on_the_wire() {
    let ranks = 4;
    let rings = rings(ranks, Mode::Pairs);
    // Zeros with a small number, so that their words are known: half of the range in each lane.
    let vectors: Vec<Vec<f32>> = (0..ranks).map(|_| vec![2f32.powi(-20); 64]).collect();
    let masked = mask(&rings, Lanes::Two, &vectors, 1);
    let level = 3u64 << 28;
    let plain = level << 32 | level;
    for chosen in 1..1u32 << ranks {
        let some: Vec<_> = (0..ranks).filter(|rank| chosen >> rank & 1 == 1).collect();
        let words: Vec<_> = some
            .iter()
            .map(|rank| masked.words[*rank].clone())
            .collect();
        let partial = sum(&words);
        let shown = plain.wrapping_mul(some.len() as u64);
        assert!(partial.iter().all(|word| *word != shown), "ranks {some:?}");
    }
    // It is the plain sum that the masks hide.
    let received = vec![sum(&masked.words); ranks];
    let found = finish(&rings, masked, received);
    assert!(found.iter().all(|one| one.as_ref().unwrap() == &vectors[0]));
}

#[test]
fn no_word_is_sent_twice_in_a_session_or_in_two() {
    let vectors = vectors(3, 300);
    let mut seen = std::collections::HashSet::new();
    for mode in [Mode::Pairs, Mode::Group] {
        for _ in 0..2 {
            let rings = rings(3, mode);
            for _ in 0..3 {
                let masked = mask(&rings, Lanes::Two, &vectors, 1);
                for word in masked.words.iter().flatten() {
                    assert!(seen.insert(*word));
                }
            }
        }
    }
}

#[test]
fn a_vector_may_be_masked_and_unmasked_in_other_pieces() {
    let rings = rings(2, Mode::Pairs);
    for lanes in [Lanes::Two, Lanes::Three] {
        let vectors = vectors(2, 50_001);
        let mut found = Vec::new();
        for piece in [1, 2, 100] {
            let masked = mask(&rings, lanes, &vectors, piece);
            let received = vec![sum(&masked.words); 2];
            found.push(finish(&rings, masked, received).remove(0).unwrap());
        }
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0], found[2]);
    }
}
