//! SLH-DSA (FIPS 205), pure mode, with a context string: signatures that rely on a hash function
//! alone.
//!
//! Signing takes about a second and a signature has 16 to 30 KiB. That suits roots, which sign
//! rarely and must outlast a break of lattices. The implementation is the `slh-dsa` crate, because
//! AWS-LC has none.
//!
//! # Source
//!
//! FIPS 205, algorithms 21 to 24; RFC 9909 (key encodings).

use std::fmt;

use slh_dsa::{
    ParameterSet, Sha2_128f, Sha2_128s, Sha2_192s, Sha2_256s, Shake128f, Signature,
    SigningKey as Signing, VerifyingKey as Verifying,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Error, SecretBytes, algorithm::SlhDsa, random};

/// Calls a generic function with the parameter set that a value names.
macro_rules! with_set {
    ($set:expr, $function:ident($($argument:expr),*)) => {
        match $set {
            SlhDsa::Sha2_128s => $function::<Sha2_128s>($($argument),*),
            SlhDsa::Sha2_128f => $function::<Sha2_128f>($($argument),*),
            SlhDsa::Sha2_192s => $function::<Sha2_192s>($($argument),*),
            SlhDsa::Sha2_256s => $function::<Sha2_256s>($($argument),*),
            SlhDsa::Shake128f => $function::<Shake128f>($($argument),*),
        }
    };
}

/// A private key.
pub struct SlhSigningKey {
    set: SlhDsa,
    bytes: SecretBytes,
}

impl SlhSigningKey {
    /// Generates a key.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the system's generator fails.
    pub fn generate(set: SlhDsa) -> Result<Self, Error> {
        let mut seeds = Zeroizing::new(vec![0; set.seeds_bytes()]);
        random::fill(&mut seeds)?;
        Ok(Self {
            set,
            bytes: with_set!(set, expand(&seeds)),
        })
    }

    /// Reads `SK.seed || SK.prf || PK.seed || PK.root` and recomputes the root, which costs a key
    /// generation.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPrivateKey`] if the length is wrong for the set or the root does not match
    /// the seeds.
    pub fn from_bytes(set: SlhDsa, bytes: &[u8]) -> Result<Self, Error> {
        let invalid = Error::InvalidPrivateKey { suite: set.name() };
        let Some(seeds) = bytes
            .get(..set.seeds_bytes())
            .filter(|_| bytes.len() == set.private_key_bytes())
        else {
            return Err(invalid);
        };
        let expanded = with_set!(set, expand(seeds));
        if !bool::from(expanded.expose().ct_eq(bytes)) {
            return Err(invalid);
        }
        Ok(Self {
            set,
            bytes: expanded,
        })
    }

    /// Returns the parameter set.
    pub fn set(&self) -> SlhDsa {
        self.set
    }

    /// Returns the private key, for encoding.
    pub(crate) fn secret(&self) -> &SecretBytes {
        &self.bytes
    }

    /// Returns the public key, `PK.seed || PK.root`.
    pub fn public_key(&self) -> &[u8] {
        self.bytes
            .expose()
            .get(self.set.public_key_bytes()..)
            .unwrap_or_default()
    }

    /// Signs with hedged randomness.
    ///
    /// # Errors
    ///
    /// [`Error::ContextTooLong`] beyond 255 bytes; [`Error::Randomness`] if the system's generator
    /// fails.
    pub fn sign(&self, message: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let mut randomness = Zeroizing::new(vec![0; self.set.n()]);
        random::fill(&mut randomness)?;
        self.sign_with(message, context, Some(&randomness))
    }

    /// Signs with given randomness, or with none (the deterministic variant), for test vectors.
    ///
    /// # Errors
    ///
    /// As [`Self::sign`], and [`Error::Length`] unless the randomness has `n` bytes.
    #[cfg(feature = "hazmat")]
    pub fn sign_derand(
        &self,
        message: &[u8],
        context: &[u8],
        randomness: Option<&[u8]>,
    ) -> Result<Vec<u8>, Error> {
        self.sign_with(message, context, randomness)
    }

