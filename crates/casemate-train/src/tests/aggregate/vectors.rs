//! `vectors/aggregate.json`, made by the second implementation in `interop/aggregate.py`.

use std::sync::Arc;

use casemate_crypto::{
    encoding::PublicKey, kem::KemPrivateKey, policy::Policy, signature::SigningKey, suite,
};
use casemate_testkit::{array_at, hex_at, str_at};
use serde_json::Value;

use super::{FIRST_ADVERTISEMENT, HEAD};
use crate::{
    Identity, Roster, Terms,
    aggregate::{
        AggregateError, AggregationPolicy, Client, Floors, Participation, Round, Server,
        combine_for_tests,
    },
    tests::{NOW, assert_text},
};

const VECTOR: &str = include_str!("../../../../../vectors/aggregate.json");

struct Vector {
    value: Value,
    round: Round,
    key: SigningKey,
    floors: Floors,
}

impl Vector {
    fn new() -> Self {
        let value: Value = serde_json::from_str(VECTOR).unwrap();
        let Ok(PublicKey::Sign(signer)) = PublicKey::from_spki_der(&hex_at(&value, "signer"))
        else {
            panic!("the signer's key");
        };
        let algorithms = Policy::by_name("hybrid").unwrap();
        let terms = Terms {
            signer: &signer,
            now: NOW,
            job: None,
            epoch_min: 1,
            policy: &algorithms,
        };
        let roster = Roster::open(&hex_at(&value, "roster"), &terms).unwrap();
        let signed = hex_at(&value, "policy");
        let policy = AggregationPolicy::open(&signed, &roster, &signer, &algorithms).unwrap();
        let model = hex_at(&value, "model").try_into().unwrap();
        let number = value["round"].as_u64().unwrap();
        let round = Round::new(Arc::new(roster), Arc::new(policy), number, &model).unwrap();
        let (seed, scalar) = (
            hex_at(&value, "signing_seed"),
            hex_at(&value, "signing_scalar"),
        );
        let key = SigningKey::from_components(&suite::MLDSA65_ED25519, &seed, Some(&scalar));
        Self {
            value,
            round,
            key: key.unwrap(),
            floors: Floors::default(),
        }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex_at(&self.value, name)
    }

    fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let list = array_at(&self.value, name).iter();
        list.map(|item| hex::decode(item.as_str().unwrap()).unwrap())
            .collect()
    }

    fn with(&self) -> Participation<'_> {
        Participation {
            round: &self.round,
            floors: &self.floors,
            own: Identity {
                name: str_at(&self.value, "name"),
                key: &self.key,
            },
            now: NOW,
        }
    }

    /// Draws what the vector says, one after the other, and then ones.
    fn drawing(
        mut drawn: Vec<Vec<u8>>,
    ) -> impl FnMut(&mut [u8]) -> Result<(), casemate_crypto::Error> {
        drawn.reverse();
        move |out| {
            match drawn.pop() {
                Some(next) => out.copy_from_slice(&next),
                None => out.fill(1),
            }
            Ok(())
        }
    }

    /// The client after it advertised, and the cohort.
    fn advertised(&self) -> (Client, Vec<u8>) {
        let mut random = Self::drawing(self.list("drawn"));
        let (client, advertisement) = Client::advertise(&self.with(), &mut random).unwrap();
        assert_eq!(advertisement[HEAD..HEAD + 1216], self.bytes("mask_key"));
        assert_eq!(
            advertisement[HEAD + 1216..HEAD + 2432],
            self.bytes("channel_key")
        );
        // Signatures are random, and the vector has the one that the second implementation made.
        let cohort = self.bytes("cohort");
        let len = advertisement.len();
        let own = &cohort[FIRST_ADVERTISEMENT + len + 4..][..len];
        assert_eq!(own[..HEAD + 2432], advertisement[..HEAD + 2432]);
        let mut client = client;
        client.set_advertisement(own);
        (client, cohort)
    }

    /// The aggregator's key, and the transcript that reveals are signed for.
    fn aggregator(&self) -> (KemPrivateKey, [u8; 48]) {
        let seed = self.bytes("aggregator_seed");
        let key = KemPrivateKey::from_seed(&suite::MLKEM768_X25519, &seed);
        (key.unwrap(), self.bytes("transcript").try_into().unwrap())
    }

    /// Of whom a reveal has shares, of which kind, and the shares.
    fn open_reveal(&self, message: &[u8]) -> Result<Vec<(u16, u8, Vec<u8>)>, AggregateError> {
        let (aggregator, transcript) = self.aggregator();
        let signed = (&transcript, &self.bytes("survivors")[..]);
        Server::open_reveal(&self.round, message, signed, &aggregator)
    }

    fn values(&self) -> Vec<f32> {
        let bytes = self.bytes("values");
        let (values, _) = bytes.as_chunks::<4>();
        values
            .iter()
            .map(|value| f32::from_le_bytes(*value))
            .collect()
    }
}

