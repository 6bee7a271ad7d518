//! What is noticed and refused.

use super::*;

#[test]
fn a_changed_word_stops_every_rank() {
    let vectors = vectors(3, 9000);
    let rings = rings(3, Mode::Pairs);
    let last = Lanes::Two.words(9000) - 1;
    for at in [0, 1, 1023, 1024, 4095, 4096, last] {
        for bit in [0, 31, 32, 61, 63] {
            let masked = mask(&rings, Lanes::Two, &vectors, 1);
            let right = sum(&masked.words);
            let mut wrong = right.clone();
            wrong[at] ^= 1 << bit;
            let found = finish(&rings, masked, vec![right.clone(), wrong.clone(), right]);
            let [zero, one, two] = found.try_into().unwrap();
            assert_error(one, "the sum was changed on the way");
            for other in [zero, two] {
                assert_error(other, "rank 1 (rank-1) received a wrong sum");
            }
        }
    }
    // Two changes that cancel in a plain sum of the words, and words that changed places.
    for change in [
        |words: &mut [u64]| {
            words[0] = words[0].wrapping_add(5);
            words[1] = words[1].wrapping_sub(5);
        },
        |words: &mut [u64]| words.swap(0, 4096),
        |words: &mut [u64]| words.fill(0),
    ] {
        let masked = mask(&rings, Lanes::Two, &vectors, 1);
        let mut wrong = sum(&masked.words);
        change(&mut wrong);
        for refused in finish(&rings, masked, vec![wrong; 3]) {
            assert_error(refused, "the sum was changed on the way");
        }
    }
}

/// Adds multiples of the tags' modulus, which change no word modulo it.
#[test]
fn a_change_by_the_modulus_of_the_tags_is_noticed() {
    let prime = (1u64 << 61) - 1;
    let rings = rings(2, Mode::Pairs);
    for lanes in [Lanes::Two, Lanes::Three] {
        let vectors = vectors(2, 9001);
        let last = lanes.words(9001) - 1;
        for at in [0, 1, 1023, 1024, last] {
            for times in 1..8u64 {
                for sent in [true, false] {
                    let mut masked = mask(&rings, lanes, &vectors, 1);
                    let change = prime.wrapping_mul(times);
                    let mut wrong = sum(&masked.words);
                    wrong[at] = wrong[at].wrapping_add(change);
                    masked.words[0][at] = masked.words[0][at].wrapping_add(change);
                    assert_eq!(sum(&masked.words), wrong);
                    let right = sum(&masked.words)
                        .iter()
                        .enumerate()
                        .map(|(place, word)| {
                            if place == at {
                                word.wrapping_sub(change)
                            } else {
                                *word
                            }
                        })
                        .collect();
                    let received = if sent {
                        vec![wrong; 2]
                    } else {
                        vec![wrong, right]
                    };
                    let found = finish(&rings, masked, received);
                    assert!(
                        found.iter().all(Result::is_err),
                        "{lanes:?} {at} {times} {sent}"
                    );
                }
            }
        }
    }
}

#[test]
fn ranks_that_reduce_something_else_are_named() {
    let rings = rings(2, Mode::Pairs);
    let (one, first) = Reduction::begin(&rings[0], Lanes::Two, &[1.0; 10], b"layer 1").unwrap();
    let (_, second) = Reduction::begin(&rings[1], Lanes::Two, &[1.0; 10], b"layer 2").unwrap();
    assert_error(
        one.agree(&rings[0], &refs(&[first, second])),
        "rank 1 (rank-1) reduces something else of the same length",
    );
}

