//! A second implementation that nobody here wrote: `hpke`, `ml-dsa`, `p384` and `ed25519-dalek`.

use aws_lc_rs::digest::{SHA512, digest};
use casemate_crypto::{
    Error,
    hpke::{HpkeSuite, derive_key_pair},
    kem::KemPrivateKey,
    signature::{HttpSignatures, HttpSigningKey, SigningKey, VerifyingKey},
    suite::{HpkeTriple, MLDSA65_ED25519, MLDSA65_P384, MLDSA87, MLDSA87_P384, SignatureSuite},
};
use ed25519_dalek::Signer;
use hpke::{
    Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable,
    aead::{Aead, AesGcm128, AesGcm256, ChaCha20Poly1305},
    kdf::{HkdfSha256, HkdfSha384, Kdf, KdfShake256},
    kem::{MlKem768P256, MlKem1024, MlKem1024P384, XWing},
};
use ml_dsa::{MlDsa65, MlDsa87, MlDsaParams};
use p384::ecdsa::signature::Verifier;

const INFO: &[u8] = b"casemate/v1/artifact-key\0info";

/// Both directions, twice each, with exports; the triple is read by number from our registry.
fn check_hpke<A: Aead, D: Kdf, K: Kem>(kdf: u16, aead: u16) {
    let suite = HpkeSuite::by_triple(HpkeTriple {
        kem: K::KEM_ID,
        kdf,
        aead,
    })
    .unwrap();
    let ours = KemPrivateKey::generate(suite.kem()).unwrap();
    let theirs = K::PublicKey::from_bytes(ours.public_key().as_bytes()).unwrap();
    let (enc, mut sender) = hpke::setup_sender::<A, D, K>(&OpModeS::Base, &theirs, INFO).unwrap();
    let enc = enc.to_bytes();
    let mut recipient = suite.setup_recipient(&enc, &ours, INFO).unwrap();
    for message in [b"first".as_slice(), b""] {
        let ct = sender.seal(message, b"aad").unwrap();
        assert_eq!(
            recipient.open(b"bad", &ct),
            Err(Error::Rejected),
            "{suite:?}"
        );
        assert_eq!(recipient.open(b"aad", &ct).unwrap(), message, "{suite:?}");
    }
    let mut exported = [0; 80];
    sender.export(b"exporter", &mut exported).unwrap();
    assert_eq!(
        recipient.export(b"exporter", 80).unwrap().expose(),
        exported,
        "{suite:?}"
    );
    let other = suite.setup_recipient(&enc, &ours, b"other info").unwrap();
    assert_ne!(
        other.export(b"exporter", 80).unwrap().expose(),
        exported,
        "{suite:?}"
    );

    let ikm = vec![0x3c; suite.kem().seed_bytes];
    let ours = derive_key_pair(suite.kem(), &ikm).unwrap();
    let (private, public) = K::derive_keypair(&ikm);
    assert_eq!(
        ours.public_key().as_bytes(),
        &*public.to_bytes(),
        "{suite:?}"
    );
    let (enc, mut sender) = suite.setup_sender(ours.public_key(), INFO).unwrap();
    let enc = K::EncappedKey::from_bytes(&enc).unwrap();
    let open = |info| hpke::setup_receiver::<A, D, K>(&OpModeR::Base, &private, &enc, info);
    let mut recipient = open(INFO).unwrap();
    for message in [b"first".as_slice(), b""] {
        let ct = sender.seal(b"aad", message).unwrap();
        assert_eq!(recipient.open(&ct, b"aad").unwrap(), message, "{suite:?}");
        let refused = open(b"other info").unwrap().open(&ct, b"aad").unwrap_err();
        assert_eq!(refused, HpkeError::OpenError, "{suite:?}");
    }
    recipient.export(b"exporter", &mut exported).unwrap();
    assert_eq!(
        sender.export(b"exporter", 80).unwrap().expose(),
        exported,
        "{suite:?}"
    );
}

