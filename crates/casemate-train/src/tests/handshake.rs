use casemate_crypto::kem::KemPrivateKey;

use super::*;
use crate::{HANDSHAKE_BYTES_MAX, Phase};

/// A handshake up to its finish.
struct Run {
    roster: Roster,
    hello: Vec<u8>,
    answer: Vec<u8>,
    finish: Vec<u8>,
    responder: Responder,
}

fn handshake() -> Run {
    let roster = roster(1);
    let (initiator, hello) = Initiator::start(&roster, alice(), "bob", NOW, &mut fill).unwrap();
    let (responder, answer) = Responder::answer(&roster, bob(), &hello, NOW, &mut fill).unwrap();
    let (_, finish) = initiator
        .finish(&roster, &ALICE, &answer, Order::Strict)
        .unwrap();
    Run {
        roster,
        hello,
        answer,
        finish,
        responder,
    }
}

fn answered(roster: &Roster, hello: &[u8]) -> Result<(Responder, Vec<u8>), TrainError> {
    Responder::answer(roster, bob(), hello, NOW, &mut fill)
}

#[test]
fn both_ends_agree_and_know_each_other() {
    let (alice, bob) = channels(Order::Strict);
    assert_eq!((alice.peer(), bob.peer()), ("bob", "alice"));
    assert_eq!(alice.id(), bob.id());
    let (again, _) = channels(Order::Strict);
    assert_ne!(alice.id(), again.id());
    let run = handshake();
    assert_eq!(run.responder.initiator(), "alice");
    // The lengths of the specification.
    let signature = suite::MLDSA65_ED25519.signature_bytes_max;
    assert_eq!(run.hello.len(), 2 + 48 + 6 + 4 + 32 + 1216);
    assert_eq!(run.answer.len(), 2 + 32 + 1120 + 4 + signature);
    assert_eq!(run.finish.len(), 2 + signature + 16);
}

#[test]
fn every_changed_byte_is_refused() {
    let run = handshake();
    for at in (0..run.hello.len()).step_by(37).chain(0..60) {
        let (initiator, hello) =
            Initiator::start(&run.roster, alice(), "bob", NOW, &mut fill).unwrap();
        let mut changed = hello.clone();
        changed[at] ^= 1;
        // A hello is not signed: a change is noticed by its fields, or at once by the initiator.
        if let Ok((_, answer)) = answered(&run.roster, &changed) {
            let refused = initiator.finish(&run.roster, &ALICE, &answer, Order::Strict);
            assert!(refused.is_err(), "hello, byte {at}");
        }
    }
    for at in (0..run.answer.len()).step_by(5) {
        let (initiator, hello) =
            Initiator::start(&run.roster, alice(), "bob", NOW, &mut fill).unwrap();
        let (_, mut answer) = answered(&run.roster, &hello).unwrap();
        answer[at] ^= 1;
        let refused = initiator.finish(&run.roster, &ALICE, &answer, Order::Strict);
        assert!(refused.is_err(), "answer, byte {at}");
    }
    for at in (0..run.finish.len()).step_by(29).chain(0..20) {
        let mut other = handshake();
        other.finish[at] ^= 1;
        let refused = other
            .responder
            .finish(&other.roster, &other.finish, Order::Strict);
        assert!(refused.is_err(), "finish, byte {at}");
    }
    // Unchanged, each of them is accepted.
    run.responder
        .finish(&run.roster, &run.finish, Order::Strict)
        .unwrap();
}