#[test]
fn a_message_is_for_its_exchange_reduction_session_and_rank() {
    let vectors = vectors(3, 10);
    let rings = rings(3, Mode::Pairs);
    let others = self::rings(3, Mode::Pairs);
    let (_, old) = announce(&rings, Lanes::Two, &vectors);
    let (_, foreign) = announce(&others, Lanes::Two, &vectors);
    let number = rings[0].next_number();
    let again = || {
        // The same reduction once more: one refusal ends it.
        rings[0]
            .next
            .store(number, std::sync::atomic::Ordering::Relaxed);
        Reduction::begin(&rings[0], Lanes::Two, &vectors[0], b"")
            .unwrap()
            .0
    };
    let (_, good) = announce(&rings, Lanes::Two, &vectors);
    let with = |at: usize, message: &[u8]| {
        let mut changed = good.clone();
        changed[at] = message.to_vec();
        changed
    };
    let mut flipped = good[2].clone();
    flipped[3] ^= 1;
    for wrong in [
        with(2, &old[2]),
        with(2, &foreign[2]),
        with(2, &good[1]),
        with(2, &flipped),
        with(2, &good[2][1..]),
        with(2, b""),
    ] {
        let refused = again().agree(&rings[0], &refs(&wrong)).unwrap_err();
        assert!(matches!(
            refused,
            AllReduceError::Message {
                rank: 2,
                exchange: Exchange::Announcement,
                ..
            }
        ));
        assert_text(
            &refused,
            "the announcement of rank 2 (rank-2) cannot be decrypted",
        );
    }
    for count in [2, 4] {
        let some: Vec<_> = good.iter().cycle().take(count).cloned().collect();
        assert_error(
            again().agree(&rings[0], &refs(&some)),
            "messages of an exchange",
        );
    }
    agree(again(), &rings[0], &good);
}

#[test]
fn tags_and_results_that_were_changed_stop_the_rank() {
    let vectors = vectors(2, 10);
    let rings = rings(2, Mode::Pairs);
    let mut masked = mask(&rings, Lanes::Two, &vectors, 1);
    masked.tags[1][0] ^= 1;
    let received = vec![sum(&masked.words); 2];
    for refused in finish(&rings, masked, received) {
        assert_error(refused, "the tags of rank 1 (rank-1) cannot be decrypted");
    }
    let masked = mask(&rings, Lanes::Two, &vectors, 1);
    let words = sum(&masked.words);
    let mut ended = masked
        .unmaskers
        .into_iter()
        .zip(&rings)
        .map(|(mut unmasker, ring)| {
            unmasker.next(&mut words.clone(), &mut [0.0; 10]).unwrap();
            unmasker.finish(ring, &refs(&masked.tags)).unwrap()
        });
    let ((one, own), (two, other)) = (ended.next().unwrap(), ended.next().unwrap());
    let mut changed = other.clone();
    changed[0] ^= 1;
    assert_error(
        one.confirm(&rings[0], &refs(&[own.clone(), changed])),
        "the result of rank 1 (rank-1) cannot be decrypted",
    );
    two.confirm(&rings[1], &refs(&[own, other])).unwrap();
}

#[test]
fn ranks_that_reduce_other_vectors_are_named() {
    let rings = rings(2, Mode::Pairs);
    let (one, first) = Reduction::begin(&rings[0], Lanes::Two, &[1.0; 10], b"").unwrap();
    let (_, second) = Reduction::begin(&rings[1], Lanes::Two, &[1.0; 11], b"").unwrap();
    assert_error(
        one.agree(&rings[0], &refs(&[first, second])),
        "rank 1 (rank-1) reduces another vector: 11 values in 2 lanes, not 10 values in 2 lanes",
    );
    let (one, first) = Reduction::begin(&rings[0], Lanes::Two, &[1.0; 10], b"").unwrap();
    let (_, second) = Reduction::begin(&rings[1], Lanes::Three, &[1.0; 10], b"").unwrap();
    assert_error(
        one.agree(&rings[0], &refs(&[first, second])),
        "10 values in 3 lanes, not",
    );
    assert_error(
        Reduction::begin(&rings[0], Lanes::Two, &[], b""),
        "must have 1 to",
    );
}

