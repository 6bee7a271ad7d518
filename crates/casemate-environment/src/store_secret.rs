//! What opens a key store, as users keep it (`spec/key-store.md`, section 2.3).

use casemate_crypto::SecretBytes;
use casemate_keys::StoreSecret;

use crate::{EnvironmentError, without_line_end};

/// Maximum length of a passphrase, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 4096;

/// Reads the content of a file that opens a key store: a passphrase, a store key, a private key in
/// PEM, or an age identity. The text alone decides which.
///
/// # Errors
///
/// [`EnvironmentError::Store`] or [`EnvironmentError::Age`] if it begins like one of these but is
/// not valid; [`EnvironmentError::PassphraseTooLong`].
pub fn store_secret(content: &SecretBytes) -> Result<StoreSecret, EnvironmentError> {
    let is_identity = |line: &str| line.starts_with("AGE-SECRET-KEY-");
    if let Ok(text) = str::from_utf8(content.expose())
        && text.lines().any(is_identity)
    {
        let key = casemate_age::identity_from_text(text)?;
        return Ok(StoreSecret::Recipient(key));
    }
    let line = SecretBytes::new(without_line_end(content.expose()).to_vec());
    let secret = StoreSecret::read(line)?;
    if let StoreSecret::Passphrase(passphrase) = &secret
        && passphrase.expose().len() > PASSPHRASE_BYTES_MAX
    {
        return Err(EnvironmentError::PassphraseTooLong);
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use casemate_crypto::{encoding::PrivateKey, kem::KemPrivateKey, suite::MLKEM768_X25519};
    use casemate_keys::StoreKey;

    use super::*;

    fn read(text: &str) -> Result<StoreSecret, EnvironmentError> {
        store_secret(&SecretBytes::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn the_text_alone_says_what_it_is() {
        assert!(matches!(
            read("correct horse\n"),
            Ok(StoreSecret::Passphrase(_))
        ));
        assert!(matches!(
            read("age-secret-key-\n"),
            Ok(StoreSecret::Passphrase(_))
        ));
        let line = StoreKey::generate().unwrap().to_line().unwrap();
        let line = str::from_utf8(line.expose()).unwrap();
        assert!(matches!(read(line), Ok(StoreSecret::Key(_))));
        let key = KemPrivateKey::generate(&MLKEM768_X25519).unwrap();
        let pem = PrivateKey::Kem(key).to_pem().unwrap();
        let pem = str::from_utf8(pem.expose()).unwrap();
        assert!(matches!(read(pem), Ok(StoreSecret::Recipient(_))));
        let signing = PrivateKey::generate("mldsa65-ed25519").unwrap().unwrap();
        let signing = signing.to_pem().unwrap();
        for bad in [
            "casemate-store-key-2:x",
            "AGE-SECRET-KEY-1QQQ",
            "# a comment\nAGE-SECRET-KEY-PQ-1QQQ\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            str::from_utf8(signing.expose()).unwrap(),
            &"x".repeat(PASSPHRASE_BYTES_MAX + 1),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
