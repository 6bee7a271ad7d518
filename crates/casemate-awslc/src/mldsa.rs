//! ML-DSA (FIPS 204), pure mode, with a context string.

#![expect(unsafe_code, reason = "calls AWS-LC; see SAFETY.md")]

use std::{fmt, ptr};

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::{
    Error,
    handle::{MdCtx, Pkey, check},
};

/// A parameter set of ML-DSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MlDsa {
    /// ML-DSA-44, NIST security category 2. For the checkpoints of audit logs, for which C2SP
    /// defines nothing else, and for test vectors; no suite of Casemate uses it.
    MlDsa44,
    /// ML-DSA-65, NIST security category 3.
    MlDsa65,
    /// ML-DSA-87, NIST security category 5.
    MlDsa87,
}

impl MlDsa {
    /// Length of the private seed, the same for every parameter set, in bytes.
    pub const SEED_BYTES: usize = 32;
    /// Maximum length of a context string, in bytes.
    pub const CONTEXT_BYTES_MAX: usize = 255;

    /// Returns the standard's name for the parameter set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// Returns the length of a public key, in bytes.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Returns the length of a signature, in bytes.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// Returns the length of a private key in the expanded form of FIPS 204, in bytes.
    pub const fn expanded_key_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 2560,
            Self::MlDsa65 => 4032,
            Self::MlDsa87 => 4896,
        }
    }

    const fn nid(self) -> i32 {
        match self {
            Self::MlDsa44 => sys::NID_MLDSA44,
            Self::MlDsa65 => sys::NID_MLDSA65,
            Self::MlDsa87 => sys::NID_MLDSA87,
        }
    }

    const fn invalid_key(self) -> Error {
        Error::InvalidKey {
            algorithm: self.name(),
        }
    }
}

type DigestInit = unsafe extern "C" fn(
    *mut sys::EVP_MD_CTX,
    *mut *mut sys::EVP_PKEY_CTX,
    *const sys::EVP_MD,
    *mut sys::ENGINE,
    *mut sys::EVP_PKEY,
) -> i32;

/// Creates a one-shot context for `key` with `context` set.
fn operation(init: DigestInit, key: &Pkey, context: &[u8]) -> Result<MdCtx, Error> {
    if context.len() > MlDsa::CONTEXT_BYTES_MAX {
        return Err(Error::ContextTooLong {
            actual: context.len(),
        });
    }
    let mut md = MdCtx::new()?;
    let mut pkey_ctx = ptr::null_mut();
    // SAFETY: SAFETY.md, 1; ML-DSA takes no digest and no engine, so both are null.
    let returned = unsafe {
        init(
            md.as_ptr(),
            &raw mut pkey_ctx,
            ptr::null(),
            ptr::null_mut(),
            key.as_ptr(),
        )
    };
    check(returned, Error::Internal)?;
    // SAFETY: SAFETY.md, 2 and 3; `pkey_ctx` belongs to `md`, which outlives the call.
    let returned = unsafe {
        sys::EVP_PKEY_CTX_set_signature_context(pkey_ctx, context.as_ptr(), context.len())
    };
    check(returned, Error::Internal)?;
    Ok(md)
}

/// The private half, expanded from its seed.
pub struct MlDsaSigningKey {
    set: MlDsa,
    key: Pkey,
}

impl MlDsaSigningKey {
    /// Expands the 32-byte seed (FIPS 204, `ML-DSA.KeyGen_internal`).
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn from_seed(set: MlDsa, seed: &[u8; MlDsa::SEED_BYTES]) -> Result<Self, Error> {
        // SAFETY: SAFETY.md, 2.
        let raw = unsafe {
            sys::EVP_PKEY_pqdsa_new_raw_private_key(set.nid(), seed.as_ptr(), seed.len())
        };
        Ok(Self {
            set,
            key: Pkey::adopt(raw, Error::Internal)?,
        })
    }

