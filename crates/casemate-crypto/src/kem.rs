//! Key encapsulation: the hybrids of [`crate::suite`] and pure ML-KEM.
//!
//! # Source
//!
//! draft-irtf-cfrg-concrete-hybrid-kems-04, draft-connolly-cfrg-xwing-kem-11 and
//! draft-ietf-lamps-pq-composite-kem-14, which share one combiner and one set of labels; FIPS 203.

mod curve;

use std::fmt;

use aws_lc_rs::digest::{Context, SHA3_256};
use casemate_awslc::{MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey, shake256};

pub(crate) use curve::CurveKey;

use crate::{
    Error, Secret, SecretBytes,
    holder::HpkeHolder,
    random,
    suite::{KemConstruction, KemSuite},
};

/// Length of every KEM's shared secret, in bytes.
pub const SHARED_SECRET_BYTES: usize = 32;

/// A public key that encapsulates secrets.
pub struct KemPublicKey {
    suite: &'static KemSuite,
    bytes: Vec<u8>,
    pq: MlKemEncapsulationKey,
}

impl KemPublicKey {
    /// Reads the encoding shared by HPKE and PKIX: the ML-KEM key, then the classical public key.
    ///
    /// The modulus check of FIPS 203, section 7.2, and the curve check run on first use.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the length is not the suite's.
    pub fn new(suite: &'static KemSuite, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = Error::InvalidPublicKey { suite: suite.name };
        if bytes.len() != suite.public_key_bytes {
            return Err(invalid);
        }
        let pq = match suite.construction {
            KemConstruction::Hybrid { pq, .. } | KemConstruction::Pure(pq) => pq,
        };
        let (pq_bytes, _) = bytes
            .split_at_checked(pq.encapsulation_key_bytes())
            .ok_or_else(|| invalid.clone())?;
        let pq = MlKemEncapsulationKey::new(pq, pq_bytes).map_err(|_| invalid)?;
        Ok(Self {
            suite,
            bytes: bytes.to_vec(),
            pq,
        })
    }

    /// Returns the suite this key belongs to.
    pub fn suite(&self) -> &'static KemSuite {
        self.suite
    }

    /// Returns the encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Generates a secret and its encapsulation.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if a coefficient is not reduced or a point is not on its curve.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, Secret<SHARED_SECRET_BYTES>), Error> {
        let mut randomness = zeroize::Zeroizing::new(vec![0; self.suite.randomness_bytes]);
        random::fill(&mut randomness)?;
        self.encapsulate_with(&randomness)
    }

    /// Generates the secret that `randomness` determines, for test vectors.
    ///
    /// # Errors
    ///
    /// As [`Self::encapsulate`], and [`Error::Length`] for randomness of the wrong length.
    #[cfg(feature = "hazmat")]
    pub fn encapsulate_derand(
        &self,
        randomness: &[u8],
    ) -> Result<(Vec<u8>, Secret<SHARED_SECRET_BYTES>), Error> {
        self.encapsulate_with(randomness)
    }

    pub(crate) fn encapsulate_with(
        &self,
        randomness: &[u8],
    ) -> Result<(Vec<u8>, Secret<SHARED_SECRET_BYTES>), Error> {
        let invalid = || Error::InvalidPublicKey {
            suite: self.suite.name,
        };
        let (m, r) = randomness
            .split_first_chunk::<{ MlKem::RANDOMNESS_BYTES }>()
            .filter(|_| randomness.len() == self.suite.randomness_bytes)
            .ok_or(Error::Length {
                what: "encapsulation randomness",
                actual: randomness.len(),
                expected: self.suite.randomness_bytes,
            })?;
        let sent = self.pq.encapsulate_derand(m).map_err(|_| invalid())?;
        match self.suite.construction {
            KemConstruction::Pure(_) => {
                let secret = Secret::copy_from("shared secret", sent.shared_secret.as_slice())?;
                Ok((sent.ciphertext, secret))
            }
            KemConstruction::Hybrid { pq, trad, label } => {
                let ek_t = self
                    .bytes
                    .get(pq.encapsulation_key_bytes()..)
                    .ok_or_else(invalid)?;
                let ephemeral = CurveKey::from_seed(trad, r)?;
                let ss_t = ephemeral.agree(ek_t).map_err(|_| invalid())?;
                let ct_t = ephemeral.public();
                let secret = combine(sent.shared_secret.as_slice(), &ss_t, ct_t, ek_t, label);
                Ok(([sent.ciphertext.as_slice(), ct_t].concat(), secret))
            }
        }
    }
}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KemPublicKey")
            .field(&self.suite.name)
            .finish()
    }
}

