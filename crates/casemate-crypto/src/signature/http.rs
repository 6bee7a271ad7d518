//! The key pair behind two HTTP message signatures: Ed25519 and ML-DSA-65, both required.
//!
//! RFC 9421 signs one byte string per label, and no composite algorithm is registered for it, so a
//! request carries two signatures by two independent keys. The halves of a composite must never
//! sign alone, so this is a separate kind of key, not another view of `mldsa65-ed25519`. Neither
//! signature can be stripped, because the verifier requires both; this type cannot check only one.
//!
//! # Source
//!
//! RFC 9421, section 3.3.6 (`ed25519`); C2SP httpsig-pq v1.0.0 (`ml-dsa-65`, empty context).

use std::fmt;

use casemate_awslc::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};

use super::{COMPOSITE_PREFIX, TradPublicKey, TradSigningKey};
use crate::{Error, Secret, algorithm::TradSignature, holder::HttpSigningHolder};

/// The name that users type for this kind of key.
pub const HTTP_SUITE_NAME: &str = "http-ed25519-mldsa65";

/// Both signatures over one byte string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSignatures {
    /// The Ed25519 signature, 64 bytes.
    pub ed25519: Vec<u8>,
    /// The ML-DSA-65 signature, 3309 bytes.
    pub mldsa65: Vec<u8>,
}

/// The private halves.
pub struct HttpSigningKey {
    place: Place,
    public: HttpVerifyingKey,
}

/// Where the private halves are.
enum Place {
    Here(Halves),
    Held(Box<dyn HttpSigningHolder>),
}

struct Halves {
    ed25519: TradSigningKey,
    seed: Secret<{ MlDsa::SEED_BYTES }>,
    mldsa65: MlDsaSigningKey,
}

impl HttpSigningKey {
    /// Generates a pair.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::from_parts(
            TradSigningKey::generate(TradSignature::Ed25519)?,
            Secret::random()?,
        )
    }

    /// Assembles a pair from its two seeds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if a seed is not 32 bytes long.
    pub fn from_seeds(ed25519: &[u8], mldsa65: &[u8]) -> Result<Self, Error> {
        let invalid = |_| Error::InvalidPrivateKey {
            suite: HTTP_SUITE_NAME,
        };
        let trad = TradSigningKey::from_secret(TradSignature::Ed25519, ed25519).map_err(invalid)?;
        Self::from_parts(
            trad,
            Secret::copy_from("ML-DSA seed", mldsa65).map_err(invalid)?,
        )
    }

    fn from_parts(
        ed25519: TradSigningKey,
        seed: Secret<{ MlDsa::SEED_BYTES }>,
    ) -> Result<Self, Error> {
        let mldsa65 = MlDsaSigningKey::from_seed(MlDsa::MlDsa65, seed.expose())?;
        let public = HttpVerifyingKey::new(ed25519.public_key(), &mldsa65.public_key()?)?;
        let halves = Halves {
            ed25519,
            seed,
            mldsa65,
        };
        Ok(Self {
            place: Place::Here(halves),
            public,
        })
    }

    /// Returns a pair that its holder uses on our behalf.
    pub fn held(public: HttpVerifyingKey, holder: Box<dyn HttpSigningHolder>) -> Self {
        Self {
            place: Place::Held(holder),
            public,
        }
    }

    /// Returns the public halves.
    pub fn verifying_key(&self) -> &HttpVerifyingKey {
        &self.public
    }

    /// Returns the seeds of Ed25519 and ML-DSA-65, for encoding.
    pub(crate) fn seeds(&self) -> Result<(&[u8], &Secret<{ MlDsa::SEED_BYTES }>), Error> {
        match &self.place {
            Place::Here(halves) => Ok((halves.ed25519.secret().expose(), &halves.seed)),
            Place::Held(_) => Err(Error::HeldElsewhere),
        }
    }

    /// Signs two byte strings, one with each key, because the RFC 9421 signature bases differ in
    /// their parameters.
    ///
    /// # Errors
    ///
    /// [`Error::CompositePrefix`] if a base begins like the input of a composite;
    /// [`Error::Holder`] if the holder of the keys does not sign.
    pub fn sign(&self, ed25519_base: &[u8], mldsa65_base: &[u8]) -> Result<HttpSignatures, Error> {
        refuse_composite_input(ed25519_base)?;
        refuse_composite_input(mldsa65_base)?;
        match &self.place {
            Place::Here(halves) => Ok(HttpSignatures {
                ed25519: halves.ed25519.sign(ed25519_base)?,
                mldsa65: halves.mldsa65.sign(mldsa65_base, b"")?,
            }),
            Place::Held(holder) => {
                let signatures = holder.sign(ed25519_base, mldsa65_base)?;
                self.public
                    .verify(ed25519_base, mldsa65_base, &signatures)?;
                Ok(signatures)
            }
        }
    }
}

impl fmt::Debug for HttpSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpSigningKey(..)")
    }
}

/// The public halves, parsed once.
pub struct HttpVerifyingKey {
    ed25519_bytes: Vec<u8>,
    mldsa65_bytes: Vec<u8>,
    ed25519: TradPublicKey,
    mldsa65: MlDsaPublicKey,
}

impl HttpVerifyingKey {
    /// Reads the two public keys in their standards' encodings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if either is malformed.
    pub fn new(ed25519: &[u8], mldsa65: &[u8]) -> Result<Self, Error> {
        let invalid = || Error::InvalidPublicKey {
            suite: HTTP_SUITE_NAME,
        };
        Ok(Self {
            ed25519_bytes: ed25519.to_vec(),
            mldsa65_bytes: mldsa65.to_vec(),
            ed25519: TradPublicKey::new(TradSignature::Ed25519, ed25519).map_err(|_| invalid())?,
            mldsa65: MlDsaPublicKey::new(MlDsa::MlDsa65, mldsa65).map_err(|_| invalid())?,
        })
    }

    /// Returns the Ed25519 public key, 32 bytes.
    pub fn ed25519(&self) -> &[u8] {
        &self.ed25519_bytes
    }

    /// Returns the ML-DSA-65 public key, 1952 bytes.
    pub fn mldsa65(&self) -> &[u8] {
        &self.mldsa65_bytes
    }

    /// Verifies both signatures, each over its own base.
    ///
    /// # Errors
    ///
    /// - [`Error::BadSignature`] unless both verify.
    /// - [`Error::CompositePrefix`] if a base begins like the input of a composite.
    pub fn verify(
        &self,
        ed25519_base: &[u8],
        mldsa65_base: &[u8],
        signatures: &HttpSignatures,
    ) -> Result<(), Error> {
        refuse_composite_input(ed25519_base)?;
        refuse_composite_input(mldsa65_base)?;
        self.ed25519.verify(ed25519_base, &signatures.ed25519)?;
        Ok(self
            .mldsa65
            .verify(mldsa65_base, b"", &signatures.mldsa65)?)
    }
}

impl fmt::Debug for HttpVerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpVerifyingKey")
    }
}

/// Refuses a message with the prefix that a half stripped from a composite signs; a
/// single-algorithm key must never accept one.
pub(super) fn refuse_composite_input(message: &[u8]) -> Result<(), Error> {
    if message.starts_with(COMPOSITE_PREFIX) {
        return Err(Error::CompositePrefix);
    }
    Ok(())
}
