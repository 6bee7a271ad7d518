//! Owned secrets: zeroized on drop, never printed, compared in constant time.

use std::fmt;

use casemate_memory::Protected;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, random};

/// A secret of exactly `N` bytes.
///
/// It has no `Clone`, `PartialEq` or `Serialize`. [`Secret::expose`] is the only access to its
/// bytes, so a search for that name finds every use.
pub struct Secret<const N: usize>(Protected<N>);

impl<const N: usize> Secret<N> {
    /// Moves existing secret bytes in and zeroizes the caller's copy.
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        bytes.zeroize();
        secret
    }

    /// Copies a slice of exactly `N` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the slice has the wrong length.
    pub fn copy_from(what: &'static str, bytes: &[u8]) -> Result<Self, Error> {
        let mut secret = Self::zeroed();
        if bytes.len() != N {
            return Err(Error::Length {
                what,
                actual: bytes.len(),
                expected: N,
            });
        }
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }

    /// Fills a new secret in place.
    ///
    /// # Errors
    ///
    /// The error of `fill`.
    pub fn try_init<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self::zeroed();
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// Generates a secret with the system's random number generator.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the generator fails.
    pub fn random() -> Result<Self, Error> {
        Self::try_init(|bytes| random::fill(bytes))
    }

    /// Returns the bytes, for a cryptographic operation.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    fn zeroed() -> Self {
        Self(Protected::zeroed())
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

/// A secret of variable length, such as a passphrase or a private key file.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of a buffer.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, for a cryptographic operation.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_type_and_none_of_the_bytes() {
        let secret = Secret::take(&mut [0x5a; 4]);
        assert_eq!(format!("{secret:?}"), "Secret<4>(..)");
        let bytes = SecretBytes::new(b"passphrase".to_vec());
        assert_eq!(format!("{bytes:?}"), "SecretBytes(..)");
    }

    #[test]
    fn taking_clears_the_source_and_other_lengths_are_refused() {
        let mut source = [7; 3];
        let secret = Secret::take(&mut source);
        assert_eq!((source, secret.expose()), ([0; 3], &[7; 3]));
        let refused = Secret::<3>::copy_from("salt", &[0; 4]).unwrap_err();
        assert_eq!(refused.to_string(), "salt of 4 bytes, expected 3");
    }

    #[test]
    fn equality_looks_at_every_byte() {
        let secret = Secret::take(&mut [1, 2, 3]);
        assert!(secret.ct_eq(&Secret::take(&mut [1, 2, 3])));
        assert!(!secret.ct_eq(&Secret::take(&mut [1, 2, 4])));
    }
}
