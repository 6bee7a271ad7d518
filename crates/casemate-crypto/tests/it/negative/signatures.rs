//! Signatures that must not verify, and the two kinds that do though nobody made them.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey};
use casemate_awslc::{MlDsa, MlDsaPublicKey};
use casemate_crypto::{
    Error, Purpose,
    algorithm::TradSignature,
    signature::{COMPOSITE_PREFIX, HttpSignatures, HttpSigningKey, SigningKey, VerifyingKey},
    suite::{
        MLDSA65_ED25519, MLDSA65_P384, MLDSA87, MLDSA87_P384, SIGNATURE_SUITES,
        SignatureConstruction, SignatureSuite,
    },
};
use ed25519_dalek::Signer;

const CONTEXT: &[u8] = b"casemate/v1/artifact";
const MESSAGE: &[u8] = b"message";
const BAD: Result<(), Error> = Err(Error::BadSignature);
const COMPOSITES: [&SignatureSuite; 3] = [&MLDSA87_P384, &MLDSA65_ED25519, &MLDSA65_P384];

fn parts(suite: &SignatureSuite) -> (MlDsa, TradSignature, &'static [u8]) {
    match suite.construction {
        SignatureConstruction::Composite { pq, trad, label } => (pq, trad, label),
        other => panic!("{other:?} is no composite"),
    }
}

fn verify(key: &SigningKey, signature: &[u8]) -> Result<(), Error> {
    key.verifying_key()
        .verify_with_context(CONTEXT, MESSAGE, signature)
}

fn sign(key: &SigningKey) -> Vec<u8> {
    key.sign_with_context(CONTEXT, MESSAGE).unwrap()
}

/// The ML-DSA half of one signature with the classical half of another.
fn mix(suite: &SignatureSuite, pq: &[u8], trad: &[u8]) -> Vec<u8> {
    let at = parts(suite).0.signature_bytes();
    [&pq[..at], &trad[at..]].concat()
}

#[test]
fn halves_of_another_key_message_or_context_do_not_fit() {
    for suite in COMPOSITES {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        assert_eq!(verify(&key, &good), Ok(()), "{}", suite.name);
        let other_key = sign(&SigningKey::generate(suite).unwrap());
        let other_message = key.sign_with_context(CONTEXT, b"other").unwrap();
        let other_context = key.sign_with_context(b"", MESSAGE).unwrap();
        for other in [&other_key, &other_message, &other_context] {
            assert_eq!(verify(&key, other), BAD, "{}", suite.name);
            assert_eq!(
                verify(&key, &mix(suite, &good, other)),
                BAD,
                "{}",
                suite.name
            );
            assert_eq!(
                verify(&key, &mix(suite, other, &good)),
                BAD,
                "{}",
                suite.name
            );
        }
    }
}

#[test]
fn halves_of_another_suite_do_not_fit() {
    let p384 = SigningKey::from_components(&MLDSA65_P384, &[1; 32], Some(&[2; 48])).unwrap();
    let ed25519 = SigningKey::from_components(&MLDSA65_ED25519, &[1; 32], Some(&[2; 32])).unwrap();
    let (p384_signature, ed25519_signature) = (sign(&p384), sign(&ed25519));
    assert_eq!(verify(&p384, &p384_signature), Ok(()));
    assert_eq!(verify(&ed25519, &ed25519_signature), Ok(()));
    let mixed = mix(&MLDSA65_P384, &ed25519_signature, &p384_signature);
    assert_eq!(verify(&p384, &mixed), BAD);
    let mixed = mix(&MLDSA65_P384, &p384_signature, &ed25519_signature);
    assert_eq!(verify(&ed25519, &mixed), BAD);
}

/// Composites are unforgeable, not strongly so: bytes of a signature are never an identity.
///
/// Ed25519 signs one way only, so there the third signature is the first one again.
#[test]
fn two_signatures_of_one_message_recombine_into_a_third_that_verifies() {
    for suite in COMPOSITES {
        let key = SigningKey::generate(suite).unwrap();
        let (first, second) = (sign(&key), sign(&key));
        let third = mix(suite, &first, &second);
        assert!(first != second && second != third, "{}", suite.name);
        let deterministic = parts(suite).1 == TradSignature::Ed25519;
        assert_eq!(third == first, deterministic, "{}", suite.name);
        assert_eq!(verify(&key, &third), Ok(()), "{}", suite.name);
    }
}

/// ECDSA gives a second signature for free, `(r, n - s)`: again, bytes are no identity.
#[test]
fn the_mirrored_ecdsa_half_verifies_too() {
    let key = SigningKey::generate(&MLDSA65_P384).unwrap();
    let good = sign(&key);
    let (pq, der) = good.split_at(3309);
    let signature = p384::ecdsa::Signature::from_der(der).unwrap();
    let (r, s) = signature.split_scalars();
    let mirrored = p384::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
    let third = [pq, mirrored.to_der().as_bytes()].concat();
    assert_ne!(third, good);
    assert_eq!(verify(&key, &third), Ok(()));
}