    fn sign_with(
        &self,
        message: &[u8],
        context: &[u8],
        randomness: Option<&[u8]>,
    ) -> Result<Vec<u8>, Error> {
        check_context(context)?;
        if let Some(actual) = randomness
            .map(<[u8]>::len)
            .filter(|len| *len != self.set.n())
        {
            let (what, expected) = ("signing randomness", self.set.n());
            return Err(Error::Length {
                what,
                actual,
                expected,
            });
        }
        with_set!(
            self.set,
            sign(self.bytes.expose(), message, context, randomness)
        )
    }
}

impl fmt::Debug for SlhSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlhSigningKey({}, ..)", self.set.name())
    }
}

/// A public key.
#[derive(Debug)]
pub struct SlhPublicKey {
    set: SlhDsa,
    bytes: Vec<u8>,
}

impl SlhPublicKey {
    /// Reads `PK.seed || PK.root`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the length is wrong for the set.
    pub fn new(set: SlhDsa, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != set.public_key_bytes() {
            return Err(Error::InvalidPublicKey { suite: set.name() });
        }
        let bytes = bytes.to_vec();
        Ok(Self { set, bytes })
    }

    /// Verifies a signature.
    ///
    /// # Errors
    ///
    /// [`Error::ContextTooLong`] beyond 255 bytes; [`Error::BadSignature`] for any other reason.
    pub fn verify(&self, message: &[u8], context: &[u8], signature: &[u8]) -> Result<(), Error> {
        check_context(context)?;
        if signature.len() != self.set.signature_bytes() {
            return Err(Error::BadSignature);
        }
        with_set!(self.set, verify(&self.bytes, message, context, signature))
    }

    /// Runs `slh_verify_internal`: verifies a signature over `message` itself, without the context
    /// prefix, for test vectors.
    ///
    /// # Errors
    ///
    /// [`Error::BadSignature`].
    #[cfg(feature = "hazmat")]
    pub fn verify_internal(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        if signature.len() != self.set.signature_bytes() {
            return Err(Error::BadSignature);
        }
        with_set!(self.set, verify_internal(&self.bytes, message, signature))
    }
}

#[cfg(feature = "hazmat")]
fn verify_internal<P: ParameterSet>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let key = Verifying::<P>::try_from(key).map_err(|_| Error::Internal)?;
    let signature = Signature::<P>::try_from(signature).map_err(|_| Error::BadSignature)?;
    key.slh_verify_internal(&[message], &signature)
        .map_err(|_| Error::BadSignature)
}

const fn check_context(context: &[u8]) -> Result<(), Error> {
    let actual = context.len();
    if actual > SlhDsa::CONTEXT_BYTES_MAX {
        return Err(Error::ContextTooLong { actual });
    }
    Ok(())
}

/// Runs `slh_keygen_internal`; `seeds` are three strings of `n` bytes.
fn expand<P: ParameterSet>(seeds: &[u8]) -> SecretBytes {
    let (sk_seed, rest) = seeds.split_at(seeds.len() / 3);
    let (sk_prf, pk_seed) = rest.split_at(rest.len() / 2);
    let key = Signing::<P>::slh_keygen_internal(sk_seed, sk_prf, pk_seed);
    let bytes = Zeroizing::new(key.to_bytes());
    SecretBytes::new(bytes.to_vec())
}

fn sign<P: ParameterSet>(
    key: &[u8],
    message: &[u8],
    context: &[u8],
    randomness: Option<&[u8]>,
) -> Result<Vec<u8>, Error> {
    let key = Signing::<P>::try_from(key).map_err(|_| Error::Internal)?;
    let signature = key
        .try_sign_with_context(message, context, randomness)
        .map_err(|_| Error::Internal)?;
    Ok(signature.to_vec())
}

fn verify<P: ParameterSet>(
    key: &[u8],
    message: &[u8],
    context: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let key = Verifying::<P>::try_from(key).map_err(|_| Error::Internal)?;
    let signature = Signature::<P>::try_from(signature).map_err(|_| Error::BadSignature)?;
    key.try_verify_with_context(message, context, &signature)
        .map_err(|_| Error::BadSignature)
}
