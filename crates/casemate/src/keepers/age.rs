//! Slots whose key is in an age file.

use casemate_age::{AgeError, Encoding, decrypt, encrypt, recipient_from_text};
use casemate_crypto::{Secret, SecretBytes, kem::KemPrivateKey};
use casemate_keys::{KeeperError, KeeperKind, SlotKeeper, StoreKey, StoreSecret};

/// Encrypts slot keys to age recipients. The file holds a store key, so that stock `age` can
/// decrypt what opens the slot.
pub(super) struct AgeKeeper<'a> {
    secrets: &'a [StoreSecret],
}

impl<'a> AgeKeeper<'a> {
    pub(super) const fn new(secrets: &'a [StoreSecret]) -> Self {
        Self { secrets }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> KeeperError {
    KeeperError::Failed(Box::new(error))
}

impl SlotKeeper for AgeKeeper<'_> {
    fn kind(&self) -> KeeperKind {
        KeeperKind::Age
    }

    fn wrap(&self, location: &str, _: &[u8], key: &Secret<32>) -> Result<Vec<u8>, KeeperError> {
        let recipient = recipient_from_text(location).map_err(failed)?;
        let line = StoreKey::of(key).and_then(|key| key.to_line());
        let line = line.map_err(failed)?;
        let mut file = Vec::new();
        encrypt(&[&recipient], line.expose(), &mut file, Encoding::Binary).map_err(failed)?;
        Ok(file)
    }

    fn unwrap(&self, _: &str, _: &[u8], wrapped: &[u8]) -> Result<Secret<32>, KeeperError> {
        let identities: Vec<&KemPrivateKey> = self
            .secrets
            .iter()
            .filter_map(|secret| match secret {
                StoreSecret::Recipient(key) => Some(key),
                StoreSecret::Passphrase(_) | StoreSecret::Key(_) => None,
            })
            .filter(|key| casemate_age::recipient_to_text(key.public_key()).is_ok())
            .collect();
        if identities.is_empty() {
            return Err(KeeperError::NotMine);
        }
        // Reserve all of it: growing would leave a copy behind.
        let mut line = Vec::with_capacity(wrapped.len());
        match decrypt(&identities, wrapped, &mut line) {
            Err(AgeError::NoMatch) => return Err(KeeperError::NotMine),
            done => done.map_err(failed)?,
        };
        let line = SecretBytes::new(line);
        let text = casemate_environment::without_line_end(line.expose());
        match StoreSecret::read(SecretBytes::new(text.to_vec())).map_err(failed)? {
            StoreSecret::Key(key) => Ok(key.into_secret()),
            StoreSecret::Passphrase(_) | StoreSecret::Recipient(_) => {
                Err(failed(casemate_keys::StoreError::BadKeyText))
            }
        }
    }
}