#[test]
fn one_half_alone_is_no_signature() {
    for suite in COMPOSITES {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        let (pq, trad) = good.split_at(parts(suite).0.signature_bytes());
        let zeros = vec![0; pq.len()];
        let zeroed = [pq, &vec![0; trad.len()]].concat();
        for stripped in [pq, trad, &[], &[&zeros, trad].concat(), &zeroed] {
            assert_eq!(verify(&key, stripped), BAD, "{}", suite.name);
        }
    }
}

#[test]
fn no_half_of_a_composite_verifies_alone_on_the_message() {
    for suite in COMPOSITES {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        let (set, algorithm, label) = parts(suite);
        let (pq, trad) = good.split_at(set.signature_bytes());
        let (pq_key, trad_key) = key
            .verifying_key()
            .as_bytes()
            .split_at(set.public_key_bytes());
        let pq_key = MlDsaPublicKey::new(set, pq_key).unwrap();
        for context in [b"".as_slice(), CONTEXT, label] {
            let verified = pq_key.verify(MESSAGE, context, pq);
            assert_eq!(
                verified,
                Err(casemate_awslc::Error::BadSignature),
                "{}",
                suite.name
            );
        }
        let trad_key = match algorithm {
            TradSignature::Ed25519 => ParsedPublicKey::new(&ED25519, trad_key),
            TradSignature::EcdsaP384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, trad_key),
        };
        let verified = trad_key.unwrap().verify_sig(MESSAGE, trad);
        assert_eq!(
            verified,
            Err(aws_lc_rs::error::Unspecified),
            "{}",
            suite.name
        );
    }
}

#[test]
fn another_purpose_context_or_message_is_refused() {
    for suite in SIGNATURE_SUITES {
        let key = SigningKey::generate(suite).unwrap();
        let public = key.verifying_key();
        let signature = key.sign(Purpose::ARTIFACT, MESSAGE).unwrap();
        assert_eq!(
            public.verify(Purpose::ARTIFACT, MESSAGE, &signature),
            Ok(()),
            "{}",
            suite.name
        );
        assert_eq!(
            public.verify(Purpose::KEY_DOCUMENT, MESSAGE, &signature),
            BAD
        );
        assert_eq!(
            public.verify(Purpose::ARTIFACT, b"messagf", &signature),
            BAD
        );
        assert_eq!(public.verify_with_context(b"", MESSAGE, &signature), BAD);
        // The boundary between context and message must not move.
        let moved = key.sign_with_context(b"ab", b"c").unwrap();
        assert_eq!(
            public.verify_with_context(b"a", b"bc", &moved),
            BAD,
            "{}",
            suite.name
        );
    }
}

#[test]
fn a_context_of_255_bytes_is_signed_and_one_more_is_refused() {
    for suite in SIGNATURE_SUITES {
        let key = SigningKey::generate(suite).unwrap();
        let signature = key.sign_with_context(&[1; 255], MESSAGE).unwrap();
        let verify = |len| {
            key.verifying_key()
                .verify_with_context(&vec![1; len], MESSAGE, &signature)
        };
        assert_eq!(verify(255), Ok(()), "{}", suite.name);
        assert_eq!(verify(254), BAD, "{}", suite.name);
        let refused = Error::ContextTooLong { actual: 256 };
        assert_eq!(verify(256), Err(refused.clone()), "{}", suite.name);
        assert_eq!(
            key.sign_with_context(&[1; 256], MESSAGE),
            Err(refused),
            "{}",
            suite.name
        );
    }
}

#[test]
fn a_changed_byte_of_a_signature_is_refused() {
    for suite in SIGNATURE_SUITES {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        // Hash-based signatures are long and slow; a prime step meets every layer of the tree.
        let step = if good.len() < 10_000 { 1 } else { 23 };
        for byte in (0..good.len()).step_by(step) {
            let mut changed = good.clone();
            changed[byte] ^= 1 << (byte % 8);
            assert_eq!(verify(&key, &changed), BAD, "{} {byte}", suite.name);
        }
        assert_eq!(verify(&key, &good), Ok(()), "{}", suite.name);
    }
}

/// Signatures of round-3 Dilithium: 3293 and 4595 bytes, before FIPS 204 made the challenge hash
/// longer.
#[test]
fn signatures_of_round_three_lengths_are_refused() {
    for suite in SIGNATURE_SUITES {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        for len in [3293, 4595, 3293 + 64, 4595 + 104, 0, good.len() - 1] {
            let mut other = good.clone();
            other.resize(len, 0);
            assert_eq!(verify(&key, &other), BAD, "{} {len}", suite.name);
        }
        assert_eq!(
            verify(&key, &[good.as_slice(), &[0]].concat()),
            BAD,
            "{}",
            suite.name
        );
        let public = key.verifying_key().as_bytes();
        for wrong in [&public[1..], &[public, &[0]].concat(), &[]] {
            let refused = VerifyingKey::new(suite, wrong).unwrap_err();
            assert_eq!(refused, Error::InvalidPublicKey { suite: suite.name });
        }
    }
    assert!(SIGNATURE_SUITES.into_iter().any(|suite| suite == &MLDSA87));
}

