//! The HPKE working group's vectors for post-quantum KEMs (draft-ietf-hpke-pq).
//!
//! `info`, `pt` and `aad` of the file are the hex of an ASCII string; `info` and `pt` hold hex text
//! themselves, and that text is what the vectors were made with.
//!
//! For `mlkem768-p256` the file gives 128 bytes of encapsulation randomness where the draft reads
//! 160: three windows of scalar and not four. The first window decides, so the fourth is filled
//! with zeros, which are no scalar.

use casemate_crypto::{
    Error,
    hpke::{HpkeSuite, derive_key_pair},
    kem::{KemPrivateKey, KemPublicKey},
    suite::{HpkeTriple, KEM_SUITES, KemSuite, MLKEM768_P256},
};
use casemate_testkit::{array_at, hex_at, public_json};
use proptest::prelude::*;
use serde_json::Value;

const FILE: &str = "hpke-pq/hpkewg-hpke-pq-2026-04/test-vectors.json";

fn number(vector: &Value, key: &str) -> u16 {
    u16::try_from(vector[key].as_u64().unwrap()).unwrap()
}

fn triple(vector: &Value) -> HpkeTriple {
    HpkeTriple {
        kem: number(vector, "kem_id"),
        kdf: number(vector, "kdf_id"),
        aead: number(vector, "aead_id"),
    }
}

/// The vectors of the file that the registry supports.
fn supported() -> Vec<(HpkeSuite, Value)> {
    let Value::Array(vectors) = public_json(FILE) else {
        panic!("the file is a list of vectors");
    };
    let known = |v: &Value| HpkeSuite::by_triple(triple(v)).map(|suite| (suite, v.clone()));
    vectors.iter().filter_map(known).collect()
}

/// The encapsulation randomness of a vector, in the length of its suite.
fn randomness(suite: HpkeSuite, vector: &Value) -> Vec<u8> {
    let mut randomness = hex_at(vector, "ikmE");
    let missing = if suite.kem() == &MLKEM768_P256 { 32 } else { 0 };
    assert_eq!(randomness.len() + missing, suite.kem().randomness_bytes);
    randomness.resize(suite.kem().randomness_bytes, 0);
    randomness
}

#[test]
fn exactly_five_of_the_thirteen_vectors_are_of_our_registry() {
    let supported = supported();
    let all = public_json(FILE).as_array().unwrap().len();
    let mut run: Vec<_> = supported
        .iter()
        .map(|(suite, _)| suite.triple())
        .map(|triple| (triple.kem, triple.kdf, triple.aead))
        .collect();
    run.sort_unstable();
    assert_eq!(all, 13);
    assert_eq!(
        run,
        [
            (0x0042, 0x0002, 0x0002),
            (0x0050, 0x0001, 0x0001),
            (0x0051, 0x0002, 0x0002),
            (0x647a, 0x0001, 0x0003),
            (0x647a, 0x0011, 0x0003),
        ]
    );
}

#[test]
fn the_key_pair_follows_from_its_keying_material_and_from_its_seed() {
    let supported = supported();
    for (suite, vector) in &supported {
        let public = hex_at(vector, "pkRm");
        let derived = derive_key_pair(suite.kem(), &hex_at(vector, "ikmR")).unwrap();
        assert_eq!(derived.public_key().as_bytes(), public, "{suite:?}");
        let mut seed = hex_at(vector, "skRm");
        let expanded = KemPrivateKey::from_seed(suite.kem(), &seed).unwrap();
        assert_eq!(expanded.public_key().as_bytes(), public, "{suite:?}");

        let mut ikm = hex_at(vector, "ikmR");
        ikm[0] ^= 1;
        let other = derive_key_pair(suite.kem(), &ikm).unwrap();
        assert_ne!(other.public_key().as_bytes(), public, "{suite:?}");
        seed.push(0);
        let refused = KemPrivateKey::from_seed(suite.kem(), &seed).unwrap_err();
        assert_eq!(
            refused,
            Error::InvalidPrivateKey {
                suite: suite.kem().name
            }
        );
    }
}

#[test]
fn encapsulation_with_the_given_randomness_gives_the_secret_of_the_file() {
    let supported = supported();
    for (suite, vector) in &supported {
        let public = KemPublicKey::new(suite.kem(), &hex_at(vector, "pkRm")).unwrap();
        let private = KemPrivateKey::from_seed(suite.kem(), &hex_at(vector, "skRm")).unwrap();
        let mut randomness = randomness(*suite, vector);
        let (enc, secret) = public.encapsulate_derand(&randomness).unwrap();
        assert_eq!(enc, hex_at(vector, "enc"), "{suite:?}");
        assert_eq!(
            secret.expose().as_slice(),
            hex_at(vector, "shared_secret"),
            "{suite:?}"
        );
        assert!(
            private.decapsulate(&enc).unwrap().ct_eq(&secret),
            "{suite:?}"
        );

        let expected = randomness.len();
        randomness.pop();
        let refused = public.encapsulate_derand(&randomness).unwrap_err();
        let what = "encapsulation randomness";
        assert_eq!(
            refused,
            Error::Length {
                what,
                actual: expected - 1,
                expected
            }
        );
    }
}

