use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{ASSOCIATED_BYTES_MAX, OVERHEAD_BYTES, WINDOW_MAX, chain::GENERATION, window::Window};

#[test]
fn messages_travel_in_both_directions_at_the_promised_length() {
    let (mut alice, mut bob) = channels(Order::Strict);
    for content in [&b""[..], b"gradient", &vec![7; 100_000]] {
        let message = alice.sender.seal(content, b"layer").unwrap();
        assert_eq!(message.len(), content.len() + OVERHEAD_BYTES);
        assert_eq!(bob.receiver.open(&message, b"layer").unwrap(), content);
        let message = bob.sender.seal(content, b"").unwrap();
        assert_eq!(alice.receiver.open(&message, b"").unwrap(), content);
    }
    assert_eq!(OVERHEAD_BYTES, 24);
    assert_eq!(alice.sender.next_sequence(), 3);
}

#[test]
fn a_message_opens_once_in_its_direction_with_its_associated_data() {
    let (mut alice, mut bob) = channels(Order::Strict);
    let (_, mut stranger) = channels(Order::Strict);
    let message = alice.sender.seal(b"content", b"a").unwrap();
    let rejected = |refused: Result<Vec<u8>, TrainError>| {
        matches!(refused, Err(TrainError::Rejected { sequence: 0, .. }))
    };
    assert!(
        rejected(bob.receiver.open(&message, b"b")),
        "associated data"
    );
    assert!(
        rejected(bob.receiver.open(&message, b"")),
        "no associated data"
    );
    assert!(rejected(alice.receiver.open(&message, b"a")), "reflected");
    assert!(
        rejected(stranger.receiver.open(&message, b"a")),
        "another channel"
    );
    for at in 8..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert!(rejected(bob.receiver.open(&changed, b"a")), "byte {at}");
    }
    // None of that moved the turn.
    assert_eq!(bob.receiver.open(&message, b"a").unwrap(), b"content");
    let refused = bob.receiver.open(&message, b"a").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "message 0 of `alice` is out of turn: it does not follow the last one"
    );
}

#[test]
fn in_strict_order_nothing_is_left_out_or_moved() {
    let (mut alice, mut bob) = channels(Order::Strict);
    let messages: Vec<_> = (0..4_u8)
        .map(|n| alice.sender.seal(&[n], b"").unwrap())
        .collect();
    bob.receiver.open(&messages[0], b"").unwrap();
    for out_of_turn in [0, 2, 3] {
        let refused = bob.receiver.open(&messages[out_of_turn], b"");
        assert!(
            matches!(refused, Err(TrainError::Sequence { .. })),
            "{out_of_turn}"
        );
    }
    for (n, message) in messages.iter().enumerate().skip(1) {
        assert_eq!(usize::from(bob.receiver.open(message, b"").unwrap()[0]), n);
    }
}

#[test]
fn in_a_window_each_message_comes_once_in_any_order() {
    let (mut alice, mut bob) = channels(Order::Window(4));
    let messages: Vec<_> = (0..10_u8)
        .map(|n| alice.sender.seal(&[n], b"").unwrap())
        .collect();
    for n in [1_u8, 0, 3, 7] {
        assert_eq!(
            bob.receiver.open(&messages[usize::from(n)], b"").unwrap(),
            [n]
        );
    }
    // 7 was the highest, so 4 is the oldest that may still come.
    for (n, rule) in [
        (7, "already accepted"),
        (3, "older than the window"),
        (2, "older than the window"),
    ] {
        assert_rule(bob.receiver.open(&messages[n], b""), rule);
    }
    for n in [4_u8, 6, 5, 9, 8] {
        assert_eq!(
            bob.receiver.open(&messages[usize::from(n)], b"").unwrap(),
            [n]
        );
    }
    // A forgery far ahead moves nothing.
    let mut forged = messages[9].clone();
    forged[..8].copy_from_slice(&100_u64.to_be_bytes());
    assert_rule(bob.receiver.open(&forged, b""), "was changed");
    assert_rule(bob.receiver.open(&messages[8], b""), "already accepted");
}

#[test]
fn generations_change_their_keys_and_forget_the_old_ones() {
    let (mut alice, mut bob) = channels(Order::Window(8));
    let mut last = Vec::new();
    for _ in 0..GENERATION - 2 {
        last = alice.sender.seal(b"", b"").unwrap();
    }
    bob.receiver.open(&last, b"").unwrap();
    let around: Vec<_> = (0..6_u8)
        .map(|n| alice.sender.seal(&[n], b"").unwrap())
        .collect();
    // The first of the new generation, then one of the old, which the window reaches.
    for n in [3_u8, 1, 0, 2] {
        assert_eq!(
            bob.receiver.open(&around[usize::from(n)], b"").unwrap(),
            [n]
        );
    }
    assert!(bob.receiver.holds_older_key(), "the window reaches back");
    for _ in 0..20 {
        let message = alice.sender.seal(b"x", b"").unwrap();
        bob.receiver.open(&message, b"").unwrap();
    }
    assert!(!bob.receiver.holds_older_key());
    assert_rule(bob.receiver.open(&around[4], b""), "older than the window");
    // A message may be two generations ahead, and its forgery is refused without a change.
    let mut forged = around[5].clone();
    forged[..8].copy_from_slice(&(3 * GENERATION).to_be_bytes());
    assert_rule(bob.receiver.open(&forged, b""), "was changed");
    forged[..8].copy_from_slice(&(4 * GENERATION).to_be_bytes());
    assert_rule(bob.receiver.open(&forged, b""), "too far ahead");
    forged[..8].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_rule(bob.receiver.open(&forged, b""), "above the highest");
    let message = alice.sender.seal(b"still", b"").unwrap();
    assert_eq!(bob.receiver.open(&message, b"").unwrap(), b"still");
}

