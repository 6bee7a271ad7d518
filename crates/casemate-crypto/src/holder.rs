//! Private keys that are held elsewhere, such as in a key service or a hardware token, which uses
//! them on our behalf.
//!
//! [`KemPrivateKey::held`](crate::kem::KemPrivateKey::held) and its siblings make keys that work
//! through a holder. Such a key cannot be written to a file.

use crate::{SecretBytes, hpke::HpkeSuite, signature::HttpSignatures};

/// Why the holder of a key did not use it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// What it was asked to open does not authenticate.
    #[error("authentication failed: wrong key, or the data was changed")]
    Rejected,
    /// It refused, or could not be reached.
    #[error("{0}")]
    Failed(String),
}

/// A message in HPKE base mode, with what it is bound to.
#[derive(Clone, Copy, Debug)]
pub struct HpkeMessage<'a> {
    /// KEM, KDF and AEAD.
    pub suite: HpkeSuite,
    /// The encapsulated key.
    pub enc: &'a [u8],
    /// The context of the exchange.
    pub info: &'a [u8],
    /// Additional data of the message.
    pub aad: &'a [u8],
    /// The ciphertext with its tag.
    pub ciphertext: &'a [u8],
}

/// Opens messages with a KEM key that it holds.
pub trait HpkeHolder: Send + Sync {
    /// Decrypts a message.
    ///
    /// # Errors
    ///
    /// [`HolderError`].
    fn open(&self, message: &HpkeMessage<'_>) -> Result<SecretBytes, HolderError>;
}

/// Signs with a key that it holds.
pub trait SigningHolder: Send + Sync {
    /// Signs a message under a context of at most 255 bytes.
    ///
    /// # Errors
    ///
    /// [`HolderError`].
    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, HolderError>;
}

/// Signs HTTP messages with a pair of keys that it holds.
pub trait HttpSigningHolder: Send + Sync {
    /// Signs two byte strings, one with each key.
    ///
    /// # Errors
    ///
    /// [`HolderError`].
    fn sign(&self, ed25519_base: &[u8], mldsa65_base: &[u8])
    -> Result<HttpSignatures, HolderError>;
}
