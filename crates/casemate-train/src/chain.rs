//! The keys of one direction (`spec/training.md`, section 3.2).

use casemate_crypto::{
    Purpose, SecretBytes,
    hpke::{Aead, AeadKey, Kdf},
};

use crate::error::TrainError;

/// Number of messages under one key.
pub(crate) const GENERATION: u64 = 65_536;
pub(crate) const CHAIN_BYTES: usize = 48;

/// A chain at one generation, with the key of that generation.
pub(crate) struct Chain {
    secret: SecretBytes,
    pub(crate) generation: u64,
    pub(crate) key: AeadKey,
}

fn derive(secret: &SecretBytes, purpose: Purpose, len: usize) -> Result<SecretBytes, TrainError> {
    Ok(Kdf::HkdfSha384.expand(secret, &[purpose.as_bytes()], len)?)
}

impl Chain {
    pub(crate) fn new(secret: SecretBytes) -> Result<Self, TrainError> {
        Self::at(secret, 0)
    }

    fn at(secret: SecretBytes, generation: u64) -> Result<Self, TrainError> {
        let key = derive(&secret, Purpose::TRAIN_KEY, 32)?;
        Ok(Self {
            key: AeadKey::new(Aead::Aes256Gcm, key.expose())?,
            secret,
            generation,
        })
    }

    /// Returns the chain of the next generation. Dropping this one forgets its keys.
    pub(crate) fn next(&self) -> Result<Self, TrainError> {
        let secret = derive(&self.secret, Purpose::TRAIN_NEXT, CHAIN_BYTES)?;
        Self::at(secret, self.generation.saturating_add(1))
    }

    /// Returns what the first chain of the initiator gives to the protocol above the channel.
    pub(crate) fn export(&self) -> Result<SecretBytes, TrainError> {
        derive(&self.secret, Purpose::TRAIN_EXPORT, CHAIN_BYTES)
    }

    /// Returns the key that proves the end of the handshake.
    pub(crate) fn finish_key(&self) -> Result<AeadKey, TrainError> {
        let key = derive(&self.secret, Purpose::TRAIN_FINISH, 32)?;
        Ok(AeadKey::new(Aead::Aes256Gcm, key.expose())?)
    }
}