#[test]
fn cut_grown_and_endless_messages_are_refused() {
    let run = handshake();
    for len in (0..run.hello.len()).step_by(13) {
        assert!(answered(&run.roster, &run.hello[..len]).is_err(), "{len}");
    }
    assert_rule(
        answered(&run.roster, &[&run.hello[..], &[0]].concat()),
        "bytes follow its end",
    );
    let long = vec![1; HANDSHAKE_BYTES_MAX + 1];
    assert_rule(
        answered(&run.roster, &long),
        "handshake message has length 36865",
    );
    let (initiator, hello) = Initiator::start(&run.roster, alice(), "bob", NOW, &mut fill).unwrap();
    let (_, mut huge) = answered(&run.roster, &hello).unwrap();
    let at = huge.len() - suite::MLDSA65_ED25519.signature_bytes_max - 4;
    huge[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_rule(
        initiator.finish(&run.roster, &ALICE, &huge, Order::Strict),
        "its signature is too long",
    );
}

#[test]
fn a_message_out_of_its_phase_is_named_with_its_sender() {
    let run = handshake();
    let phase = |expected, found, from: Option<&str>| TrainError::Phase {
        expected,
        found,
        from: from.map(str::to_owned),
    };
    let refused = answered(&run.roster, &run.answer).unwrap_err();
    assert_eq!(refused, phase(Phase::Hello, Phase::Answer, None));
    let refused = answered(&run.roster, &run.finish).unwrap_err();
    assert_eq!(refused, phase(Phase::Hello, Phase::Finish, None));
    let (initiator, _) = Initiator::start(&run.roster, alice(), "bob", NOW, &mut fill).unwrap();
    let refused = initiator
        .finish(&run.roster, &ALICE, &run.hello, Order::Strict)
        .unwrap_err();
    assert_eq!(refused, phase(Phase::Answer, Phase::Hello, Some("bob")));
    let refused = run
        .responder
        .finish(&run.roster, &run.hello, Order::Strict)
        .unwrap_err();
    assert_eq!(refused, phase(Phase::Finish, Phase::Hello, Some("alice")));
    assert_eq!(
        refused.to_string(),
        "expected the finish of `alice`, not the hello"
    );
}

#[test]
fn an_answer_and_a_finish_belong_to_one_handshake() {
    let first = handshake();
    let (initiator, hello) =
        Initiator::start(&first.roster, alice(), "bob", NOW, &mut fill).unwrap();
    assert_rule(
        initiator.finish(&first.roster, &ALICE, &first.answer, Order::Strict),
        "signature is not the member's",
    );
    // A recorded hello gets an answer, but a recorded finish does not fit it.
    let (responder, _) = answered(&first.roster, &first.hello).unwrap();
    assert_rule(
        responder.finish(&first.roster, &first.finish, Order::Strict),
        "does not prove the key",
    );
    let (responder, _) = answered(&first.roster, &hello).unwrap();
    assert_rule(
        responder.finish(
            &first.roster,
            &[&[1, 3][..], &[0; 16]].concat(),
            Order::Strict,
        ),
        "does not prove the key",
    );
    first
        .responder
        .finish(&first.roster, &first.finish, Order::Strict)
        .unwrap();
}

#[test]
fn members_are_who_the_roster_says() {
    let roster = roster(1);
    let impostor = Identity {
        name: "alice",
        key: &CAROL,
    };
    let refused = Initiator::start(&roster, impostor, "bob", NOW, &mut fill).map(drop);
    assert_eq!(refused, Err(TrainError::OtherKey("alice".to_owned())));
    let refused = Initiator::start(&roster, alice(), "alice", NOW, &mut fill).map(drop);
    assert_eq!(refused, Err(TrainError::Itself("alice".to_owned())));
    for peer in ["dave", ""] {
        let refused = Initiator::start(&roster, alice(), peer, NOW, &mut fill).map(drop);
        assert_eq!(refused, Err(TrainError::NotAMember(peer.to_owned())));
    }
    // Carol makes a hello under a roster of her own, in which she is alice.
    let members = [
        ("alice", CAROL.verifying_key()),
        ("bob", BOB.verifying_key()),
    ];
    let forged = Roster::new(JOB, 1, NOW, NOW + 1000, &members).unwrap();
    let (_, hello) = Initiator::start(&forged, impostor, "bob", NOW, &mut fill).unwrap();
    assert_rule(answered(&roster, &hello), "it uses another roster");
    // With the right digest it gets an answer, but her finish is not alice's.
    let key = KemPrivateKey::generate(&suite::MLKEM768_X25519).unwrap();
    let share = key.public_key().as_bytes();
    let hello = [
        &[1, 1][..],
        roster.digest(),
        b"\x05alice\x03bob",
        &[0; 32],
        share,
    ]
    .concat();
    let (responder, answer) = answered(&roster, &hello).unwrap();
    let carol = Initiator::resumed(key, &hello, &forged, ["alice", "bob"]);
    let (_, finish) = carol
        .finish(&forged, &CAROL, &answer, Order::Strict)
        .unwrap();
    assert_rule(
        responder.finish(&roster, &finish, Order::Strict),
        "signature is not the member's",
    );
    // A hello for carol is not for bob.
    let (_, hello) = Initiator::start(&roster, alice(), "carol", NOW, &mut fill).unwrap();
    assert_rule(answered(&roster, &hello), "it is not for this member");
    // Nor is bob's own, sent back to him.
    let (_, hello) = Initiator::start(&roster, bob(), "alice", NOW, &mut fill).unwrap();
    assert_rule(answered(&roster, &hello), "it is not for this member");
    // The roster of another epoch is another roster.
    let (_, hello) = Initiator::start(&super::roster(2), alice(), "bob", NOW, &mut fill).unwrap();
    assert_rule(answered(&roster, &hello), "it uses another roster");
}

#[test]
fn a_handshake_goes_on_with_the_roster_it_began_with() {
    // A later epoch can give a name to another key.
    let later = [
        ("alice", CAROL.verifying_key()),
        ("bob", BOB.verifying_key()),
    ];
    let later = Roster::new(JOB, 2, NOW, NOW + 1000, &later).unwrap();
    let run = handshake();
    let refused = run.responder.finish(&later, &run.finish, Order::Strict);
    assert_eq!(refused.map(drop), Err(TrainError::OtherRoster));
    let (initiator, hello) = Initiator::start(&run.roster, alice(), "bob", NOW, &mut fill).unwrap();
    let (_, answer) = answered(&run.roster, &hello).unwrap();
    let refused = initiator.finish(&later, &ALICE, &answer, Order::Strict);
    assert_eq!(refused.map(drop), Err(TrainError::OtherRoster));
}

#[test]
fn an_expired_roster_begins_no_handshake() {
    let roster = roster(1);
    let (_, hello) = Initiator::start(&roster, alice(), "bob", NOW + 999, &mut fill).unwrap();
    for (now, rule) in [
        (NOW + 1000, "expired 0 s ago"),
        (NOW - 5, "5 s in the future"),
    ] {
        let started = Initiator::start(&roster, alice(), "bob", now, &mut fill).map(drop);
        assert_rule(started, rule);
        assert_rule(
            Responder::answer(&roster, bob(), &hello, now, &mut fill),
            rule,
        );
    }
}

#[test]
fn without_randomness_there_is_no_handshake() {
    let roster = roster(1);
    let mut broken = |_: &mut [u8]| Err(Error::Randomness);
    let refused = Initiator::start(&roster, alice(), "bob", NOW, &mut broken).map(drop);
    assert_eq!(refused, Err(TrainError::Crypto(Error::Randomness)));
    let (_, hello) = Initiator::start(&roster, alice(), "bob", NOW, &mut fill).unwrap();
    let refused = Responder::answer(&roster, bob(), &hello, NOW, &mut broken).map(drop);
    assert_eq!(refused, Err(TrainError::Crypto(Error::Randomness)));
}
