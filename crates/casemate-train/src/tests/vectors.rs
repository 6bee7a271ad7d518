//! `vectors/channel.json`, made by the second implementation in `interop/channel.py`.

use casemate_crypto::{
    encoding::PublicKey, kem::KemPrivateKey, signature::VerifyingKey, suite::MLKEM768_X25519,
};
use casemate_testkit::{array_at, hex_at};
use serde_json::Value;

use super::*;
const VECTOR: &str = include_str!("../../../../vectors/channel.json");

struct Vector(Value);

impl Vector {
    fn new() -> Self {
        Self(serde_json::from_str(VECTOR).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex_at(&self.0, name)
    }

    fn roster(&self) -> Roster {
        let Ok(PublicKey::Sign(signer)) = PublicKey::from_spki_der(&self.bytes("signer")) else {
            panic!("the signer's key");
        };
        self.open(&signer).unwrap()
    }

    fn open(&self, signer: &VerifyingKey) -> Result<Roster, TrainError> {
        let terms = Terms {
            signer,
            job: None,
            ..terms()
        };
        Roster::open(&self.bytes("roster"), &terms)
    }

    /// The initiator as it was after it sent the hello.
    fn initiator(&self) -> Initiator {
        let key = KemPrivateKey::from_seed(&MLKEM768_X25519, &self.bytes("share_seed"));
        let names = ["trainer-1", "server"];
        Initiator::resumed(key.unwrap(), &self.bytes("hello"), &self.roster(), names)
    }
}

/// The trainer's signing key, which the vector gives as seed and scalar.
fn trainer() -> SigningKey {
    let vector = Vector::new();
    let (seed, scalar) = (vector.bytes("signing_seed"), vector.bytes("signing_scalar"));
    SigningKey::from_components(&suite::MLDSA65_ED25519, &seed, Some(&scalar)).unwrap()
}

#[test]
fn the_roster_is_read_as_it_was_meant() {
    let vector = Vector::new();
    let roster = vector.roster();
    let names: Vec<_> = roster
        .members()
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names, ["server", "trainer-1"]);
    assert_eq!(
        (roster.epoch(), roster.created(), roster.expires()),
        (4, NOW, NOW + 86_400)
    );
    assert_eq!(roster.digest()[..], vector.bytes("hello")[2..50]);
    let refused = vector.open(OWNER.verifying_key()).unwrap_err();
    assert_eq!(refused, TrainError::RosterSignature);
}

#[test]
fn the_channel_is_the_one_that_the_second_implementation_made() {
    let vector = Vector::new();
    let roster = vector.roster();
    let private = trainer();
    let established =
        vector
            .initiator()
            .finish(&roster, &private, &vector.bytes("answer"), Order::Window(1));
    let (mut channel, finish) = established.unwrap();
    assert_eq!(finish.len(), vector.bytes("finish").len());
    assert_eq!(channel.id()[..], vector.bytes("id"));
    for message in array_at(&vector.0, "messages") {
        let field = |name: &str| hex_at(message, name);
        let (content, associated) = (field("content"), field("associated"));
        let sequence = message["sequence"].as_u64().unwrap();
        // Sequence numbers are used one after another.
        while channel.sender.next_sequence() < sequence {
            channel.sender.seal(b"", b"").unwrap();
        }
        let sealed = channel.sender.seal(&content, &associated).unwrap();
        assert_eq!(sealed, field("from_initiator"), "{sequence}");
        let opened = channel.receiver.open(&field("from_responder"), &associated);
        assert_eq!(opened.unwrap(), content, "{sequence}");
    }
}

#[test]
fn its_finish_proves_the_trainer_to_whoever_answered() {
    let vector = Vector::new();
    let roster = vector.roster();
    let check = |finish: &[u8]| {
        vector
            .initiator()
            .check_finish(&roster, &vector.bytes("answer"), finish)
    };
    let finish = vector.bytes("finish");
    check(&finish).unwrap();
    let (channel, again) = {
        let private = trainer();
        let answer = vector.bytes("answer");
        vector
            .initiator()
            .finish(&roster, &private, &answer, Order::Strict)
            .unwrap()
    };
    assert_eq!(channel.id()[..], vector.bytes("id"));
    check(&again).unwrap();
    for at in (2..finish.len()).step_by(31) {
        let mut changed = finish.clone();
        changed[at] ^= 1;
        assert_rule(check(&changed), "does not prove the key");
    }
}

#[test]
fn its_hello_passes_for_no_other_handshake() {
    let vector = Vector::new();
    let roster = vector.roster();
    // Without the responder's key nobody here can answer it.
    let own = Identity {
        name: "server",
        key: &BOB,
    };
    let refused = Responder::answer(&roster, own, &vector.bytes("hello"), NOW, &mut fill).map(drop);
    assert_eq!(refused, Err(TrainError::OtherKey("server".to_owned())));
    let (other, _) = {
        let roster = super::roster(1);
        Initiator::start(&roster, alice(), "bob", NOW, &mut fill).unwrap()
    };
    let refused = other.finish(
        &super::roster(1),
        &ALICE,
        &vector.bytes("answer"),
        Order::Strict,
    );
    assert_rule(refused, "signature is not the member's");
}