#[test]
fn every_message_of_the_file_is_sealed_to_the_same_bytes_and_opens_in_order_only() {
    let supported = supported();
    let mut messages = 0;
    for (suite, vector) in &supported {
        let info = hex_at(vector, "info");
        let public = KemPublicKey::new(suite.kem(), &hex_at(vector, "pkRm")).unwrap();
        let private = KemPrivateKey::from_seed(suite.kem(), &hex_at(vector, "skRm")).unwrap();
        let randomness = randomness(*suite, vector);
        let (enc, mut sender) = suite
            .setup_sender_derand(&public, &info, &randomness)
            .unwrap();
        assert_eq!(enc, hex_at(vector, "enc"), "{suite:?}");
        let mut recipient = suite.setup_recipient(&enc, &private, &info).unwrap();
        for message in array_at(vector, "encryptions") {
            let [aad, pt, ct] = ["aad", "pt", "ct"].map(|key| hex_at(message, key));
            assert_eq!(sender.seal(&aad, &pt).unwrap(), ct, "{suite:?}");
            assert_eq!(recipient.open(&aad, &ct).unwrap(), pt, "{suite:?}");
            assert_eq!(recipient.open(&aad, &ct), Err(Error::Rejected), "{suite:?}");
            messages += 1;
        }
    }
    assert_eq!(messages, 50);
}

#[test]
fn exports_of_both_ends_are_those_of_the_file_and_other_contexts_give_others() {
    let supported = supported();
    let mut exports = 0;
    for (suite, vector) in &supported {
        let info = hex_at(vector, "info");
        let public = KemPublicKey::new(suite.kem(), &hex_at(vector, "pkRm")).unwrap();
        let private = KemPrivateKey::from_seed(suite.kem(), &hex_at(vector, "skRm")).unwrap();
        let randomness = randomness(*suite, vector);
        let (enc, sender) = suite
            .setup_sender_derand(&public, &info, &randomness)
            .unwrap();
        let recipient = suite.setup_recipient(&enc, &private, &info).unwrap();
        for export in array_at(vector, "exports") {
            let mut context = hex_at(export, "exporter_context");
            let expected = hex_at(export, "exported_value");
            assert_eq!(number(export, "L"), u16::try_from(expected.len()).unwrap());
            let ours = sender.export(&context, expected.len()).unwrap();
            assert_eq!(ours.expose(), expected, "{suite:?}");
            let theirs = recipient.export(&context, expected.len()).unwrap();
            assert_eq!(theirs.expose(), expected, "{suite:?}");
            context.push(0);
            let other = sender.export(&context, expected.len()).unwrap();
            assert_ne!(other.expose(), expected, "{suite:?}");
            exports += 1;
        }
    }
    assert_eq!(exports, 25);
}

#[test]
fn identifiers_outside_the_registry_name_no_suite() {
    let known = HpkeTriple {
        kem: 0x647a,
        kdf: 0x0001,
        aead: 0x0003,
    };
    assert_eq!(HpkeSuite::by_triple(known).unwrap().triple(), known);
    for unknown in [
        HpkeTriple {
            kem: 0x0020,
            ..known
        },
        HpkeTriple {
            kdf: 0x0003,
            ..known
        },
        HpkeTriple {
            aead: 0xffff,
            ..known
        },
    ] {
        assert_eq!(HpkeSuite::by_triple(unknown), None);
    }
}

/// The identifiers are those of draft-ietf-hpke-pq-05 and RFC 9180.
#[test]
fn a_whole_triple_names_the_suite_it_stands_for_and_no_other_does() {
    for (kem, kdf, name) in [
        (0x0051, 0x0002, "mlkem1024-p384"),
        (0x647a, 0x0001, "mlkem768-x25519"),
        (0x0050, 0x0001, "mlkem768-p256"),
        (0x0042, 0x0002, "mlkem1024"),
    ] {
        let triple = HpkeTriple {
            kem,
            kdf,
            aead: 0x0002,
        };
        assert_eq!(KemSuite::by_hpke(triple).unwrap().name, name);
        for other in [
            HpkeTriple {
                kem: 0x0020,
                ..triple
            },
            HpkeTriple {
                kdf: 0x0011,
                ..triple
            },
            HpkeTriple {
                aead: 0x0003,
                ..triple
            },
        ] {
            assert_eq!(KemSuite::by_hpke(other), None, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_info_aad_and_plaintext_come_back(
        suite in 0..KEM_SUITES.len(),
        info in prop::collection::vec(any::<u8>(), 0..200),
        aad in prop::collection::vec(any::<u8>(), 0..200),
        plaintext in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let suite = HpkeSuite::of(KEM_SUITES[suite]).unwrap();
        let key = KemPrivateKey::generate(suite.kem()).unwrap();
        let (enc, ct) = suite.seal(key.public_key(), &info, &aad, &plaintext).unwrap();
        prop_assert_eq!(suite.open(&enc, &key, &info, &aad, &ct), Ok(plaintext));
        let longer = [aad.as_slice(), &[0]].concat();
        prop_assert_eq!(suite.open(&enc, &key, &info, &longer, &ct), Err(Error::Rejected));
    }
}
