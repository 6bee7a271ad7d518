//! The state machines against members that follow the rules and others.

mod aggregate;
mod all_reduce;
mod channel;
mod handshake;
mod roster;
mod vectors;

use std::sync::LazyLock;

use casemate_crypto::{Error, policy::Policy, random, signature::SigningKey, suite};

use crate::{Channel, Identity, Initiator, Order, Responder, Roster, Terms, TrainError};

const NOW: u64 = 1_800_000_000;

fn signing_key() -> SigningKey {
    SigningKey::generate(&suite::MLDSA65_ED25519).unwrap()
}

static OWNER: LazyLock<SigningKey> = LazyLock::new(signing_key);
static ALICE: LazyLock<SigningKey> = LazyLock::new(signing_key);
static BOB: LazyLock<SigningKey> = LazyLock::new(signing_key);
static CAROL: LazyLock<SigningKey> = LazyLock::new(signing_key);
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::by_name("hybrid").unwrap());

const JOB: [u8; 16] = [7; 16];

fn terms() -> Terms<'static> {
    Terms {
        signer: OWNER.verifying_key(),
        now: NOW,
        job: Some(JOB),
        epoch_min: 1,
        policy: &POLICY,
    }
}

/// The roster of alice, bob and carol in this epoch.
fn roster(epoch: u64) -> Roster {
    let members = [
        ("alice", ALICE.verifying_key()),
        ("bob", BOB.verifying_key()),
        ("carol", CAROL.verifying_key()),
    ];
    Roster::new(JOB, epoch, NOW, NOW + 1000, &members).unwrap()
}

fn alice() -> Identity<'static> {
    Identity {
        name: "alice",
        key: &ALICE,
    }
}

fn bob() -> Identity<'static> {
    Identity {
        name: "bob",
        key: &BOB,
    }
}

fn fill(out: &mut [u8]) -> Result<(), Error> {
    random::fill(out)
}

/// The ends of alice, who began, and bob.
fn channels(order: Order) -> (Channel, Channel) {
    let roster = roster(1);
    let (initiator, hello) = Initiator::start(&roster, alice(), "bob", NOW, &mut fill).unwrap();
    let (responder, answer) = Responder::answer(&roster, bob(), &hello, NOW, &mut fill).unwrap();
    let (alice, finish) = initiator.finish(&roster, &ALICE, &answer, order).unwrap();
    let bob = responder.finish(&roster, &finish, order).unwrap();
    (alice, bob)
}

#[track_caller]
fn assert_text(error: &impl std::fmt::Display, rule: &str) {
    let shown = error.to_string();
    assert!(shown.contains(rule), "{shown} instead of: {rule}");
}

#[track_caller]
fn assert_rule<T: std::fmt::Debug>(refused: Result<T, TrainError>, rule: &str) {
    assert_text(&refused.unwrap_err(), rule);
}
