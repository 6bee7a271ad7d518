//! Encapsulation keys and ciphertexts that are no good.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use casemate_crypto::{
    Error,
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    suite::{
        KEM_SUITES, KemSuite, MLKEM768_P256, MLKEM768_X25519, MLKEM1024, MLKEM1024_P384,
        SIGNATURE_SUITES,
    },
};
use casemate_testkit::public_vectors;
use flate2::read::GzDecoder;

/// A key pair and a ciphertext for it.
fn sent(suite: &'static KemSuite) -> (KemPrivateKey, Vec<u8>, Vec<u8>) {
    let key = KemPrivateKey::generate(suite).unwrap();
    let (ct, secret) = key.public_key().encapsulate().unwrap();
    (key, ct, secret.expose().to_vec())
}

/// X25519 ignores the top bit of a u-coordinate, so a combiner that hashes the two secrets alone
/// accepts two ciphertexts for one key. Ours hashes the classical ciphertext too.
#[test]
fn the_top_bit_that_x25519_ignores_changes_the_hybrid_secret() {
    let scalar = [0x5e; 32];
    let key = KemPrivateKey::from_components(&MLKEM768_X25519, &[1; 64], Some(&scalar)).unwrap();
    let (ct, secret) = key.public_key().encapsulate().unwrap();
    let mut flipped = ct.clone();
    flipped[1119] ^= 0x80;

    let plain = PrivateKey::from_private_key(&agreement::X25519, &scalar).unwrap();
    let agree = |ct: &[u8]| {
        let peer = UnparsedPublicKey::new(&agreement::X25519, ct[1088..].to_vec());
        agreement::agree(&plain, peer, Error::Rejected, |secret| Ok(secret.to_vec())).unwrap()
    };
    assert_eq!(agree(&ct), agree(&flipped));
    assert!(key.decapsulate(&ct).unwrap().ct_eq(&secret));
    assert!(!key.decapsulate(&flipped).unwrap().ct_eq(&secret));
}

#[test]
fn every_other_length_of_a_ciphertext_key_or_seed_is_refused() {
    for suite in KEM_SUITES {
        let (key, ct, _) = sent(suite);
        let public = key.public_key().as_bytes();
        for (actual, cut) in [0, 1, ct.len() - 1].map(|len| (len, &ct[..len])) {
            let expected = suite.ciphertext_bytes;
            let refused = Error::Length {
                what: "encapsulated key",
                actual,
                expected,
            };
            assert_eq!(key.decapsulate(cut).unwrap_err(), refused, "{}", suite.name);
        }
        let refused = key
            .decapsulate(&[ct.as_slice(), &[0]].concat())
            .unwrap_err();
        assert!(matches!(refused, Error::Length { .. }), "{}", suite.name);
        for wrong in [&public[1..], &[public, &[0]].concat(), &[]] {
            let refused = KemPublicKey::new(suite, wrong).unwrap_err();
            assert_eq!(refused, Error::InvalidPublicKey { suite: suite.name });
        }
        for len in [0, suite.seed_bytes - 1, suite.seed_bytes + 1] {
            let refused = KemPrivateKey::from_seed(suite, &vec![1; len]).unwrap_err();
            assert_eq!(refused, Error::InvalidPrivateKey { suite: suite.name });
        }
    }
}

/// Round 3 of Kyber has the public lengths of ML-KEM, so what tells them apart is the private form:
/// round 3 knows no seeds, only expanded keys.
#[test]
fn kyber_and_dilithium_private_keys_of_round_three_have_no_length_of_ours() {
    for len in [2400, 3168] {
        for suite in KEM_SUITES {
            let refused = KemPrivateKey::from_seed(suite, &vec![1; len]).unwrap_err();
            assert_eq!(refused, Error::InvalidPrivateKey { suite: suite.name });
            let scalar = suite.is_hybrid().then_some([1; 32].as_slice());
            let refused = KemPrivateKey::from_components(suite, &vec![1; len], scalar).unwrap_err();
            assert_eq!(refused, Error::InvalidPrivateKey { suite: suite.name });
        }
    }
    for len in [4000, 4864] {
        for suite in SIGNATURE_SUITES {
            use casemate_crypto::signature::SigningKey;
            let refused = SigningKey::from_components(suite, &vec![1; len], None).unwrap_err();
            assert_eq!(refused, Error::InvalidPrivateKey { suite: suite.name });
        }
    }
}

