//! Key files: SPKI and PKCS#8 in PEM, with the registered object identifiers.
//!
//! Every private key is stored as its seed. The key id is the SHA-256 of the SPKI.
//!
//! # Source
//!
//! RFC 5280 (SPKI), RFC 5958 (PKCS#8), RFC 7468 (PEM), RFC 9881 (ML-DSA), RFC 9935 (ML-KEM), RFC
//! 8410 (Ed25519), draft-ietf-lamps-pq-composite-kem-14, draft-ietf-lamps-pq-composite-sigs-19.

mod pem;
mod pkcs8;
mod spki;

use std::{fmt, str::FromStr};

use ::spki::ObjectIdentifier;
use aws_lc_rs::digest::{Context, SHA256};

#[cfg(feature = "hazmat")]
pub use pkcs8::{file_secrets, fips_seed};

use crate::{
    Error, SecretBytes,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{HTTP_SUITE_NAME, HttpSigningKey, HttpVerifyingKey, SigningKey, VerifyingKey},
    suite::{KemSuite, SignatureSuite},
};

/// Maximum length of a key file, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 64 * 1024;

/// Why a key file was refused.
#[derive(Debug, thiserror::Error)]
pub enum EncodingError {
    /// The file is longer than any key.
    #[error("key file of {actual} bytes exceeds the limit of {KEY_FILE_BYTES_MAX}")]
    TooLong {
        /// Length given, in bytes.
        actual: usize,
    },
    /// The text has no PEM block, or has other text besides its blocks.
    #[error("not a PEM key file")]
    NotPem,
    /// A block's label is not the one expected.
    #[error("PEM block is labelled `{found}`, expected `{expected}`")]
    Label {
        /// The label in the file.
        found: String,
        /// The expected label.
        expected: &'static str,
    },
    /// The blocks do not form one key.
    #[error("{blocks} PEM blocks do not form one key")]
    Blocks {
        /// The number of blocks found.
        blocks: usize,
    },
    /// The bytes are not the DER structure of a key.
    #[error("malformed {what}")]
    Der {
        /// The structure.
        what: &'static str,
    },
    /// Casemate does not support the algorithm of the key.
    #[error("algorithm {oid} is not supported")]
    UnknownAlgorithm {
        /// Object identifier in the file.
        oid: ObjectIdentifier,
    },
    /// The key file has an expanded private key without its seed.
    #[error("the private key is in expanded form and has no seed")]
    ExpandedOnly,
    /// The seed and the expanded key do not match.
    #[error("the expanded private key does not match its seed")]
    SeedMismatch,
    /// The file is well-formed, but the key is not valid.
    #[error(transparent)]
    Key(#[from] Error),
}

/// A key id: the SHA-256 of a key's SPKI, or of both SPKIs of an HTTP signing pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; Self::BYTES]);

impl KeyId {
    /// Length of a key id, in bytes.
    pub const BYTES: usize = 32;

    /// Wraps the bytes of a stored or received key id.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the whole id, as stored and sent.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns all 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    fn of(spkis: &[&[u8]]) -> Self {
        let mut hash = Context::new(&SHA256);
        spkis.iter().for_each(|spki| hash.update(spki));
        let mut id = [0; Self::BYTES];
        id.copy_from_slice(hash.finish().as_ref());
        Self(id)
    }
}

/// Shows all 64 hex digits, because a shortened id can be forged.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Reads all 64 hex digits.
impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut id = [0; Self::BYTES];
        hex::decode_to_slice(text, &mut id).map_err(|_| Error::Length {
            what: "key id in hex",
            actual: text.len(),
            expected: 64,
        })?;
        Ok(Self(id))
    }
}

/// The use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Receives encapsulated secrets.
    Kem,
    /// Signs artifacts, rosters and documents.
    Sign,
    /// Signs HTTP messages.
    Http,
}

impl KeyKind {
    /// Returns its name in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kem => "kem",
            Self::Sign => "sign",
            Self::Http => "http",
        }
    }
}

/// A public key of any kind.
#[derive(Debug)]
pub enum PublicKey {
    /// Receives encapsulated secrets.
    Kem(KemPublicKey),
    /// Checks signatures over artifacts, rosters and documents.
    Sign(VerifyingKey),
    /// Checks signatures over HTTP messages.
    Http(HttpVerifyingKey),
}

