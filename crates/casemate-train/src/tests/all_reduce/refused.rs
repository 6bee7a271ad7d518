//! What is noticed and refused.

use super::*;

#[test]
fn a_changed_word_stops_every_rank() {
    let vectors = vectors(3, 9000);
    let mut rings = rings(3, Mode::Pairs);
    let last = Lanes::Two.words(9000) - 1;
    for at in [0, 1, 1023, 1024, 4095, 4096, last] {
        for bit in [0, 31, 32, 61, 63] {
            let masked = mask(&mut rings, Lanes::Two, &vectors, at == 0);
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
        let masked = mask(&mut rings, Lanes::Two, &vectors, false);
        let mut wrong = sum(&masked.words);
        change(&mut wrong);
        for refused in finish(&rings, masked, vec![wrong; 3]) {
            assert_error(refused, "the sum was changed on the way");
        }
    }
}

#[test]
fn a_message_is_for_its_exchange_reduction_session_and_rank() {
    let vectors = vectors(3, 10);
    let mut rings = rings(3, Mode::Pairs);
    let mut others = self::rings(3, Mode::Pairs);
    let (_, old) = announce(&mut rings, Lanes::Two, &vectors);
    let (_, foreign) = announce(&mut others, Lanes::Two, &vectors);
    let (mut reductions, good) = announce(&mut rings, Lanes::Two, &vectors);
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
        let refused = reductions[0].agree(&rings[0], &refs(&wrong)).unwrap_err();
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
            "rank 2 (rank-2): its announcement does not decrypt",
        );
    }
    for count in [2, 4] {
        let some: Vec<_> = good.iter().cycle().take(count).cloned().collect();
        assert_error(
            reductions[0].agree(&rings[0], &refs(&some)),
            "messages of an exchange",
        );
    }
    assert_eq!(
        reductions[0].agree(&rings[0], &refs(&good)).unwrap(),
        Agreed::Sum
    );
}

#[test]
fn tags_and_results_that_were_changed_stop_the_rank() {
    let vectors = vectors(2, 10);
    let mut rings = rings(2, Mode::Pairs);
    let mut masked = mask(&mut rings, Lanes::Two, &vectors, false);
    masked.tags[1][0] ^= 1;
    let received = vec![sum(&masked.words); 2];
    for refused in finish(&rings, masked, received) {
        assert_error(refused, "rank 1 (rank-1): its tags does not decrypt");
    }
    let masked = mask(&mut rings, Lanes::Two, &vectors, false);
    let words = sum(&masked.words);
    let Masked {
        mut reductions,
        tags,
        ..
    } = masked;
    let mut out = vec![0.0; 10];
    let own = reductions[0]
        .unmask(&rings[0], &refs(&tags), &mut words.clone(), &mut out)
        .unwrap();
    let other = reductions[1]
        .unmask(&rings[1], &refs(&tags), &mut words.clone(), &mut out)
        .unwrap();
    let mut changed = other.clone();
    changed[0] ^= 1;
    let reduction = reductions.remove(0);
    assert_error(
        reduction.confirm(&rings[0], &refs(&[own.clone(), changed])),
        "rank 1 (rank-1): its result does not decrypt",
    );
    let reduction = reductions.remove(0);
    reduction.confirm(&rings[1], &refs(&[own, other])).unwrap();
}

#[test]
fn ranks_that_reduce_other_vectors_are_named() {
    let mut rings = rings(2, Mode::Pairs);
    let (mut one, first) = Reduction::begin(&mut rings[0], Lanes::Two, &[1.0; 10]).unwrap();
    let (_, second) = Reduction::begin(&mut rings[1], Lanes::Two, &[1.0; 11]).unwrap();
    assert_error(
        one.agree(&rings[0], &refs(&[first, second])),
        "rank 1 (rank-1) reduces another vector: 11 values in 2 lanes, not 10 values in 2 lanes",
    );
    let (mut one, first) = Reduction::begin(&mut rings[0], Lanes::Two, &[1.0; 10]).unwrap();
    let (_, second) = Reduction::begin(&mut rings[1], Lanes::Three, &[1.0; 10]).unwrap();
    assert_error(
        one.agree(&rings[0], &refs(&[first, second])),
        "10 values in 3 lanes, not",
    );
    assert_error(
        Reduction::begin(&mut rings[0], Lanes::Two, &[]),
        "must have 1 to",
    );
}

#[test]
fn numbers_that_are_not_finite_reach_every_rank_and_zeros_cost_nothing() {
    let mut rings = rings(2, Mode::Pairs);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let vectors = [vec![1.0, 2.0], vec![bad, 0.0]];
        let (reductions, announced) = announce(&mut rings, Lanes::Two, &vectors);
        for (mut reduction, ring) in reductions.into_iter().zip(&rings) {
            let Agreed::Constant(found) = reduction.agree(ring, &refs(&announced)).unwrap() else {
                panic!("summed");
            };
            assert!(found.is_nan());
            let refused = reduction.mask(ring, &vectors[0], None, &mut [0]);
            assert_error(refused, "the ranks have not agreed");
        }
    }
    let zeros = [vec![0.0, -0.0], vec![0.0, 0.0]];
    let (mut reductions, announced) = announce(&mut rings, Lanes::Two, &zeros);
    let agreed = reductions[0].agree(&rings[0], &refs(&announced)).unwrap();
    assert_eq!(agreed, Agreed::Constant(0.0));
    let small = f32::from_bits(1);
    let found = reduce(
        &mut rings,
        Lanes::Two,
        &[vec![small, 0.0], vec![small, 0.0]],
    );
    assert_eq!(found[0], [small, 0.0]);
    let large = f32::MAX;
    let found = reduce(
        &mut rings,
        Lanes::Three,
        &[vec![large, -large], vec![-large, -large]],
    );
    assert!(found[0][0].abs() <= large * 2f32.powi(-18));
    assert!((found[0][1] / -large - 1.0).abs() < 2f32.powi(-18));
}

#[test]
fn steps_out_of_turn_are_refused() {
    let vectors = vectors(2, 10);
    let mut rings = rings(2, Mode::Pairs);
    let (mut reductions, announced) = announce(&mut rings, Lanes::Two, &vectors);
    let (ring, reduction) = (&rings[0], &mut reductions[0]);
    let mut words = vec![0; 5];
    assert_error(
        reduction.mask(ring, &vectors[0], None, &mut words),
        "have not agreed",
    );
    let mut out = vec![0.0; 10];
    let tags: Vec<&[u8]> = Vec::new();
    assert_error(
        reduction.unmask(ring, &tags, &mut words, &mut out),
        "no vector was masked",
    );
    reduction.agree(ring, &refs(&announced)).unwrap();
    assert_error(
        reduction.mask(ring, &vectors[0][1..], None, &mut words),
        "vector has 9 elements, must have 10",
    );
    assert_error(
        reduction.mask(ring, &vectors[0], None, &mut words[1..]),
        "output has 4 elements, must have 5",
    );
    let larger: Vec<f32> = vectors[0].iter().map(|value| value * 100.0).collect();
    assert_error(
        reduction.mask(ring, &larger, None, &mut words),
        "the vector changed",
    );
    reduction.mask(ring, &vectors[0], None, &mut words).unwrap();
    assert_error(
        reduction.mask(ring, &vectors[0], None, &mut words),
        "masked twice",
    );
    assert_error(
        reductions.remove(0).confirm(ring, &[]),
        "no sum was checked",
    );
    rings[0].next = 1 << 48;
    assert_error(
        Reduction::begin(&mut rings[0], Lanes::Two, &vectors[0]),
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
