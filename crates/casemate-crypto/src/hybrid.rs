//! Keys and signatures for data of other programs (`spec/hybrid.md`).
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

/// Shortest and longest key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;
/// See [`KEY_BYTES_MIN`].
pub const KEY_BYTES_MAX: usize = 1024;

/// A fresh key of `len` bytes for `recipient` and `context`, and the ciphertext from which the recipient gets the same.
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

/// The key of a ciphertext. A changed ciphertext, another key pair or another context gives another key and no error: whoever uses it has to confirm it.
///
/// # Errors
///
/// As [`encapsulate`]; [`Error::Length`] or [`Error::Rejected`] for a ciphertext that is malformed.
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

/// Signs `message` for one use.
///
/// # Errors
///
/// [`Error::ContextTooLong`].
pub fn sign(key: &SigningKey, context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    key.sign(Purpose::DATA, &framed(context, message)?)
}

/// Checks a signature; every half of it must verify.
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
