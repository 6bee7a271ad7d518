//! The HPKE key schedule, and the AEAD with a secret key.

use casemate_crypto::{
    Secret,
    hpke::{Aead, AeadKey, HpkeSuite, Kdf},
    suite::MLKEM768_X25519,
};

use super::{plain_bytes, secret_bytes};
use crate::{
    case::{Case, Outcome, same},
    mark::{reveal, reveal_in_place},
};

const KDFS: [Kdf; 3] = [Kdf::HkdfSha256, Kdf::HkdfSha384, Kdf::Shake256];
const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305];

pub(super) fn cases() -> Vec<Case> {
    let schedules =
        KDFS.map(|kdf| Case::clean(format!("key schedule {kdf:?}"), move || schedule(kdf)));
    let aeads =
        AEADS.map(|aead| Case::clean(format!("aead {aead:?}"), move || seal_and_open(aead)));
    schedules.into_iter().chain(aeads).collect()
}

/// Derives the first message and an export from the shared secret of the KEM, on both sides.
fn schedule(kdf: Kdf) -> Outcome {
    let (info, aad, message) = (b"info", b"aad", plain_bytes(100));
    for aead in AEADS {
        let suite = HpkeSuite::new(&MLKEM768_X25519, kdf, aead);
        let secret = Secret::copy_from("shared secret", &secret_bytes(32))?;
        let (mut sender, mut recipient) = suite.contexts_of(&secret, info)?;
        let mut sealed = sender.seal(aad, &message)?;
        reveal("the ciphertext", &mut sealed)?;
        let mut opened = recipient.open(aad, &sealed)?;
        reveal("the message", &mut opened)?;
        same("the message", &opened, &message)?;
        let (ours, theirs) = (sender.export(b"x", 32)?, recipient.export(b"x", 32)?);
        reveal_in_place("the sender's export", ours.expose())?;
        reveal_in_place("the recipient's export", theirs.expose())?;
        same("the export", ours.expose(), theirs.expose())?;
    }
    Ok(())
}

/// Encrypts with a secret key, nonce and plaintext. The nonce is secret because HPKE derives it.
fn seal_and_open(aead: Aead) -> Outcome {
    for len in [1, 64, 1000] {
        let key = AeadKey::new(aead, &secret_bytes(aead.key_bytes()))?;
        let nonce = secret_bytes(aead.nonce_bytes());
        let mut sealed = key.seal(&nonce, b"aad", &secret_bytes(len))?;
        reveal("the ciphertext", &mut sealed)?;
        let mut opened = key.open(&nonce, b"aad", &sealed)?;
        reveal("the plaintext", &mut opened)?;
        same("the plaintext", &opened, &plain_bytes(len))?;
    }
    Ok(())
}