/// A DER integer, with as many zero bytes in front as asked for.
fn integer(digits: &[u8], padding: usize) -> Vec<u8> {
    let start = digits.iter().position(|byte| *byte != 0).unwrap();
    let sign = usize::from(digits[start] >= 0x80);
    let value = [vec![0; sign + padding].as_slice(), &digits[start..]].concat();
    [&[2, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
}

fn sequence(header: &[u8], parts: [&[u8]; 2]) -> Vec<u8> {
    let body = parts.concat();
    [header, &[u8::try_from(body.len()).unwrap()], &body].concat()
}

#[test]
fn an_ecdsa_half_that_is_not_der_is_refused() {
    for suite in [&MLDSA65_P384, &MLDSA87_P384] {
        let key = SigningKey::generate(suite).unwrap();
        let good = sign(&key);
        let (pq, der) = good.split_at(parts(suite).0.signature_bytes());
        let raw = p384::ecdsa::Signature::from_der(der).unwrap().to_bytes();
        let (r, s) = raw.split_at(48);
        let [r0, s0, r1, s1] = [integer(r, 0), integer(s, 0), integer(r, 1), integer(s, 1)];
        assert_eq!(sequence(&[0x30], [&r0, &s0]), der);
        let indefinite = [[0x30, 0x80].as_slice(), &r0, &s0, &[0, 0]].concat();
        for (what, wrong) in [
            ("raw r and s", raw.to_vec()),
            (
                "long form of a short length",
                sequence(&[0x30, 0x81], [&r0, &s0]),
            ),
            ("indefinite length", indefinite),
            ("padded r", sequence(&[0x30], [&r1, &s0])),
            ("padded s", sequence(&[0x30], [&r0, &s1])),
            ("a set", sequence(&[0x31], [&r0, &s0])),
            ("a byte after the sequence", [der, &[0]].concat()),
            (
                "a byte inside the sequence",
                sequence(&[0x30], [&r0, &[s0, vec![0]].concat()]),
            ),
            ("one integer", sequence(&[0x30], [&r0, &[]])),
        ] {
            let refused = verify(&key, &[pq, &wrong].concat());
            assert_eq!(refused, BAD, "{}: {what}", suite.name);
        }
    }
}

#[test]
fn the_http_pair_refuses_messages_led_by_the_composite_prefix() {
    let seed = [5; 32];
    let key = HttpSigningKey::from_seeds(&seed, &[6; 32]).unwrap();
    let public = key.verifying_key();
    let led = [COMPOSITE_PREFIX.as_slice(), b"rest"].concat();
    let refused = Err(Error::CompositePrefix);
    assert_eq!(key.sign(&led, b"base"), Err(Error::CompositePrefix));
    assert_eq!(key.sign(b"base", &led), Err(Error::CompositePrefix));
    assert_eq!(
        key.sign(COMPOSITE_PREFIX, b"base"),
        Err(Error::CompositePrefix)
    );

    // Good signatures, made elsewhere.
    let ed25519 = ed25519_dalek::SigningKey::from_bytes(&seed)
        .sign(&led)
        .to_bytes()
        .to_vec();
    let mldsa65 = key.sign(b"base", b"base").unwrap().mldsa65;
    let signatures = HttpSignatures { ed25519, mldsa65 };
    assert_eq!(public.verify(&led, b"base", &signatures), refused);
    assert_eq!(public.verify(b"base", &led, &signatures), refused);

    let near = &led[1..];
    let short = &COMPOSITE_PREFIX[..31];
    let signatures = key.sign(near, short).unwrap();
    assert_eq!(public.verify(near, short, &signatures), Ok(()));
}

#[test]
fn the_http_pair_needs_both_of_its_signatures() {
    let key = HttpSigningKey::generate().unwrap();
    let public = key.verifying_key();
    let good = key.sign(b"one", b"two").unwrap();
    assert_eq!(public.verify(b"one", b"two", &good), Ok(()));
    let other = HttpSigningKey::generate()
        .unwrap()
        .sign(b"one", b"two")
        .unwrap();
    for wrong in [
        HttpSignatures {
            ed25519: vec![],
            ..good.clone()
        },
        HttpSignatures {
            mldsa65: vec![],
            ..good.clone()
        },
        HttpSignatures {
            ed25519: other.ed25519,
            ..good.clone()
        },
        HttpSignatures {
            mldsa65: other.mldsa65,
            ..good.clone()
        },
    ] {
        assert_eq!(public.verify(b"one", b"two", &wrong), BAD);
    }
    assert_eq!(public.verify(b"two", b"one", &good), BAD);
}
