//! Keys and signatures for other programs (`spec/hybrid.md`).
//!
//! ```
//! use casemate_crypto::{hybrid, kem::KemPrivateKey, suite::MLKEM1024_P384};
//!
//! let recipient = KemPrivateKey::generate(&MLKEM1024_P384)?;
//! let (key, ciphertext) = hybrid::encapsulate(recipient.public_key(), b"example.com/backup", 32)?;
//! let same = hybrid::decapsulate(&recipient, &ciphertext, b"example.com/backup", 32)?;
//! assert_eq!(key.expose(), same.expose());
//! # Ok::<(), casemate_crypto::Error>(())
//! ```

use crate::{
    Error, Purpose, SecretBytes,
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{SigningKey, VerifyingKey},
};

/// Minimum length of a key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;
/// Maximum length of a key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Returns a fresh key of `len` bytes for `recipient` and `context`, and the ciphertext from which
/// the recipient recovers it.
///
/// # Errors
///
/// [`Error::ContextTooLong`], [`Error::KeyLength`], [`Error::InvalidPublicKey`].
pub fn encapsulate(
    recipient: &KemPublicKey,
    context: &[u8],
    len: usize,
) -> Result<(SecretBytes, Vec<u8>), Error> {
    let (suite, info) = (HpkeSuite::of(recipient.suite())?, info(context, len)?);
    let (ciphertext, sender) = suite.setup_sender(recipient, &info)?;
    let key = sender.export(Purpose::EXCHANGE.as_bytes(), len)?;
    Ok((key, ciphertext))
}

/// Recovers the key from a ciphertext.
///
/// A changed ciphertext, another key pair or another context yields a different key, not an error.
/// The caller must confirm the key.
///
/// # Errors
///
/// As [`encapsulate`]; [`Error::Length`] or [`Error::Rejected`] for a malformed ciphertext.
pub fn decapsulate(
    key: &KemPrivateKey,
    ciphertext: &[u8],
    context: &[u8],
    len: usize,
) -> Result<SecretBytes, Error> {
    let suite = HpkeSuite::of(key.public_key().suite())?;
    let info = info(context, len)?;
    let recipient = suite.setup_recipient(ciphertext, key, &info)?;
    recipient.export(Purpose::EXCHANGE.as_bytes(), len)
}

/// Signs `message` under `context`, which names one use.
///
/// # Errors
///
/// [`Error::ContextTooLong`].
pub fn sign(key: &SigningKey, context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    key.sign(Purpose::DATA, &framed(context, message)?)
}

/// Verifies a signature; both halves must verify.
///
/// # Errors
///
/// [`Error::BadSignature`], [`Error::ContextTooLong`].
pub fn verify(
    key: &VerifyingKey,
    context: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    key.verify(Purpose::DATA, &framed(context, message)?, signature)
}

fn info(context: &[u8], len: usize) -> Result<Vec<u8>, Error> {
    context_len(context)?;
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&len) {
        return Err(Error::KeyLength { actual: len });
    }
    Ok(Purpose::EXCHANGE.with(context))
}

fn framed(context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&[context_len(context)?], context, message].concat())
}

fn context_len(context: &[u8]) -> Result<u8, Error> {
    let actual = context.len();
    u8::try_from(actual).map_err(|_| Error::ContextTooLong { actual })
}