/// One KEM with every KDF and AEAD of ours.
fn check_kem<K: Kem>() {
    check_hpke::<AesGcm128, HkdfSha256, K>(0x0001, 0x0001);
    check_hpke::<AesGcm256, HkdfSha256, K>(0x0001, 0x0002);
    check_hpke::<ChaCha20Poly1305, HkdfSha256, K>(0x0001, 0x0003);
    check_hpke::<AesGcm256, HkdfSha384, K>(0x0002, 0x0002);
    check_hpke::<ChaCha20Poly1305, HkdfSha384, K>(0x0002, 0x0003);
    check_hpke::<AesGcm256, KdfShake256, K>(0x0011, 0x0002);
    check_hpke::<ChaCha20Poly1305, KdfShake256, K>(0x0011, 0x0003);
}

#[test]
fn mlkem768_x25519_speaks_with_hpke() {
    check_kem::<XWing>();
}

#[test]
fn mlkem768_p256_speaks_with_hpke() {
    check_kem::<MlKem768P256>();
}

#[test]
fn mlkem1024_p384_speaks_with_hpke() {
    check_kem::<MlKem1024P384>();
}

#[test]
fn mlkem1024_speaks_with_hpke() {
    check_kem::<MlKem1024>();
}

const PREFIX: &[u8] = b"CompositeAlgorithmSignatures2025";
const CONTEXT: &[u8] = b"casemate/v1/artifact";
const MESSAGE: &[u8] = b"the bytes of a manifest";
const PQ_SEED: [u8; 32] = [0x11; 32];

/// `M'`, written from the draft.
fn composite_input(label: &[u8], context: &[u8], message: &[u8]) -> Vec<u8> {
    let len = [u8::try_from(context.len()).unwrap()];
    [
        PREFIX,
        label,
        &len,
        context,
        digest(&SHA512, message).as_ref(),
    ]
    .concat()
}

fn pq_key<P: MlDsaParams>() -> ml_dsa::SigningKey<P> {
    ml_dsa::SigningKey::from_seed(&PQ_SEED.into())
}

fn pq_public<P: MlDsaParams>() -> Vec<u8> {
    pq_key::<P>()
        .expanded_key()
        .verifying_key()
        .encode()
        .to_vec()
}

fn pq_sign<P: MlDsaParams>(message: &[u8], context: &[u8]) -> Vec<u8> {
    let signature = pq_key::<P>()
        .expanded_key()
        .sign_deterministic(message, context)
        .unwrap();
    signature.encode().to_vec()
}

fn pq_verifies<P: MlDsaParams>(message: &[u8], context: &[u8], signature: &[u8]) -> bool {
    let key = pq_key::<P>().expanded_key().verifying_key();
    let signature = ml_dsa::Signature::<P>::try_from(signature).unwrap();
    key.verify_with_context(message, context, &signature)
}

/// The classical half, by a library of its own.
enum Classical {
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl Classical {
    fn p384() -> (Self, Vec<u8>) {
        let secret = vec![0x22; 48];
        (
            Self::P384(p384::ecdsa::SigningKey::from_slice(&secret).unwrap()),
            secret,
        )
    }

    fn ed25519() -> (Self, Vec<u8>) {
        (
            Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[0x33; 32])),
            vec![0x33; 32],
        )
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P384(key) => {
                let signature: p384::ecdsa::DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P384(key) => {
                let signature = p384::ecdsa::DerSignature::from_bytes(signature).unwrap();
                key.verifying_key().verify(message, &signature).is_ok()
            }
            Self::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
                key.verifying_key()
                    .verify_strict(message, &signature)
                    .is_ok()
            }
        }
    }
}

