//! Wrapped data keys (`spec/key-service.md`, section 4.1).

use casemate_crypto::{
    Error, Purpose, Secret, SecretBytes,
    encoding::KeyId,
    hpke::{HpkeSuite, TAG_BYTES},
    kem::{KemPrivateKey, KemPublicKey},
};

const MAGIC: &[u8; 4] = b"CSDK";
const VERSION: u8 = 1;
/// Length of a data key, in bytes.
pub(crate) const DATA_KEY_BYTES: usize = 32;
const CONTEXT_BYTES_MAX: usize = 256;

/// Returns the HPKE `info` of a data key; `None` if the context is empty, too long or has control
/// characters.
fn info(context: &str) -> Option<Vec<u8>> {
    let is_valid =
        (1..=CONTEXT_BYTES_MAX).contains(&context.len()) && !context.contains(char::is_control);
    is_valid.then(|| Purpose::DATA_KEY.with(context.as_bytes()))
}

/// Returns whether a context is valid: length and characters.
pub(crate) fn is_context(context: &str) -> bool {
    info(context).is_some()
}

/// Wraps a data key.
pub(crate) fn wrap(
    recipient: &KemPublicKey,
    context: &str,
    key: &Secret<DATA_KEY_BYTES>,
) -> Result<Vec<u8>, Error> {
    let info = info(context).ok_or(Error::Rejected)?;
    let suite = HpkeSuite::of(recipient.suite())?;
    let (enc, ciphertext) = suite.seal(recipient, &info, b"", key.expose())?;
    let id = recipient.id()?;
    Ok([
        MAGIC.as_slice(),
        &[VERSION],
        id.as_bytes(),
        &enc,
        &ciphertext,
    ]
    .concat())
}

/// Returns the key that a wrapped data key is for, without checking anything else.
pub(crate) fn recipient(wrapped: &[u8]) -> Option<KeyId> {
    let rest = wrapped.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
    rest.first_chunk().map(|id| KeyId::from_bytes(*id))
}

/// Unwraps a data key.
pub(crate) fn unwrap(
    key: &KemPrivateKey,
    context: &str,
    wrapped: &[u8],
) -> Result<Secret<DATA_KEY_BYTES>, Error> {
    let info = info(context).ok_or(Error::Rejected)?;
    let head = MAGIC.len().saturating_add(1).saturating_add(KeyId::BYTES);
    let enc_len = key.suite().ciphertext_bytes;
    let sealed = wrapped.get(head..).ok_or(Error::Rejected)?;
    let (enc, ciphertext) = sealed.split_at_checked(enc_len).ok_or(Error::Rejected)?;
    if ciphertext.len() != DATA_KEY_BYTES.saturating_add(TAG_BYTES) {
        return Err(Error::Rejected);
    }
    let opened = HpkeSuite::of(key.suite())?.open(enc, key, &info, b"", ciphertext)?;
    Secret::copy_from("data key", SecretBytes::new(opened).expose())
}

#[cfg(test)]
mod tests {
    use casemate_crypto::suite;

    use super::*;

    #[test]
    fn a_data_key_opens_with_its_key_and_context_only() {
        for suite in suite::KEM_SUITES {
            let key = KemPrivateKey::generate(suite).unwrap();
            let secret = Secret::random().unwrap();
            let wrapped = wrap(key.public_key(), "volume 7", &secret).unwrap();
            assert_eq!(recipient(&wrapped), key.public_key().id().ok());
            let opened = unwrap(&key, "volume 7", &wrapped).unwrap();
            assert_eq!(opened.expose(), secret.expose());
            assert_eq!(
                unwrap(&key, "volume 8", &wrapped).err(),
                Some(Error::Rejected)
            );
            let other = KemPrivateKey::generate(suite).unwrap();
            assert_eq!(
                unwrap(&other, "volume 7", &wrapped).err(),
                Some(Error::Rejected)
            );
            for len in 0..wrapped.len() {
                assert!(unwrap(&key, "volume 7", &wrapped[..len]).is_err(), "{len}");
            }
            let mut longer = wrapped.clone();
            longer.push(0);
            unwrap(&key, "volume 7", &longer).unwrap_err();
            for at in 37..wrapped.len() {
                let mut changed = wrapped.clone();
                changed[at] ^= 1;
                assert!(unwrap(&key, "volume 7", &changed).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn contexts_have_a_length() {
        assert!(is_context("a") && is_context(&"a".repeat(256)));
        assert!(!is_context("a\nb") && !is_context("\u{9b}"));
        assert!(!is_context("") && !is_context(&"a".repeat(257)));
        assert_eq!(recipient(b"CSDK"), None);
        assert_eq!(recipient(&[&b"CSDK\x02"[..], &[0; 32]].concat()), None);
    }
}
