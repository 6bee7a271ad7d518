//! Signatures: LAMPS composites, whose halves must both verify, pure ML-DSA, and SLH-DSA.
//!
//! The halves of a composite sign `Prefix || Label || len(ctx) || ctx || SHA-512(M)`, the ML-DSA
//! half with the label as its context. So neither half is a signature on `M` by itself, and neither
//! can be stripped and presented alone.
//!
//! Composites are unforgeable but not strongly unforgeable: halves of two signatures by one key
//! over one message and purpose can be recombined. Never use signature bytes as an identity, a
//! cache key or a replay key.
//!
//! # Source
//!
//! draft-ietf-lamps-pq-composite-sigs-19; FIPS 204; FIPS 205.

mod http;
mod log;
mod slh;
mod trad;

use std::fmt;

use aws_lc_rs::digest::{SHA512, digest};
use casemate_awslc::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};

pub use http::{HTTP_SUITE_NAME, HttpSignatures, HttpSigningKey, HttpVerifyingKey};
pub use log::{LogSigningKey, LogVerifyingKey};
pub use slh::{SlhPublicKey, SlhSigningKey};
pub(crate) use trad::{TradPublicKey, TradSigningKey};

use crate::{
    Error, Purpose, Secret, SecretBytes,
    holder::SigningHolder,
    suite::{SignatureConstruction, SignatureSuite},
};

/// Prefix of every message that the halves of a composite sign.
pub const COMPOSITE_PREFIX: &[u8; 32] = b"CompositeAlgorithmSignatures2025";

/// Builds `M'` of the draft.
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

/// The private halves of a key, by construction.
enum Signer {
    Composite {
        seed: Secret<{ MlDsa::SEED_BYTES }>,
        pq: MlDsaSigningKey,
        trad: TradSigningKey,
        label: &'static [u8],
    },
    Pure {
        seed: Secret<{ MlDsa::SEED_BYTES }>,
        pq: MlDsaSigningKey,
    },
    HashBased(SlhSigningKey),
    /// The key is held elsewhere.
    Held(Box<dyn SigningHolder>),
}

/// The parts that a private key file stores, for encoding.
pub(crate) enum PrivateParts<'a> {
    /// ML-DSA seed and classical private key.
    Composite(&'a Secret<{ MlDsa::SEED_BYTES }>, &'a SecretBytes),
    /// ML-DSA seed.
    Pure(&'a Secret<{ MlDsa::SEED_BYTES }>),
    /// The whole SLH-DSA private key.
    HashBased(&'a SecretBytes),
}

/// A private signing key.
pub struct SigningKey {
    suite: &'static SignatureSuite,
    signer: Signer,
    public: VerifyingKey,
}

impl SigningKey {
    /// Generates a key; its halves are fresh and used nowhere else.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate(suite: &'static SignatureSuite) -> Result<Self, Error> {
        let signer = match suite.construction {
            SignatureConstruction::Composite { pq, trad, label } => {
                let trad = TradSigningKey::generate(trad)?;
                Signer::composite(pq, Secret::random()?, trad, label)?
            }
            SignatureConstruction::Pure(set) => Signer::pure(set, Secret::random()?)?,
            SignatureConstruction::HashBased(set) => {
                Signer::HashBased(SlhSigningKey::generate(set)?)
            }
        };
        Self::from_signer(suite, signer)
    }

    /// Assembles a key from the parts that PKIX stores.
    ///
    /// These are the ML-DSA seed and, in a composite, the classical private key (Ed25519 seed or
    /// P-384 scalar). For SLH-DSA it is the whole private key, whose root is recomputed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if a part has the wrong length, the scalar is out of range or
    /// the root does not match the seeds.
    pub fn from_components(
        suite: &'static SignatureSuite,
        secret: &[u8],
        trad_secret: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let invalid = |_| Error::InvalidPrivateKey { suite: suite.name };
        let seed = || Secret::copy_from("ML-DSA seed", secret).map_err(invalid);
        let signer = match (suite.construction, trad_secret) {
            (SignatureConstruction::Pure(set), None) => Signer::pure(set, seed()?)?,
            (SignatureConstruction::Composite { pq, trad, label }, Some(trad_secret)) => {
                let trad = TradSigningKey::from_secret(trad, trad_secret).map_err(invalid)?;
                Signer::composite(pq, seed()?, trad, label)?
            }
            (SignatureConstruction::HashBased(set), None) => {
                Signer::HashBased(SlhSigningKey::from_bytes(set, secret).map_err(invalid)?)
            }
            _ => return Err(invalid(Error::Rejected)),
        };
        Self::from_signer(suite, signer)
    }

    fn from_signer(suite: &'static SignatureSuite, signer: Signer) -> Result<Self, Error> {
        let public = VerifyingKey::new(suite, &signer.public_key()?)?;
        Ok(Self {
            suite,
            signer,
            public,
        })
    }

    /// Returns the public half.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Returns the suite this key belongs to.
    pub fn suite(&self) -> &'static SignatureSuite {
        self.suite
    }

    /// Returns a key that its holder uses on our behalf.
    pub fn held(public: VerifyingKey, holder: Box<dyn SigningHolder>) -> Self {
        Self {
            suite: public.suite,
            signer: Signer::Held(holder),
            public,
        }
    }

    pub(crate) fn private_parts(&self) -> Result<PrivateParts<'_>, Error> {
        Ok(match &self.signer {
            Signer::Composite { seed, trad, .. } => PrivateParts::Composite(seed, trad.secret()),
            Signer::Pure { seed, .. } => PrivateParts::Pure(seed),
            Signer::HashBased(key) => PrivateParts::HashBased(key.secret()),
            Signer::Held(_) => return Err(Error::HeldElsewhere),
        })
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
    /// [`Error::ContextTooLong`] beyond 255 bytes; [`Error::Holder`] if the holder of the key does
    /// not sign.
    pub fn sign_with_context(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.signer {
            Signer::Composite {
                pq, trad, label, ..
            } => {
                let signed = composite_message(label, context, message)?;
                let mut signature = pq.sign(&signed, label)?;
                signature.extend(trad.sign(&signed)?);
                Ok(signature)
            }
            Signer::Pure { pq, .. } => Ok(pq.sign(message, context)?),
            Signer::HashBased(key) => key.sign(message, context),
            Signer::Held(holder) => {
                let signature = holder.sign(context, message)?;
                // The holder is not trusted: verify its signature.
                self.public
                    .verify_with_context(context, message, &signature)?;
                Ok(signature)
            }
        }
    }
}

