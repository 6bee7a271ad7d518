//! ML-KEM (FIPS 203) with keys expanded from the 64-byte seed `d || z`.

#![expect(unsafe_code, reason = "calls AWS-LC; see SAFETY.md")]

use std::{fmt, ptr};

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::{
    Error,
    handle::{Pkey, PkeyCtx, check},
};

/// A parameter set of ML-KEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MlKem {
    /// ML-KEM-512, NIST security category 1. For test vectors only; no suite of Casemate uses it.
    MlKem512,
    /// ML-KEM-768, NIST security category 3.
    MlKem768,
    /// ML-KEM-1024, NIST security category 5.
    MlKem1024,
}

impl MlKem {
    /// Length of the private seed `d || z`, the same for every parameter set, in bytes.
    pub const SEED_BYTES: usize = 64;
    /// Length of the encapsulation randomness `m`, in bytes.
    pub const RANDOMNESS_BYTES: usize = 32;
    /// Length of the shared secret, in bytes.
    pub const SHARED_SECRET_BYTES: usize = 32;

    /// Returns the standard's name for the parameter set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        }
    }

    /// Returns the length of an encapsulation key, in bytes.
    pub const fn encapsulation_key_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Returns the length of a ciphertext, in bytes.
    pub const fn ciphertext_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    /// Returns the length of a decapsulation key in the expanded form of FIPS 203, in bytes.
    pub const fn expanded_key_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 1632,
            Self::MlKem768 => 2400,
            Self::MlKem1024 => 3168,
        }
    }

    const fn nid(self) -> i32 {
        match self {
            Self::MlKem512 => sys::NID_MLKEM512,
            Self::MlKem768 => sys::NID_MLKEM768,
            Self::MlKem1024 => sys::NID_MLKEM1024,
        }
    }

    const fn invalid_key(self) -> Error {
        Error::InvalidKey {
            algorithm: self.name(),
        }
    }
}

/// A ciphertext and the secret it encapsulates.
pub struct Encapsulation {
    /// The ciphertext to send to the holder of the decapsulation key.
    pub ciphertext: Vec<u8>,
    /// The secret shared with the holder of the decapsulation key.
    pub shared_secret: Zeroizing<[u8; MlKem::SHARED_SECRET_BYTES]>,
}

impl fmt::Debug for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encapsulation").finish_non_exhaustive()
    }
}

/// The public half, which encapsulates shared secrets.
pub struct MlKemEncapsulationKey {
    set: MlKem,
    key: Pkey,
}

impl MlKemEncapsulationKey {
    /// Reads an encapsulation key in the encoding of FIPS 203.
    ///
    /// The modulus check of FIPS 203, section 7.2, runs when the key is used.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the length is wrong for the parameter set.
    pub fn new(set: MlKem, bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: SAFETY.md, 2.
        let raw =
            unsafe { sys::EVP_PKEY_kem_new_raw_public_key(set.nid(), bytes.as_ptr(), bytes.len()) };
        Ok(Self {
            set,
            key: Pkey::adopt(raw, set.invalid_key())?,
        })
    }

    /// Encapsulates a shared secret with the given randomness `m`, for test vectors and hybrid
    /// constructions.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the key has a coefficient that is not below the modulus.
    ///
    /// # Security
    ///
    /// `randomness` must be fresh and secret; anyone who knows it knows the shared secret.
    pub fn encapsulate_derand(
        &self,
        randomness: &[u8; MlKem::RANDOMNESS_BYTES],
    ) -> Result<Encapsulation, Error> {
        let mut ciphertext = vec![0; self.set.ciphertext_bytes()];
        let mut ciphertext_len = ciphertext.len();
        let mut shared_secret = Zeroizing::new([0; MlKem::SHARED_SECRET_BYTES]);
        let mut secret_len = shared_secret.len();
        let mut seed_len = randomness.len();
        let mut ctx = PkeyCtx::for_key(&self.key)?;
        // SAFETY: SAFETY.md, 1 and 2.
        let returned = unsafe {
            sys::EVP_PKEY_encapsulate_deterministic(
                ctx.as_ptr(),
                ciphertext.as_mut_ptr(),
                &raw mut ciphertext_len,
                shared_secret.as_mut_ptr(),
                &raw mut secret_len,
                randomness.as_ptr(),
                &raw mut seed_len,
            )
        };
        check(returned, self.set.invalid_key())?;
        if ciphertext_len != ciphertext.len() || secret_len != shared_secret.len() {
            return Err(Error::Internal);
        }
        Ok(Encapsulation {
            ciphertext,
            shared_secret,
        })
    }
}

impl fmt::Debug for MlKemEncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MlKemEncapsulationKey")
            .field(&self.set)
            .finish()
    }
}

/// The private half, expanded from its seed.
pub struct MlKemDecapsulationKey {
    set: MlKem,
    key: Pkey,
}