impl PublicKey {
    /// Returns what the key is for.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Kem(_) => KeyKind::Kem,
            Self::Sign(_) => KeyKind::Sign,
            Self::Http(_) => KeyKind::Http,
        }
    }

    /// Returns the name of the suite.
    pub fn suite_name(&self) -> &'static str {
        match self {
            Self::Kem(key) => key.suite().name,
            Self::Sign(key) => key.suite().name,
            Self::Http(_) => HTTP_SUITE_NAME,
        }
    }

    /// Reads one PEM block, or the two of an HTTP signing pair (Ed25519, then ML-DSA-65).
    ///
    /// # Errors
    ///
    /// [`EncodingError`], which says what is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, EncodingError> {
        let blocks = pem::decode(text, pem::PUBLIC_LABEL)?;
        match blocks.as_slice() {
            [one] => spki::read(one.expose()),
            [ed25519, mldsa65] => spki::read_http(ed25519.expose(), mldsa65.expose()),
            _ => Err(EncodingError::Blocks {
                blocks: blocks.len(),
            }),
        }
    }

    /// Encodes the key as PEM.
    ///
    /// # Errors
    ///
    /// [`EncodingError::Der`] if the key cannot be encoded, which cannot happen with a valid key.
    pub fn to_pem(&self) -> Result<String, EncodingError> {
        self.spkis()?
            .iter()
            .map(|der| pem::encode(pem::PUBLIC_LABEL, der))
            .collect()
    }

    /// Returns the key id.
    ///
    /// # Errors
    ///
    /// As [`Self::to_pem`].
    pub fn id(&self) -> Result<KeyId, EncodingError> {
        Ok(match self {
            Self::Kem(key) => key.id()?,
            Self::Sign(key) => key.id()?,
            Self::Http(key) => key.id()?,
        })
    }

    /// Reads the DER of one `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`EncodingError`], which says what is wrong.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, EncodingError> {
        spki::read(der)
    }

    fn spkis(&self) -> Result<Vec<Vec<u8>>, EncodingError> {
        match self {
            Self::Kem(key) => Ok(vec![key.to_spki_der()?]),
            Self::Sign(key) => Ok(vec![key.to_spki_der()?]),
            Self::Http(key) => Ok(vec![
                spki::write(spki::ED25519, key.ed25519())?,
                spki::write(spki::ML_DSA_65, key.mldsa65())?,
            ]),
        }
    }
}

impl KemPublicKey {
    /// Returns the DER of the key's `SubjectPublicKeyInfo`, whose SHA-256 is the key id.
    ///
    /// # Errors
    ///
    /// [`EncodingError::Der`] if the key cannot be encoded, which cannot happen with a valid key.
    pub fn to_spki_der(&self) -> Result<Vec<u8>, EncodingError> {
        spki::write(self.suite().oid, self.as_bytes())
    }
}

impl VerifyingKey {
    /// Returns the DER of the key's `SubjectPublicKeyInfo`, whose SHA-256 is the key id.
    ///
    /// # Errors
    ///
    /// [`EncodingError::Der`] if the key cannot be encoded, which cannot happen with a valid key.
    pub fn to_spki_der(&self) -> Result<Vec<u8>, EncodingError> {
        spki::write(self.suite().oid, self.as_bytes())
    }
}

/// A private key of any kind.
#[derive(Debug)]
pub enum PrivateKey {
    /// Recovers encapsulated secrets.
    Kem(KemPrivateKey),
    /// Signs artifacts, rosters and documents.
    Sign(SigningKey),
    /// Signs HTTP messages.
    Http(HttpSigningKey),
}

