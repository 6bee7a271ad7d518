//! SLH-DSA: NIST's vectors, the independent crate `fips205`, key files, and what must be refused.

use casemate_crypto::{
    Error,
    algorithm::SlhDsa,
    encoding::{EncodingError, PrivateKey, PublicKey},
    signature::{SigningKey, SlhPublicKey, SlhSigningKey, VerifyingKey},
    suite::{SLHDSA_SHA2_192S, SLHDSA_SHA2_256S},
};
use casemate_testkit::{array_at, hex_at, public_json, str_at};
use der::pem::{LineEnding, decode_vec, encode_string};
use fips205::traits::{KeyGen, SerDes, Signer, Verifier};

const CONTEXT: &[u8] = b"casemate/v1/artifact";
const MESSAGE: &[u8] = b"the root of a manifest";
const SETS: [SlhDsa; 5] = [
    SlhDsa::Sha2_128s,
    SlhDsa::Sha2_128f,
    SlhDsa::Sha2_192s,
    SlhDsa::Sha2_256s,
    SlhDsa::Shake128f,
];

fn set_named(name: &str) -> Option<SlhDsa> {
    SETS.into_iter().find(|set| set.name() == name)
}

#[test]
fn key_generation_gives_nists_keys() {
    let vectors = public_json("acvp-rustcrypto/slh-dsa/SLH-DSA-keyGen-FIPS205.json");
    let mut checked = 0;
    for group in array_at(&vectors, "testGroups") {
        let Some(set) = set_named(str_at(group, "parameterSet")) else {
            continue;
        };
        for test in array_at(group, "tests") {
            let mut sk = hex_at(test, "sk");
            let key = SlhSigningKey::from_bytes(set, &sk).unwrap();
            assert_eq!(key.public_key(), hex_at(test, "pk"));
            *sk.last_mut().unwrap() ^= 1;
            let refused = SlhSigningKey::from_bytes(set, &sk).unwrap_err();
            assert_eq!(refused, Error::InvalidPrivateKey { suite: set.name() });
            checked += 1;
        }
    }
    assert_eq!(checked, 10);
}

#[test]
fn verification_agrees_with_nists_verdicts() {
    let vectors = public_json("acvp-rustcrypto/slh-dsa/SLH-DSA-sigVer-FIPS205.json");
    let mut verdicts = [0, 0];
    for group in array_at(&vectors, "testGroups") {
        let Some(set) = set_named(str_at(group, "parameterSet")) else {
            continue;
        };
        for test in array_at(group, "tests") {
            let key = SlhPublicKey::new(set, &hex_at(test, "pk")).unwrap();
            let verified =
                key.verify_internal(&hex_at(test, "message"), &hex_at(test, "signature"));
            let expected = test["testPassed"].as_bool().unwrap();
            let verdict = if expected {
                Ok(())
            } else {
                Err(Error::BadSignature)
            };
            assert_eq!(verified, verdict, "{}", str_at(test, "reason"));
            verdicts[usize::from(expected)] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 1), "{verdicts:?}");
}

/// Keys from the same seeds, signatures in both directions, through the suite's public interface.
macro_rules! check_against_fips205 {
    ($suite:expr, $set:expr, $module:ident, $n:literal) => {{
        let seeds = [[1; $n], [2; $n], [3; $n]];
        let (public, private) =
            fips205::$module::KG::keygen_from_seed(&seeds[0], &seeds[1], &seeds[2]);
        let bytes = private.clone().into_bytes();
        let key = SigningKey::from_components($suite, &bytes, None).unwrap();
        assert_eq!(key.verifying_key().as_bytes(), public.clone().into_bytes());

        let ours = key.sign_with_context(CONTEXT, MESSAGE).unwrap();
        assert_eq!(ours.len(), $suite.signature_bytes_max);
        let ours: [u8; fips205::$module::SIG_LEN] = ours.try_into().unwrap();
        assert!(public.verify(MESSAGE, &ours, CONTEXT));
        assert!(!public.verify(MESSAGE, &ours, b""));

        check_refusals(key.verifying_key(), &ours);
        // Deterministic signing has one right answer, which the other crate computes as well.
        let theirs = private.try_sign(MESSAGE, CONTEXT, false).unwrap();
        let ours = SlhSigningKey::from_bytes($set, &bytes)
            .unwrap()
            .sign_derand(MESSAGE, CONTEXT, None)
            .unwrap();
        assert_eq!(ours, theirs);
    }};
}