impl Signer {
    fn composite(
        set: MlDsa,
        seed: Secret<{ MlDsa::SEED_BYTES }>,
        trad: TradSigningKey,
        label: &'static [u8],
    ) -> Result<Self, Error> {
        let pq = MlDsaSigningKey::from_seed(set, seed.expose())?;
        Ok(Self::Composite {
            seed,
            pq,
            trad,
            label,
        })
    }

    fn pure(set: MlDsa, seed: Secret<{ MlDsa::SEED_BYTES }>) -> Result<Self, Error> {
        let pq = MlDsaSigningKey::from_seed(set, seed.expose())?;
        Ok(Self::Pure { seed, pq })
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Composite { pq, trad, .. } => {
                let mut public = pq.public_key()?;
                public.extend_from_slice(trad.public_key());
                Ok(public)
            }
            Self::Pure { pq, .. } => Ok(pq.public_key()?),
            Self::HashBased(key) => Ok(key.public_key().to_vec()),
            Self::Held(_) => Err(Error::HeldElsewhere),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.suite.name)
    }
}

/// The public halves of a key, by construction, parsed once.
enum Verifier {
    Composite {
        pq: MlDsaPublicKey,
        trad: TradPublicKey,
        label: &'static [u8],
        pq_signature_bytes: usize,
    },
    Pure(MlDsaPublicKey),
    HashBased(SlhPublicKey),
}

/// A public key that verifies signatures, parsed once.
pub struct VerifyingKey {
    suite: &'static SignatureSuite,
    bytes: Vec<u8>,
    verifier: Verifier,
}

impl VerifyingKey {
    /// Reads the PKIX encoding: the ML-DSA key, then the classical public key; or the SLH-DSA key.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the length is not the suite's or a point is not on its curve.
    pub fn new(suite: &'static SignatureSuite, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = || Error::InvalidPublicKey { suite: suite.name };
        let verifier = match suite.construction {
            SignatureConstruction::Composite { pq, trad, label } => {
                let (pq_key, trad_key) = bytes
                    .split_at_checked(pq.public_key_bytes())
                    .ok_or_else(invalid)?;
                Verifier::Composite {
                    pq: MlDsaPublicKey::new(pq, pq_key).map_err(|_| invalid())?,
                    trad: TradPublicKey::new(trad, trad_key).map_err(|_| invalid())?,
                    label,
                    pq_signature_bytes: pq.signature_bytes(),
                }
            }
            SignatureConstruction::Pure(set) => {
                if bytes.len() != set.public_key_bytes() {
                    return Err(invalid());
                }
                Verifier::Pure(MlDsaPublicKey::new(set, bytes).map_err(|_| invalid())?)
            }
            SignatureConstruction::HashBased(set) => {
                Verifier::HashBased(SlhPublicKey::new(set, bytes).map_err(|_| invalid())?)
            }
        };
        Ok(Self {
            suite,
            bytes: bytes.to_vec(),
            verifier,
        })
    }

    /// Returns the suite this key belongs to.
    pub fn suite(&self) -> &'static SignatureSuite {
        self.suite
    }

    /// Returns the encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies a signature made for `purpose`; both halves of a composite must verify.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`], regardless of which half failed and why.
    pub fn verify(&self, purpose: Purpose, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.verify_with_context(purpose.as_bytes(), message, signature)
    }

    /// Verifies a signature made under any context, for test vectors and interoperation.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`], and [`Error::ContextTooLong`] beyond 255 bytes.
    pub fn verify_with_context(
        &self,
        context: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        match &self.verifier {
            Verifier::Composite {
                pq,
                trad,
                label,
                pq_signature_bytes,
            } => {
                let signed = composite_message(label, context, message)?;
                let (pq_signature, trad_signature) = signature
                    .split_at_checked(*pq_signature_bytes)
                    .ok_or(Error::BadSignature)?;
                trad.verify(&signed, trad_signature)?;
                Ok(pq.verify(&signed, label, pq_signature)?)
            }
            Verifier::Pure(pq) => Ok(pq.verify(message, context, signature)?),
            Verifier::HashBased(key) => key.verify(message, context, signature),
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
