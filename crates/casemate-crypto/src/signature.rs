//! Signatures: LAMPS composites, of which both halves must hold, and pure ML-DSA.
//!
//! A composite's halves sign `Prefix || Label || len(ctx) || ctx || SHA-512(M)`, the ML-DSA half with the label as its context, so
//! neither half is a signature on `M` by itself and neither can be taken out and presented alone.
//!
//! Composites are unforgeable but not strongly so: two halves by one key over one message and purpose can be
//! recombined. Signature bytes are therefore never an identity, a cache key or a replay key.
//!
//! # Source
//!
//! draft-ietf-lamps-pq-composite-sigs-19; FIPS 204.

mod http;
mod trad;

use std::fmt;

use aws_lc_rs::digest::{SHA512, digest};
use casemate_awslc::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};

pub use http::{HTTP_SUITE_NAME, HttpSignatures, HttpSigningKey, HttpVerifyingKey};
pub(crate) use trad::{TradPublicKey, TradSigningKey};

use crate::{
    Error, Purpose, Secret,
    suite::{SignatureConstruction, SignatureSuite},
};

/// First bytes of everything a composite's halves sign.
pub const COMPOSITE_PREFIX: &[u8; 32] = b"CompositeAlgorithmSignatures2025";

fn ml_dsa(suite: &SignatureSuite) -> MlDsa {
    match suite.construction {
        SignatureConstruction::Composite { pq, .. } | SignatureConstruction::Pure(pq) => pq,
    }
}

/// `M'` of the draft.
fn composite_message(label: &[u8], context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    let context_len = u8::try_from(context.len()).map_err(|_| Error::ContextTooLong {
        actual: context.len(),
    })?;
    let prehash = digest(&SHA512, message);
    Ok([
        COMPOSITE_PREFIX,
        label,
        &[context_len],
        context,
        prehash.as_ref(),
    ]
    .concat())
}

/// A private signing key.
pub struct SigningKey {
    suite: &'static SignatureSuite,
    seed: Secret<{ MlDsa::SEED_BYTES }>,
    pq: MlDsaSigningKey,
    trad: Option<TradSigningKey>,
    public: VerifyingKey,
}

impl SigningKey {
    /// Makes a new key; the halves are fresh and used nowhere else.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate(suite: &'static SignatureSuite) -> Result<Self, Error> {
        let trad = match suite.construction {
            SignatureConstruction::Composite { trad, .. } => Some(TradSigningKey::generate(trad)?),
            SignatureConstruction::Pure(_) => None,
        };
        Self::from_parts(suite, Secret::random()?, trad)
    }

    /// Assembles a key from the ML-DSA seed and the classical private key (Ed25519 seed or P-384 scalar).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if a half has the wrong length or the scalar is out of range.
    pub fn from_components(
        suite: &'static SignatureSuite,
        seed: &[u8],
        trad_secret: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let invalid = || Error::InvalidPrivateKey { suite: suite.name };
        let trad = match (suite.construction, trad_secret) {
            (SignatureConstruction::Pure(_), None) => None,
            (SignatureConstruction::Composite { trad, .. }, Some(secret)) => {
                Some(TradSigningKey::from_secret(trad, secret).map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        let seed = Secret::copy_from("ML-DSA seed", seed).map_err(|_| invalid())?;
        Self::from_parts(suite, seed, trad)
    }

    fn from_parts(
        suite: &'static SignatureSuite,
        seed: Secret<{ MlDsa::SEED_BYTES }>,
        trad: Option<TradSigningKey>,
    ) -> Result<Self, Error> {
        let pq = MlDsaSigningKey::from_seed(ml_dsa(suite), seed.expose())?;
        let mut public = pq.public_key()?;
        if let Some(trad) = &trad {
            public.extend_from_slice(trad.public_key());
        }
        let public = VerifyingKey::new(suite, &public)?;
        Ok(Self {
            suite,
            seed,
            pq,
            trad,
            public,
        })
    }

    /// The public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// The suite this key belongs to.
    pub fn suite(&self) -> &'static SignatureSuite {
        self.suite
    }

    pub(crate) fn seed(&self) -> &Secret<{ MlDsa::SEED_BYTES }> {
        &self.seed
    }

    pub(crate) fn trad_secret(&self) -> Option<&crate::SecretBytes> {
        self.trad.as_ref().map(TradSigningKey::secret)
    }

    /// Signs `message` for one purpose.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_with_context(purpose.as_bytes(), message)
    }

    /// Signs under any context, for test vectors and interoperation.
    ///
    /// # Errors
    ///
    /// [`Error::ContextTooLong`] past 255 bytes.
    pub fn sign_with_context(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        match (self.suite.construction, &self.trad) {
            (SignatureConstruction::Composite { label, .. }, Some(trad)) => {
                let signed = composite_message(label, context, message)?;
                let mut signature = self.pq.sign(&signed, label)?;
                signature.extend(trad.sign(&signed)?);
                Ok(signature)
            }
            _ => Ok(self.pq.sign(message, context)?),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.suite.name)
    }
}

/// A public key that checks signatures, parsed once.
pub struct VerifyingKey {
    suite: &'static SignatureSuite,
    bytes: Vec<u8>,
    pq: MlDsaPublicKey,
    trad: Option<TradPublicKey>,
}

impl VerifyingKey {
    /// Reads the PKIX encoding: the ML-DSA key, then the classical public key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the length is not the suite's or a point is not on its curve.
    pub fn new(suite: &'static SignatureSuite, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = || Error::InvalidPublicKey { suite: suite.name };
        let set = ml_dsa(suite);
        let (pq, rest) = bytes
            .split_at_checked(set.public_key_bytes())
            .ok_or_else(invalid)?;
        let trad = match suite.construction {
            SignatureConstruction::Composite { trad, .. } => {
                Some(TradPublicKey::new(trad, rest).map_err(|_| invalid())?)
            }
            SignatureConstruction::Pure(_) if rest.is_empty() => None,
            SignatureConstruction::Pure(_) => return Err(invalid()),
        };
        let pq = MlDsaPublicKey::new(set, pq).map_err(|_| invalid())?;
        Ok(Self {
            suite,
            bytes: bytes.to_vec(),
            pq,
            trad,
        })
    }

    /// The suite this key belongs to.
    pub fn suite(&self) -> &'static SignatureSuite {
        self.suite
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks a signature made for `purpose`; every half must hold.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`], whichever half failed and for whatever reason.
    pub fn verify(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_with_context(purpose.as_bytes(), message, signature)
    }

    /// Checks a signature made under any context, for test vectors and interoperation.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`], and [`Error::ContextTooLong`] past 255 bytes.
    pub fn verify_with_context(
        &self,
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        match (self.suite.construction, &self.trad) {
            (SignatureConstruction::Composite { pq, label, .. }, Some(trad)) => {
                let signed = composite_message(label, context, message)?;
                let (pq_signature, trad_signature) = signature
                    .split_at_checked(pq.signature_bytes())
                    .ok_or(Error::BadSignature)?;
                trad.verify(&signed, trad_signature)?;
                Ok(self.pq.verify(&signed, label, pq_signature)?)
            }
            _ => Ok(self.pq.verify(message, context, signature)?),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey")
            .field(&self.suite.name)
            .finish()
    }
}
