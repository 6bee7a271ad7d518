//! Keys that are held elsewhere.

use casemate_crypto::{
    Error, SecretBytes,
    encoding::{EncodingError, PrivateKey},
    holder::{HolderError, HpkeHolder, HpkeMessage, HttpSigningHolder, SigningHolder},
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey, SigningKey, VerifyingKey},
    suite,
};

/// Holds a key, and spoils what it makes if asked to.
struct Holder<K> {
    key: K,
    spoils: bool,
}

fn failed(error: Error) -> HolderError {
    match error {
        Error::Rejected => HolderError::Rejected,
        other => HolderError::Failed(other.to_string()),
    }
}

impl HpkeHolder for Holder<KemPrivateKey> {
    fn open(&self, message: &HpkeMessage<'_>) -> Result<SecretBytes, HolderError> {
        if self.spoils {
            return Err(HolderError::Failed("the token was removed".to_owned()));
        }
        let HpkeMessage {
            suite,
            enc,
            info,
            aad,
            ciphertext,
        } = *message;
        let opened = suite.open(enc, &self.key, info, aad, ciphertext);
        opened.map(SecretBytes::new).map_err(failed)
    }
}

impl SigningHolder for Holder<SigningKey> {
    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, HolderError> {
        let mut signature = self
            .key
            .sign_with_context(context, message)
            .map_err(failed)?;
        if self.spoils {
            signature[0] ^= 1;
        }
        Ok(signature)
    }
}

impl HttpSigningHolder for Holder<HttpSigningKey> {
    fn sign(&self, ed25519: &[u8], mldsa65: &[u8]) -> Result<HttpSignatures, HolderError> {
        let mut signatures = self.key.sign(ed25519, mldsa65).map_err(failed)?;
        if self.spoils {
            signatures.mldsa65[0] ^= 1;
        }
        Ok(signatures)
    }
}

#[test]
fn a_held_key_opens_whole_messages_only() {
    let suite = &suite::MLKEM768_X25519;
    let hpke = HpkeSuite::of(suite).unwrap();
    let held = |spoils| {
        let key = KemPrivateKey::generate(suite).unwrap();
        let bytes = key.public_key().as_bytes().to_vec();
        let public = KemPublicKey::new(suite, &bytes).unwrap();
        KemPrivateKey::held(public, Box::new(Holder { key, spoils }))
    };
    let key = held(false);
    let sealed = hpke.seal(key.public_key(), b"info", b"aad", b"secret");
    let (enc, ciphertext) = sealed.unwrap();
    let open = |info, aad, ciphertext| hpke.open(&enc, &key, info, aad, ciphertext);
    assert_eq!(open(b"info", b"aad", &ciphertext).unwrap(), b"secret");
    let changed: Vec<u8> = ciphertext.iter().map(|byte| byte ^ 1).collect();
    for refused in [
        open(b"other", b"aad", &ciphertext),
        open(b"info", b"other", &ciphertext),
        open(b"info", b"aad", &changed),
    ] {
        assert_eq!(refused.unwrap_err(), Error::Rejected);
    }
    assert_eq!(key.decapsulate(&enc).unwrap_err(), Error::HeldElsewhere);
    let context = hpke.setup_recipient(&enc, &key, b"info");
    assert_eq!(context.err().unwrap(), Error::HeldElsewhere);
    let broken = held(true);
    let (enc, ciphertext) = hpke.seal(broken.public_key(), b"", b"", b"secret").unwrap();
    let refused = hpke.open(&enc, &broken, b"", b"", &ciphertext).unwrap_err();
    assert_eq!(refused.to_string(), "the token was removed");
}

#[test]
fn a_signature_of_a_holder_is_verified() {
    let held = |spoils| {
        let key = SigningKey::generate(&suite::MLDSA65_ED25519).unwrap();
        let public = VerifyingKey::new(key.suite(), key.verifying_key().as_bytes());
        SigningKey::held(public.unwrap(), Box::new(Holder { key, spoils }))
    };
    let key = held(false);
    let signature = key.sign_with_context(b"context", b"message").unwrap();
    let verifier = key.verifying_key();
    verifier
        .verify_with_context(b"context", b"message", &signature)
        .unwrap();
    let spoiled = held(true).sign_with_context(b"context", b"message");
    assert_eq!(spoiled.unwrap_err(), Error::BadSignature);

    let held = |spoils| {
        let key = HttpSigningKey::generate().unwrap();
        let public = key.verifying_key();
        let public = HttpVerifyingKey::new(public.ed25519(), public.mldsa65());
        HttpSigningKey::held(public.unwrap(), Box::new(Holder { key, spoils }))
    };
    let key = held(false);
    let signatures = key.sign(b"a", b"b").unwrap();
    key.verifying_key().verify(b"a", b"b", &signatures).unwrap();
    assert_eq!(
        held(true).sign(b"a", b"b").unwrap_err(),
        Error::BadSignature
    );
}

#[test]
fn a_held_key_cannot_be_written() {
    let key = SigningKey::generate(&suite::MLDSA87).unwrap();
    let public = VerifyingKey::new(key.suite(), key.verifying_key().as_bytes());
    let spoils = false;
    let held = SigningKey::held(public.unwrap(), Box::new(Holder { key, spoils }));
    let refused = PrivateKey::Sign(held).to_pem().err().unwrap();
    assert!(matches!(refused, EncodingError::Key(Error::HeldElsewhere)));
}