/// Computes `SHA3-256(ssM || ssT || ctT || ekT || label)`.
///
/// The ML-KEM ciphertext can be left out because ML-KEM is ciphertext-second-preimage resistant. No
/// other KEM may take its place.
fn combine(
    ss_m: &[u8],
    ss_t: &[u8],
    ct_t: &[u8],
    ek_t: &[u8],
    label: &[u8],
) -> Secret<SHARED_SECRET_BYTES> {
    let mut hash = Context::new(&SHA3_256);
    for part in [ss_m, ss_t, ct_t, ek_t, label] {
        hash.update(part);
    }
    let mut out = [0; SHARED_SECRET_BYTES];
    out.copy_from_slice(hash.finish().as_ref());
    Secret::take(&mut out)
}

/// Runs the combiner on given shares, for measuring it alone.
#[cfg(feature = "hazmat")]
pub fn combined(
    ss_m: &[u8],
    ss_t: &[u8],
    ct_t: &[u8],
    ek_t: &[u8],
    label: &[u8],
) -> Secret<SHARED_SECRET_BYTES> {
    combine(ss_m, ss_t, ct_t, ek_t, label)
}

/// A private key that recovers encapsulated secrets.
pub struct KemPrivateKey {
    place: Place,
    public: KemPublicKey,
}

/// Where a private key is.
enum Place {
    Here(Halves),
    Held(Box<dyn HpkeHolder>),
}

struct Halves {
    pq_seed: Secret<{ MlKem::SEED_BYTES }>,
    pq: MlKemDecapsulationKey,
    trad: Option<CurveKey>,
}

