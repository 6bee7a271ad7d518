//! The LAMPS vectors: PKIX encodings, decapsulation and signatures of the composites and of pure
//! ML-KEM and ML-DSA.

use base64::{Engine, prelude::BASE64_STANDARD};
use casemate_crypto::{
    Error,
    encoding::{PrivateKey, PublicKey},
};
use casemate_testkit::{array_at, public_json, str_at};
use der::pem::{LineEnding, decode_vec, encode_string};
use serde_json::Value;

const KEMS: [(&str, &str); 4] = [
    ("id-alg-ml-kem-1024", "mlkem1024"),
    ("id-MLKEM768-X25519-SHA3-256", "mlkem768-x25519"),
    ("id-MLKEM768-ECDH-P256-SHA3-256", "mlkem768-p256"),
    ("id-MLKEM1024-ECDH-P384-SHA3-256", "mlkem1024-p384"),
];
const SIGNATURES: [(&str, &str); 4] = [
    ("id-ML-DSA-87", "mldsa87"),
    ("id-MLDSA65-ECDSA-P384-SHA512", "mldsa65-p384"),
    ("id-MLDSA65-Ed25519-SHA512", "mldsa65-ed25519"),
    ("id-MLDSA87-ECDSA-P384-SHA512", "mldsa87-p384"),
];

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(str_at(value, key)).unwrap()
}

fn named<'a>(vectors: &'a Value, id: &str) -> &'a Value {
    let mut tests = array_at(vectors, "tests").iter();
    tests.find(|test| str_at(test, "tcId") == id).unwrap()
}

/// Reads the PKCS#8 of a vector and checks that writing gives the same DER.
fn read_private(der: &[u8], suite: &str) -> PrivateKey {
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, der).unwrap();
    let key = PrivateKey::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(key.public_key().unwrap().suite_name(), suite);
    let written = key.to_pem().unwrap();
    let (_, again) = decode_vec(written.expose()).unwrap();
    assert_eq!(again, der, "{suite}");
    key
}

fn is_inside(needle: &[u8], hay: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// The certificate of a vector holds its SPKI, byte for byte.
fn check_certificate(key: &PublicKey, certificate: &[u8]) {
    let pem = key.to_pem().unwrap();
    let (_, mut spki) = decode_vec(pem.as_bytes()).unwrap();
    assert!(is_inside(&spki, certificate), "{}", key.suite_name());
    *spki.last_mut().unwrap() ^= 1;
    assert!(!is_inside(&spki, certificate), "{}", key.suite_name());
}

#[test]
fn composite_kem_keys_read_rewrite_and_decapsulate() {
    let vectors = public_json("lamps-composite-kem/testvectors.json");
    for (id, suite) in KEMS {
        let vector = named(&vectors, id);
        let private = read_private(&bytes(vector, "dk_pkcs8"), suite);
        check_certificate(&private.public_key().unwrap(), &bytes(vector, "x5c"));
        let PrivateKey::Kem(private) = private else {
            panic!("{id} is a KEM")
        };
        assert_eq!(private.public_key().as_bytes(), bytes(vector, "ek"), "{id}");
        let mut c = bytes(vector, "c");
        let k = bytes(vector, "k");
        assert_eq!(
            private.decapsulate(&c).unwrap().expose().as_slice(),
            k,
            "{id}"
        );

        c[0] ^= 1;
        assert_ne!(
            private.decapsulate(&c).unwrap().expose().as_slice(),
            k,
            "{id}"
        );
        let expected = c.len();
        let refused = private.decapsulate(&c[1..]).unwrap_err();
        let what = "encapsulated key";
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
fn composite_signing_keys_read_rewrite_and_their_signatures_hold_for_their_context_only() {
    let vectors = public_json("lamps-composite-sigs/testvectors.json");
    let [m, ctx] = ["m", "ctx"].map(|key| bytes(&vectors, key));
    for (id, suite) in SIGNATURES {
        let vector = named(&vectors, id);
        let private = read_private(&bytes(vector, "sk_pkcs8"), suite);
        check_certificate(&private.public_key().unwrap(), &bytes(vector, "x5c"));
        let PrivateKey::Sign(private) = private else {
            panic!("{id} signs")
        };
        let public = private.verifying_key();
        assert_eq!(public.as_bytes(), bytes(vector, "pk"), "{id}");

        let [s, s_ctx] = ["s", "sWithContext"].map(|key| bytes(vector, key));
        assert_eq!(public.verify_with_context(b"", &m, &s), Ok(()), "{id}");
        assert_eq!(public.verify_with_context(&ctx, &m, &s_ctx), Ok(()), "{id}");
        let bad = Err(Error::BadSignature);
        assert_eq!(public.verify_with_context(&ctx, &m, &s), bad, "{id}");
        assert_eq!(public.verify_with_context(b"", &m, &s_ctx), bad, "{id}");

        let fresh = private.sign_with_context(&ctx, &m).unwrap();
        assert_eq!(public.verify_with_context(&ctx, &m, &fresh), Ok(()), "{id}");
        assert_eq!(
            public.verify_with_context(&ctx, &m[1..], &fresh),
            bad,
            "{id}"
        );
    }
}

#[test]
fn composites_outside_the_registry_are_refused_by_their_identifier() {
    for (file, id, key, oid) in [
        (
            "kem",
            "id-MLKEM768-ECDH-P384-SHA3-256",
            "dk_pkcs8",
            "1.3.6.1.5.5.7.6.60",
        ),
        (
            "kem",
            "id-alg-ml-kem-768",
            "dk_pkcs8",
            "2.16.840.1.101.3.4.4.2",
        ),
        (
            "sigs",
            "id-MLDSA44-Ed25519-SHA512",
            "sk_pkcs8",
            "1.3.6.1.5.5.7.6.39",
        ),
        (
            "sigs",
            "id-ML-DSA-65",
            "sk_pkcs8",
            "2.16.840.1.101.3.4.3.18",
        ),
    ] {
        let file = format!("lamps-composite-{file}/testvectors.json");
        let vectors = public_json(&file);
        let der = bytes(named(&vectors, id), key);
        let pem = encode_string("PRIVATE KEY", LineEnding::LF, &der).unwrap();
        let refused = PrivateKey::from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("algorithm {oid} is not supported")
        );
    }
}