fn check_refusals(key: &VerifyingKey, signature: &[u8]) {
    key.verify_with_context(CONTEXT, MESSAGE, signature)
        .unwrap();
    let bad = Err(Error::BadSignature);
    assert_eq!(key.verify_with_context(b"", MESSAGE, signature), bad);
    assert_eq!(key.verify_with_context(CONTEXT, b"other", signature), bad);
    let cut = &signature[1..];
    assert_eq!(key.verify_with_context(CONTEXT, MESSAGE, cut), bad);
    let longer = [signature, &[0]].concat();
    assert_eq!(key.verify_with_context(CONTEXT, MESSAGE, &longer), bad);
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut flipped = signature.to_vec();
        flipped[at] ^= 1;
        assert_eq!(key.verify_with_context(CONTEXT, MESSAGE, &flipped), bad);
    }
    let long = Err(Error::ContextTooLong { actual: 256 });
    assert_eq!(key.verify_with_context(&[0; 256], MESSAGE, signature), long);
}

#[test]
fn slhdsa_sha2_192s_agrees_with_fips205() {
    check_against_fips205!(&SLHDSA_SHA2_192S, SlhDsa::Sha2_192s, slh_dsa_sha2_192s, 24);
}

#[test]
fn slhdsa_sha2_256s_agrees_with_fips205() {
    check_against_fips205!(&SLHDSA_SHA2_256S, SlhDsa::Sha2_256s, slh_dsa_sha2_256s, 32);
}

#[test]
fn every_set_signs_with_fresh_randomness_and_keeps_its_lengths() {
    for set in [SlhDsa::Sha2_128f, SlhDsa::Shake128f] {
        let key = SlhSigningKey::generate(set).unwrap();
        let public = SlhPublicKey::new(set, key.public_key()).unwrap();
        let [first, second] = [(), ()].map(|()| key.sign(MESSAGE, CONTEXT).unwrap());
        assert_ne!(first, second, "hedged signing draws randomness");
        assert_eq!(first.len(), set.signature_bytes());
        public.verify(MESSAGE, CONTEXT, &first).unwrap();
        assert_eq!(
            public.verify(MESSAGE, b"other", &first),
            Err(Error::BadSignature)
        );
        let short = key.sign_derand(MESSAGE, CONTEXT, Some(&[0; 15]));
        let expected = Error::Length {
            what: "signing randomness",
            actual: 15,
            expected: 16,
        };
        assert_eq!(short.unwrap_err(), expected);
        assert_eq!(
            key.sign(MESSAGE, &[0; 256]).unwrap_err(),
            Error::ContextTooLong { actual: 256 }
        );
    }
}

/// RFC 9909: the private key octets stand in the PKCS#8 without a wrapper of their own, the public
/// ones in the SPKI.
#[test]
fn key_files_are_those_of_rfc_9909() {
    let key = SigningKey::generate(&SLHDSA_SHA2_192S).unwrap();
    let public = key.verifying_key().as_bytes().to_vec();
    let pem = PrivateKey::Sign(key).to_pem().unwrap();
    let (_, der) = decode_vec(pem.expose()).unwrap();
    // SEQUENCE, version 0, AlgorithmIdentifier { 2.16.840.1.101.3.4.3.22 }, OCTET STRING of 96.
    let prefix = hex::decode("3072020100300b06096086480165030403160460").unwrap();
    assert_eq!(der[..prefix.len()], prefix);
    assert_eq!(der[der.len() - 48..], public);
    let again = PrivateKey::from_pem(pem.expose()).unwrap();
    assert_eq!(again.to_pem().unwrap().expose(), pem.expose());
    let public_pem = again.public_key().unwrap().to_pem().unwrap();
    let read = PublicKey::from_pem(public_pem.as_bytes()).unwrap();
    assert_eq!(read.suite_name(), "slhdsa-sha2-192s");

    let mut foreign_root = der;
    *foreign_root.last_mut().unwrap() ^= 1;
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, &foreign_root).unwrap();
    let refused = PrivateKey::from_pem(pem.as_bytes()).unwrap_err();
    assert!(
        matches!(refused, EncodingError::Key(Error::InvalidPrivateKey { .. })),
        "{refused}"
    );
}