#[test]
fn in_strict_order_the_last_message_of_a_generation_ends_its_key() {
    let (mut alice, mut bob) = channels(Order::Strict);
    for number in 0..GENERATION {
        assert_eq!(bob.receiver.generation(), 0, "{number}");
        let message = alice.sender.seal(b"", b"").unwrap();
        if number == GENERATION - 1 {
            // A forgery of it ends nothing.
            let mut forged = message.clone();
            forged[8] ^= 1;
            assert_rule(bob.receiver.open(&forged, b""), "was changed");
        }
        bob.receiver.open(&message, b"").unwrap();
        if number == GENERATION - 1 {
            assert_eq!(bob.receiver.generation(), 1);
            assert!(!bob.receiver.holds_older_key());
        }
    }
    let message = alice.sender.seal(b"next", b"").unwrap();
    assert_eq!(bob.receiver.open(&message, b"").unwrap(), b"next");
}

#[test]
fn a_window_jumps_two_generations_and_no_further() {
    let (mut alice, mut bob) = channels(Order::Window(8));
    let (mut second, mut third) = (Vec::new(), Vec::new());
    for number in 0..=3 * GENERATION {
        let message = alice.sender.seal(b"", b"").unwrap();
        if number == 2 * GENERATION {
            second = message;
        } else if number == 3 * GENERATION {
            third = message;
        }
    }
    assert_rule(bob.receiver.open(&third, b""), "too far ahead");
    bob.receiver.open(&second, b"").unwrap();
    assert_eq!(bob.receiver.generation(), 2);
    bob.receiver.open(&third, b"").unwrap();
    assert_eq!(bob.receiver.generation(), 3);
}

#[test]
fn lengths_are_checked_before_anything_changes() {
    let (mut alice, mut bob) = channels(Order::Strict);
    let mut short = [0; 7 + OVERHEAD_BYTES];
    assert_rule(
        alice.sender.seal_into(b"8 bytes!", b"", &mut short),
        "output has length 31",
    );
    let long = vec![0; ASSOCIATED_BYTES_MAX + 1];
    assert_rule(
        alice.sender.seal(b"", &long),
        "associated data has length 1025",
    );
    assert_eq!(alice.sender.next_sequence(), 0);
    let message = alice.sender.seal(b"8 bytes!", &long[1..]).unwrap();
    assert_rule(
        bob.receiver.open_into(&message, &long[1..], &mut [0; 7]),
        "output has length 7",
    );
    assert_rule(
        bob.receiver.open(&message, &long),
        "associated data has length 1025",
    );
    for len in 0..OVERHEAD_BYTES {
        assert_rule(
            bob.receiver.open(&message[..len], b""),
            "message has length",
        );
    }
    let mut out = [0xee; 8];
    bob.receiver.open_into(&message, b"", &mut out).unwrap_err();
    assert_eq!(out, [0; 8], "no content after a refusal");
    bob.receiver
        .open_into(&message, &long[1..], &mut out)
        .unwrap();
    assert_eq!(&out, b"8 bytes!");
}

#[test]
fn a_window_has_its_limits() {
    let roster = roster(1);
    for len in [0, WINDOW_MAX + 1] {
        let (initiator, hello) = Initiator::start(&roster, alice(), "bob", NOW, &mut fill).unwrap();
        let (_, answer) = Responder::answer(&roster, bob(), &hello, NOW, &mut fill).unwrap();
        let refused = initiator
            .finish(&roster, &ALICE, &answer, Order::Window(len))
            .map(drop);
        assert!(
            matches!(refused, Err(TrainError::Length { what: "window", .. })),
            "{len}"
        );
    }
    channels(Order::Window(WINDOW_MAX));
    channels(Order::Window(1));
}

#[test]
fn nothing_secret_is_shown() {
    let (alice, _) = channels(Order::Strict);
    let shown = format!("{alice:?}");
    assert!(shown.contains("next: 0") && shown.len() < 200, "{shown}");
}

proptest! {
    /// A window against a set that remembers everything.
    #[test]
    fn a_window_accepts_what_a_perfect_memory_would(
        len in 1..40_usize,
        numbers in proptest::collection::vec(0..120_u64, 0..200),
    ) {
        let mut window = Window::new(len);
        let (mut seen, mut highest) = (HashSet::new(), None::<u64>);
        for number in numbers {
            let is_old = highest.is_some_and(|high| number.saturating_add(len as u64) <= high);
            let expected = !is_old && !seen.contains(&number);
            prop_assert_eq!(window.refuse(number).is_none(), expected, "{}", number);
            if expected {
                window.accept(number);
                seen.insert(number);
                highest = highest.max(Some(number));
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, associated: Vec<u8>) {
        let roster = roster(1);
        _ = Responder::answer(&roster, bob(), &bytes, NOW, &mut fill);
        _ = Roster::open(&bytes, &terms());
        let (mut alice, _) = channels(Order::Window(16));
        _ = alice.receiver.open(&bytes, &associated);
    }
}
