//! The secret that opens a key store (`spec/key-store.md`, section 2.3): a passphrase, a random key
//! in a file, or a private key.

use base64ct::{Base64UrlUnpadded, Encoding};
use casemate_crypto::{Secret, SecretBytes, encoding::PrivateKey, kem::KemPrivateKey};
use zeroize::Zeroizing;

use crate::StoreError;

/// Prefix of the text of a key, of any version. No passphrase may have it, so that a key is never
/// taken for one.
const KIND: &[u8] = b"casemate-store-key-";
/// How the text of a private key begins.
const PEM: &[u8] = b"-----BEGIN ";
/// Prefix of the text of a key.
const PREFIX: &[u8] = b"casemate-store-key-1:";
/// Number of characters of 32 bytes in base64url without padding.
const DIGITS: usize = 43;
const LINE_BYTES: usize = PREFIX.len() + DIGITS + 1;

/// Shortest passphrase of a new store, in bytes.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// The secret that opens a key store.
#[derive(Debug)]
pub enum StoreSecret {
    /// A passphrase that people remember; Argon2id makes guessing expensive.
    Passphrase(SecretBytes),
    /// A random key that cannot be guessed, for machines.
    Key(StoreKey),
    /// A key pair that slots are sealed to, for what is kept offline.
    Recipient(KemPrivateKey),
}

impl StoreSecret {
    /// Reads a passphrase, the text of a key without a final newline, or a private key in PEM.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadKeyText`] or [`StoreError::Encoding`] if it begins like a key but is not
    /// valid; [`StoreError::NotARecipient`] for a private key of another kind.
    pub fn read(text: SecretBytes) -> Result<Self, StoreError> {
        if text.expose().starts_with(PEM) {
            return match PrivateKey::from_pem(text.expose())? {
                PrivateKey::Kem(key) => Ok(Self::Recipient(key)),
                PrivateKey::Sign(_) | PrivateKey::Http(_) => Err(StoreError::NotARecipient),
            };
        }
        if !text.expose().starts_with(KIND) {
            return Ok(Self::Passphrase(text));
        }
        let digits = text
            .expose()
            .strip_prefix(PREFIX)
            .ok_or(StoreError::BadKeyText)?;
        Ok(Self::Key(StoreKey::decode(digits)?))
    }

    /// Checks that the secret is strong enough for a new key store.
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

/// A random key of 32 bytes that opens a key store.
#[derive(Debug)]
pub struct StoreKey(Secret<32>);

impl StoreKey {
    /// Generates a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Crypto`] if the system's random number generator fails.
    pub fn generate() -> Result<Self, StoreError> {
        Ok(Self(Secret::random()?))
    }

    /// Returns the key with these bytes, such as the key of a slot that an age file holds.
    ///
    /// # Errors
    ///
    /// None in practice: both have 32 bytes.
    pub fn of(key: &Secret<32>) -> Result<Self, StoreError> {
        Ok(Self(Secret::copy_from("store key", key.expose())?))
    }

    /// Returns the bytes of the key.
    pub fn into_secret(self) -> Secret<32> {
        self.0
    }

    /// Returns the text for a key file, one line with its newline.
    ///
    /// # Errors
    ///
    /// None in practice, because the buffer has room for the digits.
    pub fn to_line(&self) -> Result<SecretBytes, StoreError> {
        let mut digits = Zeroizing::new([0; DIGITS]);
        Base64UrlUnpadded::encode(self.0.expose(), digits.as_mut_slice())
            .map_err(|_| StoreError::BadKeyText)?;
        // Reserve all of it: growing would leave a copy behind.
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
    fn a_new_passphrase_has_eight_bytes_and_a_line_no_copy() {
        let check = |text: &[u8]| read(text).unwrap().check_new();
        check(b"8 bytes!").unwrap();
        let refused = check(b"7 bytes").unwrap_err();
        let short = StoreError::PassphraseTooShort {
            actual: 7,
            least: 8,
        };
        assert_eq!(refused.to_string(), short.to_string());
        // A line that grew would have left a copy behind.
        let line = StoreKey::generate().unwrap().to_line().unwrap();
        assert_eq!(line.expose().len(), LINE_BYTES);
    }

    #[test]
    fn a_damaged_key_is_no_passphrase() {
        // 32 zeros, as Python's `base64.urlsafe_b64encode(bytes(32))` writes them.
        let good = format!("casemate-store-key-1:{}", "A".repeat(43));
        assert!(matches!(read(good.as_bytes()), Ok(StoreSecret::Key(_))));
        let bad = [
            good[..good.len() - 1].to_owned(),
            format!("{good}="),
            format!("{good}\n"),
            format!("{}+", &good[..good.len() - 1]),
            // The last digit holds four bits; the other two must be zero.
            format!("{}B", &good[..good.len() - 1]),
            "casemate-store-key-1:".to_owned(),
            // Another version, or incomplete.
            good.replace("-1:", "-2:"),
            "casemate-store-key-".to_owned(),
            format!("{good}{}", "A".repeat(1 << 20)),
        ];
        for text in bad {
            let refused = read(text.as_bytes()).err().map(|error| error.to_string());
            let expected = "the key file is damaged, or has an unsupported version";
            assert_eq!(refused.as_deref(), Some(expected), "{text}");
        }
        let other = read(b"casemate-store-keys");
        assert!(matches!(other, Ok(StoreSecret::Passphrase(_))));
    }
}