impl KemPrivateKey {
    /// Generates a key.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate(suite: &'static KemSuite) -> Result<Self, Error> {
        let mut seed = zeroize::Zeroizing::new(vec![0; suite.seed_bytes]);
        random::fill(&mut seed)?;
        Self::from_seed(suite, &seed)
    }

    /// Expands a private key in HPKE's serialisation: 32 bytes for a hybrid, `d || z` for ML-KEM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if the length is not the suite's.
    pub fn from_seed(suite: &'static KemSuite, seed: &[u8]) -> Result<Self, Error> {
        let invalid = || Error::InvalidPrivateKey { suite: suite.name };
        if seed.len() != suite.seed_bytes {
            return Err(invalid());
        }
        match suite.construction {
            KemConstruction::Pure(_) => Self::from_parts(suite, seed, None),
            KemConstruction::Hybrid { trad, .. } => {
                let len = MlKem::SEED_BYTES.saturating_add(trad.seed_bytes());
                let mut full = zeroize::Zeroizing::new(vec![0; len]);
                shake256(&[seed], &mut full)?;
                let (pq_seed, trad_seed) = full.split_at(MlKem::SEED_BYTES);
                let trad = CurveKey::from_seed(trad, trad_seed).map_err(|_| invalid())?;
                Self::from_parts(suite, pq_seed, Some(trad))
            }
        }
    }

    /// Assembles a key from the two halves that PKIX stores: the ML-KEM seed and the classical
    /// scalar.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if a half has the wrong length or the scalar is out of range.
    pub fn from_components(
        suite: &'static KemSuite,
        pq_seed: &[u8],
        scalar: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let invalid = || Error::InvalidPrivateKey { suite: suite.name };
        let trad = match (suite.construction, scalar) {
            (KemConstruction::Pure(_), None) => None,
            (KemConstruction::Hybrid { trad, .. }, Some(scalar)) => {
                Some(CurveKey::from_scalar(trad, scalar).map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        Self::from_parts(suite, pq_seed, trad)
    }

    fn from_parts(
        suite: &'static KemSuite,
        pq_seed: &[u8],
        trad: Option<CurveKey>,
    ) -> Result<Self, Error> {
        let pq_seed = Secret::copy_from("ML-KEM seed", pq_seed)
            .map_err(|_| Error::InvalidPrivateKey { suite: suite.name })?;
        let set = match suite.construction {
            KemConstruction::Hybrid { pq, .. } | KemConstruction::Pure(pq) => pq,
        };
        let pq = MlKemDecapsulationKey::from_seed(set, pq_seed.expose())?;
        let mut public = pq.encapsulation_key()?;
        if let Some(trad) = &trad {
            public.extend_from_slice(trad.public());
        }
        let public = KemPublicKey::new(suite, &public)?;
        let halves = Halves { pq_seed, pq, trad };
        Ok(Self {
            place: Place::Here(halves),
            public,
        })
    }

    /// Returns a key that its holder uses on our behalf.
    pub fn held(public: KemPublicKey, holder: Box<dyn HpkeHolder>) -> Self {
        Self {
            place: Place::Held(holder),
            public,
        }
    }

    /// Returns the holder of the key; `None` if the key is here.
    pub(crate) fn holder(&self) -> Option<&dyn HpkeHolder> {
        match &self.place {
            Place::Here(_) => None,
            Place::Held(holder) => Some(&**holder),
        }
    }

    fn halves(&self) -> Result<&Halves, Error> {
        match &self.place {
            Place::Here(halves) => Ok(halves),
            Place::Held(_) => Err(Error::HeldElsewhere),
        }
    }

    /// Returns the public half.
    pub fn public_key(&self) -> &KemPublicKey {
        &self.public
    }

    /// Returns the suite this key belongs to.
    pub fn suite(&self) -> &'static KemSuite {
        self.public.suite
    }

    /// Returns the ML-KEM seed `d || z` and the classical scalar, for encoding.
    pub(crate) fn secrets(
        &self,
    ) -> Result<(&Secret<{ MlKem::SEED_BYTES }>, Option<&SecretBytes>), Error> {
        let halves = self.halves()?;
        let scalar = halves.trad.as_ref().map(CurveKey::scalar);
        Ok((&halves.pq_seed, scalar))
    }

    /// Recovers the secret that `ciphertext` encapsulates.
    ///
    /// A changed ciphertext yields a different secret, not an error, as long as its halves still
    /// parse.
    ///
    /// # Errors
    ///
    /// - [`Error::Length`] if the ciphertext does not have the suite's length.
    /// - [`Error::Rejected`] if the classical half is not a point on its curve or yields an
    ///   all-zero secret.
    /// - [`Error::HeldElsewhere`]: a holder opens whole messages only.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret<SHARED_SECRET_BYTES>, Error> {
        let suite = self.suite();
        if ciphertext.len() != suite.ciphertext_bytes {
            return Err(Error::Length {
                what: "encapsulated key",
                actual: ciphertext.len(),
                expected: suite.ciphertext_bytes,
            });
        }
        let halves = self.halves()?;
        match (suite.construction, &halves.trad) {
            (KemConstruction::Hybrid { pq, label, .. }, Some(trad)) => {
                let (ct_m, ct_t) = ciphertext
                    .split_at_checked(pq.ciphertext_bytes())
                    .ok_or(Error::Rejected)?;
                let ss_m = halves.pq.decapsulate(ct_m)?;
                let ss_t = trad.agree(ct_t)?;
                Ok(combine(ss_m.as_slice(), &ss_t, ct_t, trad.public(), label))
            }
            _ => Secret::copy_from(
                "shared secret",
                halves.pq.decapsulate(ciphertext)?.as_slice(),
            ),
        }
    }
}

impl fmt::Debug for KemPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemPrivateKey({}, ..)", self.suite().name)
    }
}