fn check_composite<P: MlDsaParams>(
    suite: &'static SignatureSuite,
    label: &[u8],
    pq_bytes: usize,
    (classical, secret): (Classical, Vec<u8>),
) {
    let ours = SigningKey::from_components(suite, &PQ_SEED, Some(&secret)).unwrap();
    let public = [pq_public::<P>(), classical.public()].concat();
    assert_eq!(ours.verifying_key().as_bytes(), public, "{}", suite.name);

    let signature = ours.sign_with_context(CONTEXT, MESSAGE).unwrap();
    let (pq, trad) = signature.split_at(pq_bytes);
    let input = composite_input(label, CONTEXT, MESSAGE);
    let other = composite_input(label, b"", MESSAGE);
    assert!(pq_verifies::<P>(&input, label, pq), "{}", suite.name);
    assert!(!pq_verifies::<P>(&input, b"", pq), "{}", suite.name);
    assert!(!pq_verifies::<P>(&other, label, pq), "{}", suite.name);
    assert!(classical.verifies(&input, trad), "{}", suite.name);
    assert!(!classical.verifies(&other, trad), "{}", suite.name);

    let ours = VerifyingKey::new(suite, &public).unwrap();
    let check = |pq_context: &[u8], pq: &[u8], trad: &[u8]| {
        let theirs = [pq_sign::<P>(pq, pq_context), classical.sign(trad)].concat();
        ours.verify_with_context(CONTEXT, MESSAGE, &theirs)
    };
    let refused = Err(Error::BadSignature);
    assert_eq!(check(label, &input, &input), Ok(()), "{}", suite.name);
    assert_eq!(check(b"", &input, &input), refused, "{}", suite.name);
    assert_eq!(check(label, &other, &input), refused, "{}", suite.name);
    assert_eq!(check(label, &input, &other), refused, "{}", suite.name);
    assert_eq!(check(label, MESSAGE, MESSAGE), refused, "{}", suite.name);
}

#[test]
fn composites_are_what_the_draft_says_to_other_libraries() {
    check_composite::<MlDsa65>(
        &MLDSA65_ED25519,
        b"COMPSIG-MLDSA65-Ed25519-SHA512",
        3309,
        Classical::ed25519(),
    );
    check_composite::<MlDsa65>(
        &MLDSA65_P384,
        b"COMPSIG-MLDSA65-ECDSA-P384-SHA512",
        3309,
        Classical::p384(),
    );
    check_composite::<MlDsa87>(
        &MLDSA87_P384,
        b"COMPSIG-MLDSA87-ECDSA-P384-SHA512",
        4627,
        Classical::p384(),
    );
}

#[test]
fn pure_mldsa87_signs_the_message_itself_under_our_context() {
    let ours = SigningKey::from_components(&MLDSA87, &PQ_SEED, None).unwrap();
    assert_eq!(ours.verifying_key().as_bytes(), pq_public::<MlDsa87>());
    let signature = ours.sign_with_context(CONTEXT, MESSAGE).unwrap();
    assert!(pq_verifies::<MlDsa87>(MESSAGE, CONTEXT, &signature));
    assert!(!pq_verifies::<MlDsa87>(MESSAGE, b"", &signature));

    let theirs = pq_sign::<MlDsa87>(MESSAGE, CONTEXT);
    let verify = |context| {
        ours.verifying_key()
            .verify_with_context(context, MESSAGE, &theirs)
    };
    assert_eq!(verify(CONTEXT), Ok(()));
    assert_eq!(verify(b""), Err(Error::BadSignature));
}

#[test]
fn both_halves_of_the_http_pair_are_plain_ed25519_and_mldsa65() {
    let (classical, secret) = Classical::ed25519();
    let ours = HttpSigningKey::from_seeds(&secret, &PQ_SEED).unwrap();
    assert_eq!(ours.verifying_key().ed25519(), classical.public());
    assert_eq!(ours.verifying_key().mldsa65(), pq_public::<MlDsa65>());

    let signed = ours.sign(b"base one", b"base two").unwrap();
    assert!(classical.verifies(b"base one", &signed.ed25519));
    assert!(!classical.verifies(b"base two", &signed.ed25519));
    assert!(pq_verifies::<MlDsa65>(b"base two", b"", &signed.mldsa65));
    assert!(!pq_verifies::<MlDsa65>(b"base one", b"", &signed.mldsa65));

    let check = |ed25519: &[u8], context: &[u8]| {
        let mldsa65 = pq_sign::<MlDsa65>(b"base two", context);
        let theirs = HttpSignatures {
            ed25519: classical.sign(ed25519),
            mldsa65,
        };
        ours.verifying_key()
            .verify(b"base one", b"base two", &theirs)
    };
    assert_eq!(check(b"base one", b""), Ok(()));
    assert_eq!(check(b"base two", b""), Err(Error::BadSignature));
    assert_eq!(check(b"base one", b"context"), Err(Error::BadSignature));
}
