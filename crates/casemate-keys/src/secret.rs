//! What opens a store (`spec/key-store.md`, section 2): a passphrase, or a random key in a file.

use base64ct::{Base64UrlUnpadded, Encoding};
use casemate_crypto::{Secret, SecretBytes};
use zeroize::Zeroizing;

use crate::StoreError;

/// Begins the text of a key, of this version or another. A passphrase never does, so that no key is taken for one.
const KIND: &[u8] = b"casemate-store-key-";
/// Begins the text of a key.
const PREFIX: &[u8] = b"casemate-store-key-1:";
/// 32 bytes in base64url without padding.
const DIGITS: usize = 43;
const LINE_BYTES: usize = PREFIX.len() + DIGITS + 1;

/// Shortest passphrase of a new store, in bytes.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// What opens a store.
#[derive(Debug)]
pub enum StoreSecret {
    /// Something people remember: guessing it is made dear (Argon2id).
    Passphrase(SecretBytes),
    /// Something nobody can guess, for machines, which have nothing to remember it with.
    Key(StoreKey),
}

impl StoreSecret {
    /// Tells a passphrase from the text of a key; neither ends with a newline.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadKeyText`] if it begins like a key and is none.
    pub fn read(text: SecretBytes) -> Result<Self, StoreError> {
        if !text.expose().starts_with(KIND) {
            return Ok(Self::Passphrase(text));
        }
        let digits = text.expose().strip_prefix(PREFIX);
        let digits = digits.ok_or(StoreError::BadKeyText)?;
        Ok(Self::Key(StoreKey::decode(digits)?))
    }

    /// Whether it may open a new store; nothing is asked of those that exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::PassphraseTooShort`].
    pub fn check_new(&self) -> Result<(), StoreError> {
        let Self::Passphrase(passphrase) = self else {
            return Ok(());
        };
        let (actual, least) = (passphrase.expose().len(), PASSPHRASE_BYTES_MIN);
        if actual < least {
            return Err(StoreError::PassphraseTooShort { actual, least });
        }
        Ok(())
    }
}

/// 32 random bytes that open a store.
#[derive(Debug)]
pub struct StoreKey(Secret<32>);

impl StoreKey {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Crypto`] if the system gives no random bytes.
    pub fn generate() -> Result<Self, StoreError> {
        Ok(Self(Secret::random()?))
    }

    /// The text for a file, one line with its newline.
    ///
    /// # Errors
    ///
    /// None in practice: the buffer has room for the digits.
    pub fn to_line(&self) -> Result<SecretBytes, StoreError> {
        let mut digits = Zeroizing::new([0; DIGITS]);
        Base64UrlUnpadded::encode(self.0.expose(), digits.as_mut_slice())
            .map_err(|_| StoreError::BadKeyText)?;
        // All its room at once: growing would leave a copy behind.
        let mut line = Vec::with_capacity(LINE_BYTES);
        line.extend_from_slice(PREFIX);
        line.extend_from_slice(digits.as_slice());
        line.push(b'\n');
        Ok(SecretBytes::new(line))
    }

    fn decode(digits: &[u8]) -> Result<Self, StoreError> {
        let digits: &[u8; DIGITS] = digits.try_into().map_err(|_| StoreError::BadKeyText)?;
        let key = Secret::try_init(|bytes| {
            Base64UrlUnpadded::decode(digits, bytes).map_or(Err(()), |_| Ok(()))
        });
        key.map(Self).map_err(|()| StoreError::BadKeyText)
    }

    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<StoreSecret, StoreError> {
        StoreSecret::read(SecretBytes::new(text.to_vec()))
    }

    #[test]
    fn a_key_comes_back_from_its_line() {
        let key = StoreKey::generate().unwrap();
        let line = key.to_line().unwrap();
        let text = line.expose().strip_suffix(b"\n").unwrap();
        let Ok(StoreSecret::Key(again)) = read(text) else {
            panic!("no key");
        };
        assert!(again.secret().ct_eq(key.secret()));
    }

    #[test]
    fn a_damaged_key_is_no_passphrase() {
        // 32 zeros, as `base64.urlsafe_b64encode(bytes(32))` of Python writes them.
        let good = format!("casemate-store-key-1:{}", "A".repeat(43));
        assert!(matches!(read(good.as_bytes()), Ok(StoreSecret::Key(_))));
        let bad = [
            good[..good.len() - 1].to_owned(),
            format!("{good}="),
            format!("{good}\n"),
            format!("{}+", &good[..good.len() - 1]),
            // The last digit holds four bits; the other two have to be zero.
            format!("{}B", &good[..good.len() - 1]),
            "casemate-store-key-1:".to_owned(),
            // Of another version, or not all of it.
            good.replace("-1:", "-2:"),
            "casemate-store-key-".to_owned(),
            format!("{good}{}", "A".repeat(1 << 20)),
        ];
        for text in bad {
            let refused = read(text.as_bytes()).err().map(|error| error.to_string());
            let expected = "the key file is damaged, or of another version: it begins like a store's key and is none";
            assert_eq!(refused.as_deref(), Some(expected), "{text}");
        }
        let other = read(b"casemate-store-keys");
        assert!(matches!(other, Ok(StoreSecret::Passphrase(_))));
    }
}