impl PrivateKey {
    /// Generates a key of the suite named `suite`; returns `None` if there is no such suite.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate(suite: &str) -> Result<Option<Self>, Error> {
        if let Some(suite) = KemSuite::by_name(suite) {
            return Ok(Some(Self::Kem(KemPrivateKey::generate(suite)?)));
        }
        if let Some(suite) = SignatureSuite::by_name(suite) {
            return Ok(Some(Self::Sign(SigningKey::generate(suite)?)));
        }
        if suite == HTTP_SUITE_NAME {
            return Ok(Some(Self::Http(HttpSigningKey::generate()?)));
        }
        Ok(None)
    }

    /// Reads PKCS#8 in PEM: one block, or the two of an HTTP signing pair.
    ///
    /// # Errors
    ///
    /// [`EncodingError`], which says what is wrong. Keys in expanded form without a seed are
    /// refused.
    pub fn from_pem(text: &[u8]) -> Result<Self, EncodingError> {
        let blocks = pem::decode(text, pem::PRIVATE_LABEL)?;
        match blocks.as_slice() {
            [one] => pkcs8::read(one.expose()),
            [ed25519, mldsa65] => pkcs8::read_http(ed25519.expose(), mldsa65.expose()),
            _ => Err(EncodingError::Blocks {
                blocks: blocks.len(),
            }),
        }
    }

    /// Encodes the key as PKCS#8 in PEM.
    ///
    /// # Errors
    ///
    /// [`Error::HeldElsewhere`] if the key is not here; [`EncodingError::Der`] if it cannot be
    /// encoded, which cannot happen with a valid key.
    pub fn to_pem(&self) -> Result<SecretBytes, EncodingError> {
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(2048));
        for der in pkcs8::write(self)? {
            let block = zeroize::Zeroizing::new(pem::encode(pem::PRIVATE_LABEL, der.expose())?);
            text.extend_from_slice(block.as_bytes());
        }
        Ok(text.into())
    }

    /// Returns the secrets that [`Self::to_pem`] writes, for constant-time measurements. Of a key
    /// that is held elsewhere there are none.
    #[cfg(feature = "hazmat")]
    pub fn secret_parts(&self) -> Vec<&[u8]> {
        use crate::signature::PrivateParts;
        match self {
            Self::Kem(key) => key.secrets().map_or_else(
                |_| Vec::new(),
                |(seed, scalar)| {
                    std::iter::once(seed.expose().as_slice())
                        .chain(scalar.map(SecretBytes::expose))
                        .collect()
                },
            ),
            Self::Sign(key) => match key.private_parts() {
                Ok(PrivateParts::Composite(seed, secret)) => vec![seed.expose(), secret.expose()],
                Ok(PrivateParts::Pure(seed)) => vec![seed.expose()],
                Ok(PrivateParts::HashBased(secret)) => vec![secret.expose()],
                Err(_) => Vec::new(),
            },
            Self::Http(key) => key.seeds().map_or_else(
                |_| Vec::new(),
                |(ed25519, mldsa65)| vec![ed25519, mldsa65.expose()],
            ),
        }
    }

    /// Returns a copy of the public half.
    ///
    /// # Errors
    ///
    /// [`EncodingError::Key`] if it cannot be parsed again, which cannot happen with a valid key.
    pub fn public_key(&self) -> Result<PublicKey, EncodingError> {
        Ok(match self {
            Self::Kem(key) => {
                PublicKey::Kem(KemPublicKey::new(key.suite(), key.public_key().as_bytes())?)
            }
            Self::Sign(key) => PublicKey::Sign(VerifyingKey::new(
                key.suite(),
                key.verifying_key().as_bytes(),
            )?),
            Self::Http(key) => {
                let public = key.verifying_key();
                PublicKey::Http(HttpVerifyingKey::new(public.ed25519(), public.mldsa65())?)
            }
        })
    }
}

impl KemPublicKey {
    /// Returns the key id.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the key cannot be encoded, which cannot happen with a valid
    /// key.
    pub fn id(&self) -> Result<KeyId, Error> {
        id_of(self.suite().oid, self.suite().name, self.as_bytes())
    }
}

impl VerifyingKey {
    /// Returns the key id.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the key cannot be encoded, which cannot happen with a valid
    /// key.
    pub fn id(&self) -> Result<KeyId, Error> {
        id_of(self.suite().oid, self.suite().name, self.as_bytes())
    }
}

impl HttpVerifyingKey {
    /// Returns the key id of the pair.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if a key cannot be encoded, which cannot happen with valid keys.
    pub fn id(&self) -> Result<KeyId, Error> {
        let invalid = |_| Error::InvalidPublicKey {
            suite: HTTP_SUITE_NAME,
        };
        let ed25519 = spki::write(spki::ED25519, self.ed25519()).map_err(invalid)?;
        let mldsa65 = spki::write(spki::ML_DSA_65, self.mldsa65()).map_err(invalid)?;
        Ok(KeyId::of(&[&ed25519, &mldsa65]))
    }
}

fn id_of(oid: ObjectIdentifier, suite: &'static str, key: &[u8]) -> Result<KeyId, Error> {
    let spki = spki::write(oid, key).map_err(|_| Error::InvalidPublicKey { suite })?;
    Ok(KeyId::of(&[&spki]))
}