impl MlKemDecapsulationKey {
    /// Expands the seed `d || z` (FIPS 203, `ML-KEM.KeyGen_internal`).
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn from_seed(set: MlKem, seed: &[u8; MlKem::SEED_BYTES]) -> Result<Self, Error> {
        let mut ctx = PkeyCtx::for_kem_generation()?;
        // SAFETY: SAFETY.md, 1.
        let returned = unsafe { sys::EVP_PKEY_CTX_kem_set_params(ctx.as_ptr(), set.nid()) };
        check(returned, Error::Internal)?;
        // SAFETY: SAFETY.md, 1.
        let returned = unsafe { sys::EVP_PKEY_keygen_init(ctx.as_ptr()) };
        check(returned, Error::Internal)?;
        let mut raw = ptr::null_mut();
        let mut seed_len = seed.len();
        // SAFETY: SAFETY.md, 1 and 2; `raw` is null, so AWS-LC allocates the key.
        let returned = unsafe {
            sys::EVP_PKEY_keygen_deterministic(
                ctx.as_ptr(),
                &raw mut raw,
                seed.as_ptr(),
                &raw mut seed_len,
            )
        };
        check(returned, Error::Internal)?;
        Ok(Self {
            set,
            key: Pkey::adopt(raw, Error::Internal)?,
        })
    }

    /// Returns the encapsulation key in the encoding of FIPS 203.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn encapsulation_key(&self) -> Result<Vec<u8>, Error> {
        self.key.raw_public_key(self.set.encapsulation_key_bytes())
    }

    /// Returns the decapsulation key in the expanded form of FIPS 203, for comparing key files with
    /// their seed.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.key.raw_private_key(self.set.expanded_key_bytes())
    }

    /// Recovers the shared secret.
    ///
    /// A changed ciphertext yields a different, unpredictable secret, not an error (implicit
    /// rejection, FIPS 203, section 6.3).
    ///
    /// # Errors
    ///
    /// [`Error::CiphertextLength`] if the ciphertext does not have the length of the parameter set.
    pub fn decapsulate(
        &self,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<[u8; MlKem::SHARED_SECRET_BYTES]>, Error> {
        let expected = self.set.ciphertext_bytes();
        if ciphertext.len() != expected {
            let (algorithm, actual) = (self.set.name(), ciphertext.len());
            return Err(Error::CiphertextLength {
                algorithm,
                actual,
                expected,
            });
        }
        let mut shared_secret = Zeroizing::new([0; MlKem::SHARED_SECRET_BYTES]);
        let mut secret_len = shared_secret.len();
        let mut ctx = PkeyCtx::for_key(&self.key)?;
        // SAFETY: SAFETY.md, 1 and 2.
        let returned = unsafe {
            sys::EVP_PKEY_decapsulate(
                ctx.as_ptr(),
                shared_secret.as_mut_ptr(),
                &raw mut secret_len,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        check(returned, Error::Internal)?;
        if secret_len == shared_secret.len() {
            Ok(shared_secret)
        } else {
            Err(Error::Internal)
        }
    }
}

impl fmt::Debug for MlKemDecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MlKemDecapsulationKey({:?}, ..)", self.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_ciphertext_gives_another_secret_and_a_cut_one_an_error() {
        let key = MlKemDecapsulationKey::from_seed(MlKem::MlKem768, &[7; 64]).unwrap();
        let public =
            MlKemEncapsulationKey::new(MlKem::MlKem768, &key.encapsulation_key().unwrap()).unwrap();
        let mut sent = public.encapsulate_derand(&[9; 32]).unwrap();
        assert_eq!(
            key.decapsulate(&sent.ciphertext).unwrap(),
            sent.shared_secret
        );

        sent.ciphertext[5] ^= 1;
        assert_ne!(
            key.decapsulate(&sent.ciphertext).unwrap(),
            sent.shared_secret
        );
        let refused = key.decapsulate(&sent.ciphertext[1..]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "ML-KEM-768 ciphertext of 1087 bytes, expected 1088"
        );
    }

    #[test]
    fn an_encapsulation_key_with_a_coefficient_at_the_modulus_is_refused() {
        let key = MlKemDecapsulationKey::from_seed(MlKem::MlKem1024, &[1; 64]).unwrap();
        let mut bytes = key.encapsulation_key().unwrap();
        // The first 12-bit coefficient becomes q = 3329 = 0xd01.
        bytes[0] = 0x01;
        bytes[1] = (bytes[1] & 0xf0) | 0x0d;
        let refused = MlKemEncapsulationKey::new(MlKem::MlKem1024, &bytes)
            .and_then(|public| public.encapsulate_derand(&[0; 32]))
            .unwrap_err();
        assert_eq!(
            refused,
            Error::InvalidKey {
                algorithm: "ML-KEM-1024"
            }
        );
    }
}