#[test]
fn the_masked_update_and_the_reveal_are_those_of_the_second_implementation() {
    let vector = Vector::new();
    assert_eq!(vector.round.context()[..], vector.bytes("context"));
    let (client, cohort) = vector.advertised();
    let with = vector.with();
    let (client, _) = client
        .share(&with, &cohort, &mut Vector::drawing(vec![]))
        .unwrap();
    let update = (vector.values(), 17);
    let mut random = Vector::drawing(vec![vector.bytes("rounding")]);
    let (client, update) = client
        .mask(
            &with,
            &vector.bytes("inbox"),
            (&update.0, update.1),
            &mut random,
        )
        .unwrap();
    assert!(
        update.vector == vector.bytes("vector"),
        "the vectors differ"
    );
    let (client, _) = client.agree(&with, &vector.bytes("survivors")).unwrap();
    let message = client
        .reveal(&with, &vector.bytes("agreements"), &mut || true)
        .unwrap();
    let revealed = vector.open_reveal(&message).unwrap();
    let expected = &vector.value["revealed"];
    for (of, share) in [(0, "0"), (2, "2")] {
        let share = hex_at(expected, share);
        assert!(revealed.contains(&(of, 2, share)), "{of}");
    }
    assert_eq!(revealed.len(), 2);
}

#[test]
fn its_reveal_opens_and_only_under_its_own_signature() {
    let vector = Vector::new();
    let message = vector.bytes("reveal");
    let held = &vector.value["held"];
    assert_eq!(
        vector.open_reveal(&message).unwrap(),
        [(1, 2, hex_at(held, "1")), (2, 2, hex_at(held, "2"))]
    );
    // Another sender, a bit of the signature, and a bit of what is sealed.
    for at in [2, 60, message.len() - 1] {
        let mut bad = message.clone();
        bad[at] ^= 2;
        let refused = vector.open_reveal(&bad).unwrap_err();
        assert!(
            refused
                .to_string()
                .ends_with("its signature is not the client's"),
            "{refused}"
        );
    }
}

#[test]
fn its_messages_are_refused_with_one_bit_changed() {
    let vector = Vector::new();
    let with = vector.with();
    for at in [100, 4_000, 9_000, 13_000] {
        let (client, mut cohort) = vector.advertised();
        cohort[at] ^= 1;
        let refused = client.share(&with, &cohort, &mut Vector::drawing(vec![]));
        refused.unwrap_err();
    }
    let (client, cohort) = vector.advertised();
    let (client, _) = client
        .share(&with, &cohort, &mut Vector::drawing(vec![]))
        .unwrap();
    let mut inbox = vector.bytes("inbox");
    inbox[500] ^= 1;
    let values = vector.values();
    let refused = client.mask(&with, &inbox, (&values, 17), &mut Vector::drawing(vec![]));
    assert_text(
        &refused.unwrap_err(),
        "inbox of `berlin`: a share does not open",
    );
}

#[test]
fn its_shares_restore_the_secret_from_any_three() {
    let vector = Vector::new();
    let shamir = &vector.value["shamir"];
    let shares: Vec<Vec<u8>> = array_at(shamir, "shares")
        .iter()
        .map(|share| hex::decode(share.as_str().unwrap()).unwrap())
        .collect();
    let combined = |places: &[u8]| {
        let places: Vec<_> = places
            .iter()
            .map(|place| (*place, shares[usize::from(*place) - 1].as_slice()))
            .collect();
        combine_for_tests(&places)
    };
    let secret = hex_at(shamir, "secret");
    for places in [[1, 2, 3], [5, 3, 1], [2, 4, 5]] {
        assert_eq!(combined(&places), secret);
    }
    assert_ne!(combined(&[1, 2]), secret);
}