#[test]
fn numbers_that_are_not_finite_reach_every_rank_and_zeros_cost_nothing() {
    let rings = rings(2, Mode::Pairs);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let vectors = [vec![1.0, 2.0], vec![bad, 0.0]];
        let (reductions, announced) = announce(&rings, Lanes::Two, &vectors);
        for (reduction, ring) in reductions.into_iter().zip(&rings) {
            let Agreed::Constant(found) = reduction.agree(ring, &refs(&announced)).unwrap() else {
                panic!("summed");
            };
            assert!(found.is_nan());
        }
    }
    let zeros = [vec![0.0, -0.0], vec![0.0, 0.0]];
    let (mut reductions, announced) = announce(&rings, Lanes::Two, &zeros);
    let agreed = reductions.remove(0).agree(&rings[0], &refs(&announced));
    assert!(matches!(agreed, Ok(Agreed::Constant(0.0))), "{agreed:?}");
    let small = f32::from_bits(1);
    let found = reduce(&rings, Lanes::Two, &[vec![small, 0.0], vec![small, 0.0]]);
    assert_eq!(found[0], [small, 0.0]);
    let large = f32::MAX;
    let found = reduce(
        &rings,
        Lanes::Three,
        &[vec![large, -large], vec![-large, -large]],
    );
    assert!(found[0][0].abs() <= large * 2f32.powi(-18));
    assert!((found[0][1] / -large - 1.0).abs() < 2f32.powi(-18));
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    let piece = Lanes::Two.piece();
    assert_eq!(piece, 2048);
    let vectors = vectors(2, piece + 10);
    let rings = rings(2, Mode::Pairs);
    let (mut reductions, announced) = announce(&rings, Lanes::Two, &vectors);
    let ring = &rings[0];
    let (mut masker, mut unmasker) = agree(reductions.remove(0), ring, &announced);
    let (values, mut words) = (&vectors[0], vec![0; 1029]);
    for wrong in [0, 1, piece - 1, piece + 1] {
        let rule = format!(
            "a piece of {wrong} values, must be a multiple of 2048, or the 2058 that are left"
        );
        let mut words = vec![0; Lanes::Two.words(wrong)];
        assert_error(masker.next(&values[..wrong], &mut words), &rule);
        assert_error(unmasker.next(&mut words, &mut vec![0.0; wrong]), &rule);
    }
    assert_error(
        masker.next(values, &mut words[1..]),
        "a piece of 1028 words, must be 1029",
    );
    assert_error(
        unmasker.next(&mut words[1..], &mut values.clone()),
        "1028 words",
    );
    masker.next(&values[..piece], &mut words[..1024]).unwrap();
    let too_long = masker.next(values, &mut words);
    assert_error(too_long, "or the 10 that are left");
    assert_error(masker.finish(ring), "there are values left");
    assert_error(unmasker.finish(ring, &[]), "there are values left");
    ring.next
        .store(1 << 48, std::sync::atomic::Ordering::Relaxed);
    assert_error(
        Reduction::begin(ring, Lanes::Two, values, b""),
        "begin a new one",
    );
}

#[test]
fn a_rendezvous_is_of_the_same_ranks_in_the_same_mode() {
    let names = names(3);
    let mut swapped = names.clone();
    swapped.swap(0, 2);
    let send = |other: &[String], mode| {
        let mut channels = channels_of(3);
        let mut first = rendezvous(other, 0, mode);
        let message = first.message(&mut channels[0].1.sender).unwrap();
        let mut second = rendezvous(&names, 1, Mode::Pairs);
        second.receive(&mut channels[1].0.receiver, &message)
    };
    send(&names, Mode::Pairs).unwrap();
    for refused in [
        send(&swapped, Mode::Pairs),
        send(&names, Mode::Group),
        send(&names[..2], Mode::Pairs),
    ] {
        assert_error(refused, "was changed or is not of this channel");
    }
    let refused =
        |names: &[String], rank| Rendezvous::new(&RANKED, names, rank, Mode::Pairs, &mut fill);
    assert_error(refused(&names[..1], 0), "2 to 4,096");
    assert_error(refused(&[name(0), name(0)], 0), "two have the same name");
    assert_error(refused(&names, 3), "this rank is not one of them");
    assert_error(
        refused(&[name(0), "mallory".to_owned()], 0),
        "`mallory` is not in the roster",
    );
    let mut channels = channels_of(3);
    let mut one = rendezvous(&names, 0, Mode::Pairs);
    one.message(&mut channels[0].1.sender).unwrap();
    assert_error(
        one.message(&mut channels[0].1.sender),
        "there is no part to send now",
    );
    let (before, after) = &channels[0];
    assert_error(
        one.finish(&before.export, &after.export),
        "parts of some ranks are missing",
    );
    let one = rendezvous(&names, 0, Mode::Pairs);
    assert_error(
        one.finish(&after.export, &before.export),
        "a channel is with another rank",
    );
}