    /// Returns the public key in the encoding of FIPS 204.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn public_key(&self) -> Result<Vec<u8>, Error> {
        self.key.raw_public_key(self.set.public_key_bytes())
    }

    /// Returns the private key in the expanded form of FIPS 204, for comparing key files with their
    /// seed.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.key.raw_private_key(self.set.expanded_key_bytes())
    }

    /// Signs with hedged randomness.
    ///
    /// # Errors
    ///
    /// [`Error::ContextTooLong`] if `context` exceeds 255 bytes.
    pub fn sign(&self, message: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
        let mut md = operation(sys::EVP_DigestSignInit, &self.key, context)?;
        let mut signature = vec![0; self.set.signature_bytes()];
        let mut written = signature.len();
        // SAFETY: SAFETY.md, 1, 2 and 3.
        let returned = unsafe {
            sys::EVP_DigestSign(
                md.as_ptr(),
                signature.as_mut_ptr(),
                &raw mut written,
                message.as_ptr(),
                message.len(),
            )
        };
        check(returned, Error::Internal)?;
        if written == signature.len() {
            Ok(signature)
        } else {
            Err(Error::Internal)
        }
    }
}

impl fmt::Debug for MlDsaSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MlDsaSigningKey({:?}, ..)", self.set)
    }
}

/// The public half, which verifies signatures.
pub struct MlDsaPublicKey {
    set: MlDsa,
    key: Pkey,
}

impl MlDsaPublicKey {
    /// Reads a public key in the encoding of FIPS 204.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the length is wrong for the parameter set.
    pub fn new(set: MlDsa, bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: SAFETY.md, 2.
        let raw = unsafe {
            sys::EVP_PKEY_pqdsa_new_raw_public_key(set.nid(), bytes.as_ptr(), bytes.len())
        };
        Ok(Self {
            set,
            key: Pkey::adopt(raw, set.invalid_key())?,
        })
    }

    /// Verifies a signature over `message` made under `context`.
    ///
    /// # Errors
    ///
    /// - [`Error::ContextTooLong`] if `context` exceeds 255 bytes.
    /// - [`Error::BadSignature`] if it does not verify, for any reason.
    pub fn verify(&self, message: &[u8], context: &[u8], signature: &[u8]) -> Result<(), Error> {
        if signature.len() != self.set.signature_bytes() {
            return Err(Error::BadSignature);
        }
        let mut md = operation(sys::EVP_DigestVerifyInit, &self.key, context)?;
        // SAFETY: SAFETY.md, 1, 2 and 3.
        let returned = unsafe {
            sys::EVP_DigestVerify(
                md.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                message.as_ptr(),
                message.len(),
            )
        };
        check(returned, Error::BadSignature)
    }
}

impl fmt::Debug for MlDsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MlDsaPublicKey").field(&self.set).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_context_only() {
        let key = MlDsaSigningKey::from_seed(MlDsa::MlDsa65, &[3; 32]).unwrap();
        let public = MlDsaPublicKey::new(MlDsa::MlDsa65, &key.public_key().unwrap()).unwrap();
        let signature = key.sign(b"message", b"context").unwrap();
        assert_eq!(public.verify(b"message", b"context", &signature), Ok(()));
        assert_eq!(
            public.verify(b"messagf", b"context", &signature),
            Err(Error::BadSignature)
        );
        assert_eq!(
            public.verify(b"message", b"", &signature),
            Err(Error::BadSignature)
        );
        assert_eq!(
            public.verify(b"message", b"context", b""),
            Err(Error::BadSignature)
        );
    }

    #[test]
    fn a_context_of_255_bytes_is_signed_and_one_more_is_refused() {
        let key = MlDsaSigningKey::from_seed(MlDsa::MlDsa87, &[3; 32]).unwrap();
        let public = MlDsaPublicKey::new(MlDsa::MlDsa87, &key.public_key().unwrap()).unwrap();
        let signature = key.sign(b"", &[1; 255]).unwrap();
        assert_eq!(public.verify(b"", &[1; 255], &signature), Ok(()));
        assert_eq!(
            key.sign(b"", &[1; 256]),
            Err(Error::ContextTooLong { actual: 256 })
        );
    }
}