#[test]
fn a_half_too_many_or_too_few_makes_no_private_key() {
    for suite in KEM_SUITES {
        let scalar = (!suite.is_hybrid()).then_some([1; 32].as_slice());
        let refused = KemPrivateKey::from_components(suite, &[1; 64], scalar).unwrap_err();
        assert_eq!(refused, Error::InvalidPrivateKey { suite: suite.name });
    }
}

/// The keys of a CCTV file, each with one coefficient that is not below the modulus.
fn bad_moduli(set: &str) -> Vec<Vec<u8>> {
    let path = public_vectors(&format!("cctv/ML-KEM/modulus/ML-KEM-{set}.txt.gz"));
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    lines
        .map(|line| hex::decode(line.unwrap()).unwrap())
        .collect()
}

#[test]
fn an_encapsulation_key_with_a_coefficient_past_the_modulus_is_refused() {
    for (set, keys, suites) in [
        ("768", 780, [&MLKEM768_X25519, &MLKEM768_P256]),
        ("1024", 1040, [&MLKEM1024, &MLKEM1024_P384]),
    ] {
        let bad = bad_moduli(set);
        assert_eq!(bad.len(), keys);
        for suite in suites {
            let key = KemPrivateKey::generate(suite).unwrap();
            let good = key.public_key().as_bytes();
            let whole = KemPublicKey::new(suite, good).unwrap();
            assert_eq!(whole.encapsulate().unwrap().0.len(), suite.ciphertext_bytes);
            for bad in &bad {
                let bytes = [bad, &good[bad.len()..]].concat();
                let key = KemPublicKey::new(suite, &bytes).unwrap();
                let refused = Error::InvalidPublicKey { suite: suite.name };
                assert_eq!(key.encapsulate().unwrap_err(), refused);
            }
        }
    }
}

#[test]
fn hpke_refuses_a_recipient_with_a_coefficient_past_the_modulus() {
    let bad = bad_moduli("1024");
    let suite = HpkeSuite::of(&MLKEM1024).unwrap();
    let key = KemPublicKey::new(&MLKEM1024, &bad[0]).unwrap();
    let refused = suite.seal(&key, b"", b"", b"").unwrap_err();
    assert_eq!(refused, Error::InvalidPublicKey { suite: "mlkem1024" });
}

/// The classical half of a public key, replaced.
fn with_point(suite: &'static KemSuite, pq_bytes: usize, point: &[u8]) -> KemPublicKey {
    let key = KemPrivateKey::generate(suite).unwrap();
    let bytes = [&key.public_key().as_bytes()[..pq_bytes], point].concat();
    KemPublicKey::new(suite, &bytes).unwrap()
}

#[test]
fn public_points_off_the_curve_or_of_low_order_are_refused() {
    let mut infinity = vec![0; 97];
    let off_curve = [[4].as_slice(), &[1; 96]].concat();
    infinity[96] = 1;
    let low_order = [vec![0; 32], [[1].as_slice(), &[0; 31]].concat()];
    for (suite, pq_bytes, point) in [
        (&MLKEM768_X25519, 1184, low_order[0].as_slice()),
        (&MLKEM768_X25519, 1184, &low_order[1]),
        (&MLKEM768_P256, 1184, &off_curve[..65]),
        (&MLKEM768_P256, 1184, &infinity[..65]),
        (&MLKEM1024_P384, 1568, &off_curve),
        (&MLKEM1024_P384, 1568, &infinity),
    ] {
        let refused = with_point(suite, pq_bytes, point)
            .encapsulate()
            .unwrap_err();
        assert_eq!(refused, Error::InvalidPublicKey { suite: suite.name });

        let (key, ct, _) = sent(suite);
        let pq_ciphertext = &ct[..ct.len() - point.len()];
        let refused = key
            .decapsulate(&[pq_ciphertext, point].concat())
            .unwrap_err();
        assert_eq!(refused, Error::Rejected, "{}", suite.name);
    }
}

/// A hybrid secret depends on either half alone: swapping one half of two ciphertexts gives a third
/// secret.
#[test]
fn halves_of_two_ciphertexts_do_not_combine() {
    for (suite, pq_bytes) in [
        (&MLKEM768_X25519, 1088),
        (&MLKEM768_P256, 1088),
        (&MLKEM1024_P384, 1568),
    ] {
        let (key, first, first_secret) = sent(suite);
        let (second, second_secret) = key.public_key().encapsulate().unwrap();
        let mixed = [&first[..pq_bytes], &second[pq_bytes..]].concat();
        let secret = key.decapsulate(&mixed).unwrap();
        assert_ne!(secret.expose().as_slice(), first_secret, "{}", suite.name);
        assert!(!secret.ct_eq(&second_secret), "{}", suite.name);
    }
}
