//! The key pair that signs the checkpoints of an audit log: Ed25519 and ML-DSA-44, both required.
//!
//! C2SP defines no other post-quantum algorithm for checkpoints. It is the only use of a category
//! below 3 here, so a policy that demands more refuses a log. What is signed has domain separation
//! of its own (a note's text, and `cosigned_message`).
//!
//! # Source
//!
//! C2SP signed-note v1.0.0 (type 0x01), tlog-cosignature (type 0x06).

use std::fmt;

use casemate_awslc::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};

use super::{TradPublicKey, TradSigningKey};
use crate::{Error, Secret, algorithm::TradSignature};

const NAME: &str = "log-ed25519-mldsa44";

/// The private halves.
pub struct LogSigningKey {
    ed25519: TradSigningKey,
    seed: Secret<{ MlDsa::SEED_BYTES }>,
    mldsa44: MlDsaSigningKey,
}

impl LogSigningKey {
    /// Generates a pair.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate() -> Result<Self, Error> {
        let trad = TradSigningKey::generate(TradSignature::Ed25519)?;
        Self::from_parts(trad, Secret::random()?)
    }

    /// Assembles a pair from its two seeds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if a seed is not 32 bytes long.
    pub fn from_seeds(ed25519: &[u8], mldsa44: &[u8]) -> Result<Self, Error> {
        let invalid = |_| Error::InvalidPrivateKey { suite: NAME };
        let trad = TradSigningKey::from_secret(TradSignature::Ed25519, ed25519).map_err(invalid)?;
        let seed = Secret::copy_from("ML-DSA seed", mldsa44).map_err(invalid)?;
        Self::from_parts(trad, seed)
    }

    fn from_parts(
        ed25519: TradSigningKey,
        seed: Secret<{ MlDsa::SEED_BYTES }>,
    ) -> Result<Self, Error> {
        Ok(Self {
            mldsa44: MlDsaSigningKey::from_seed(MlDsa::MlDsa44, seed.expose())?,
            ed25519,
            seed,
        })
    }

    /// Returns the seeds, to store them: Ed25519, then ML-DSA-44.
    pub fn seeds(&self) -> [&[u8]; 2] {
        [self.ed25519.secret().expose(), self.seed.expose()]
    }

    /// Returns the public halves.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn verifying_key(&self) -> Result<LogVerifyingKey, Error> {
        LogVerifyingKey::new(self.ed25519.public_key(), &self.mldsa44.public_key()?)
    }

    /// Signs the text of a note.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn sign_note(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        super::http::refuse_composite_input(text)?;
        self.ed25519.sign(text)
    }

    /// Signs a `cosigned_message`.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn cosign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        super::http::refuse_composite_input(message)?;
        Ok(self.mldsa44.sign(message, b"")?)
    }
}

impl fmt::Debug for LogSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSigningKey(..)")
    }
}

/// The public halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifyingKey {
    ed25519: Vec<u8>,
    mldsa44: Vec<u8>,
}

impl LogVerifyingKey {
    /// Assembles a pair from its encodings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`].
    pub fn new(ed25519: &[u8], mldsa44: &[u8]) -> Result<Self, Error> {
        let invalid = Error::InvalidPublicKey { suite: NAME };
        TradPublicKey::new(TradSignature::Ed25519, ed25519)?;
        MlDsaPublicKey::new(MlDsa::MlDsa44, mldsa44).map_err(|_| invalid)?;
        Ok(Self {
            ed25519: ed25519.to_vec(),
            mldsa44: mldsa44.to_vec(),
        })
    }

    /// Returns the encoded Ed25519 key, 32 bytes.
    pub fn ed25519(&self) -> &[u8] {
        &self.ed25519
    }

    /// Returns the encoded ML-DSA-44 key, 1312 bytes.
    pub fn mldsa44(&self) -> &[u8] {
        &self.mldsa44
    }

    /// Verifies the signature over the text of a note.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`].
    pub fn verify_note(&self, text: &[u8], signature: &[u8]) -> Result<(), Error> {
        TradPublicKey::new(TradSignature::Ed25519, &self.ed25519)?.verify(text, signature)
    }

    /// Verifies the signature over a `cosigned_message`.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`].
    pub fn verify_cosigned(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let key = MlDsaPublicKey::new(MlDsa::MlDsa44, &self.mldsa44)?;
        Ok(key.verify(message, b"", signature)?)
    }
}
