//! What `{:?}` shows of a secret: its type and nothing else.

use std::fmt::Debug;

use base64::{Engine, prelude::BASE64_STANDARD};
use casemate_awslc::{MlDsa, MlDsaSigningKey, MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey};
use casemate_crypto::{
    Secret, SecretBytes,
    algorithm::SlhDsa,
    encoding::{KeyId, PrivateKey},
    hpke::{Aead, AeadKey, HpkeSuite},
    kem::KemPrivateKey,
    signature::{HttpSigningKey, SigningKey, SlhSigningKey},
    suite::{KEM_SUITES, MLDSA65_ED25519, MLDSA87, SIGNATURE_SUITES, SignatureConstruction},
};

const BYTE: u8 = 0xa7;

/// The shapes a run of secret bytes could take in text.
fn forms() -> [String; 5] {
    let run = [BYTE; 3];
    let list = format!("{run:?}");
    [
        hex::encode(run),
        hex::encode_upper(run),
        list.trim_matches(['[', ']']).to_owned(),
        format!("{BYTE:#x}, {BYTE:#x}"),
        BASE64_STANDARD.encode(run),
    ]
}

/// In one line and in the many of `{:#?}`.
fn shows_only(secret: &impl Debug, expected: &str) {
    let (line, pretty) = (format!("{secret:?}"), format!("{secret:#?}"));
    assert_eq!(line, expected);
    let flat: String = pretty.split_whitespace().collect::<Vec<_>>().join(" ");
    for form in forms() {
        assert!(
            !line.contains(&form) && !flat.contains(&form),
            "{expected}: {pretty}"
        );
    }
}

#[test]
fn the_search_finds_bytes_that_are_shown() {
    let leak = format!("{:?}", [BYTE; 32]);
    assert!(forms().iter().any(|form| leak.contains(form)));
    let leak = hex::encode([BYTE; 32]);
    assert!(forms().iter().any(|form| leak.contains(form)));
}

#[test]
fn secrets_show_their_type() {
    shows_only(&Secret::take(&mut [BYTE; 32]), "Secret<32>(..)");
    shows_only(&SecretBytes::new(vec![BYTE; 32]), "SecretBytes(..)");
    shows_only(
        &AeadKey::new(Aead::Aes256Gcm, &[BYTE; 32]).unwrap(),
        "AeadKey(..)",
    );
}

#[test]
fn private_keys_show_their_suite() {
    for suite in KEM_SUITES {
        let key = || KemPrivateKey::from_seed(suite, &vec![BYTE; suite.seed_bytes]).unwrap();
        let expected = format!("KemPrivateKey({}, ..)", suite.name);
        shows_only(&key(), &expected);
        shows_only(&PrivateKey::Kem(key()), &format!("Kem({expected})"));
    }
    for suite in SIGNATURE_SUITES {
        let scalar = if suite.name.ends_with("ed25519") {
            32
        } else {
            48
        };
        let trad = vec![BYTE; scalar];
        let trad = suite.is_hybrid().then_some(trad.as_slice());
        let key = || match suite.construction {
            // Its root is recomputed, so no pattern of ours is a key.
            SignatureConstruction::HashBased(_) => SigningKey::generate(suite).unwrap(),
            _ => SigningKey::from_components(suite, &[BYTE; 32], trad).unwrap(),
        };
        let expected = format!("SigningKey({}, ..)", suite.name);
        shows_only(&key(), &expected);
        shows_only(&PrivateKey::Sign(key()), &format!("Sign({expected})"));
    }
    let key = || HttpSigningKey::from_seeds(&[BYTE; 32], &[BYTE; 32]).unwrap();
    shows_only(&key(), "HttpSigningKey(..)");
    shows_only(&PrivateKey::Http(key()), "Http(HttpSigningKey(..))");
}

#[test]
fn a_bare_slh_dsa_key_shows_its_parameter_set() {
    let key = SlhSigningKey::generate(SlhDsa::Sha2_128f).unwrap();
    shows_only(&key, "SlhSigningKey(SLH-DSA-SHA2-128f, ..)");
}

#[test]
fn public_keys_show_their_suite_alone() {
    for suite in KEM_SUITES {
        let key = KemPrivateKey::from_seed(suite, &vec![BYTE; suite.seed_bytes]).unwrap();
        let shown = format!("{:?}", key.public_key());
        assert_eq!(shown, format!("KemPublicKey({:?})", suite.name));
    }
    for (suite, trad) in [
        (&MLDSA65_ED25519, Some([BYTE; 32].as_slice())),
        (&MLDSA87, None),
    ] {
        let key = SigningKey::from_components(suite, &[BYTE; 32], trad).unwrap();
        let shown = format!("{:?}", key.verifying_key());
        assert_eq!(shown, format!("VerifyingKey({:?})", suite.name));
    }
    let key = HttpSigningKey::from_seeds(&[BYTE; 32], &[BYTE; 32]).unwrap();
    assert_eq!(format!("{:?}", key.verifying_key()), "HttpVerifyingKey");
    let id = KeyId::from_bytes([0xa7; KeyId::BYTES]);
    assert_eq!(format!("{id:?}"), format!("KeyId({})", "a7".repeat(32)));
}

#[test]
fn contexts_and_shared_secrets_show_their_suite() {
    for kem in KEM_SUITES {
        let suite = HpkeSuite::of(kem).unwrap();
        let key = KemPrivateKey::from_seed(kem, &vec![BYTE; kem.seed_bytes]).unwrap();
        let (enc, sender) = suite.setup_sender(key.public_key(), &[BYTE; 8]).unwrap();
        shows_only(&sender, &format!("SenderContext({}, ..)", kem.name));
        let recipient = suite.setup_recipient(&enc, &key, &[BYTE; 8]).unwrap();
        shows_only(&recipient, &format!("RecipientContext({}, ..)", kem.name));
        shows_only(&key.decapsulate(&enc).unwrap(), "Secret<32>(..)");
        shows_only(&sender.export(b"", 32).unwrap(), "SecretBytes(..)");
    }
}

#[test]
fn the_keys_below_show_their_parameter_set() {
    let kem = MlKemDecapsulationKey::from_seed(MlKem::MlKem768, &[BYTE; 64]).unwrap();
    shows_only(&kem, "MlKemDecapsulationKey(MlKem768, ..)");
    let public = MlKemEncapsulationKey::new(MlKem::MlKem768, &kem.encapsulation_key().unwrap());
    let sent = public.unwrap().encapsulate_derand(&[BYTE; 32]).unwrap();
    shows_only(&sent, "Encapsulation { .. }");
    let dsa = MlDsaSigningKey::from_seed(MlDsa::MlDsa65, &[BYTE; 32]).unwrap();
    shows_only(&dsa, "MlDsaSigningKey(MlDsa65, ..)");
}
