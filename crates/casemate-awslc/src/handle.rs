//! Owned AWS-LC handles, each freed once.

#![expect(unsafe_code, reason = "owns C objects; see SAFETY.md")]

use std::ptr::{self, NonNull};

use aws_lc_sys as sys;
use zeroize::Zeroizing;

use crate::Error;

/// Converts a return value to a result, and clears the thread's error queue on failure.
pub(crate) fn check(returned: i32, otherwise: Error) -> Result<(), Error> {
    if returned == 1 {
        return Ok(());
    }
    clear_errors();
    Err(otherwise)
}

pub(crate) fn clear_errors() {
    // SAFETY: takes no argument and changes only the calling thread's queue.
    unsafe { sys::ERR_clear_error() }
}

/// A key object, never changed after creation.
pub(crate) struct Pkey(NonNull<sys::EVP_PKEY>);

// SAFETY: SAFETY.md, 4: only reading functions are called once a `Pkey` exists.
unsafe impl Send for Pkey {}
// SAFETY: as above.
unsafe impl Sync for Pkey {}

impl Pkey {
    /// Takes ownership of the object that an AWS-LC constructor returned.
    pub(crate) fn adopt(raw: *mut sys::EVP_PKEY, otherwise: Error) -> Result<Self, Error> {
        NonNull::new(raw).map(Self).ok_or_else(|| {
            clear_errors();
            otherwise
        })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::EVP_PKEY {
        self.0.as_ptr()
    }

    /// Returns the public key in the standard's encoding, `len` bytes.
    pub(crate) fn raw_public_key(&self, len: usize) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; len];
        let mut written = out.len();
        // SAFETY: SAFETY.md, 1 and 2.
        let returned = unsafe {
            sys::EVP_PKEY_get_raw_public_key(self.as_ptr(), out.as_mut_ptr(), &raw mut written)
        };
        check(returned, Error::Internal)?;
        if written == len {
            Ok(out)
        } else {
            Err(Error::Internal)
        }
    }

    /// Returns the private key in the standard's expanded encoding, `len` bytes.
    pub(crate) fn raw_private_key(&self, len: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut out = Zeroizing::new(vec![0; len]);
        let mut written = out.len();
        // SAFETY: SAFETY.md, 1 and 2.
        let returned = unsafe {
            sys::EVP_PKEY_get_raw_private_key(self.as_ptr(), out.as_mut_ptr(), &raw mut written)
        };
        check(returned, Error::Internal)?;
        if written == len {
            Ok(out)
        } else {
            Err(Error::Internal)
        }
    }
}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: SAFETY.md, 1.
        unsafe { sys::EVP_PKEY_free(self.as_ptr()) }
    }
}

/// The context of one key operation.
pub(crate) struct PkeyCtx(NonNull<sys::EVP_PKEY_CTX>);

impl PkeyCtx {
    pub(crate) fn for_key(key: &Pkey) -> Result<Self, Error> {
        // SAFETY: SAFETY.md, 1; the context takes its own reference to the key.
        let raw = unsafe { sys::EVP_PKEY_CTX_new(key.as_ptr(), ptr::null_mut()) };
        NonNull::new(raw).map(Self).ok_or(Error::Internal)
    }

    pub(crate) fn for_kem_generation() -> Result<Self, Error> {
        // SAFETY: takes no pointer that must be valid.
        let raw = unsafe { sys::EVP_PKEY_CTX_new_id(sys::EVP_PKEY_KEM, ptr::null_mut()) };
        NonNull::new(raw).map(Self).ok_or(Error::Internal)
    }

    pub(crate) fn as_ptr(&mut self) -> *mut sys::EVP_PKEY_CTX {
        self.0.as_ptr()
    }
}

impl Drop for PkeyCtx {
    fn drop(&mut self) {
        // SAFETY: SAFETY.md, 1.
        unsafe { sys::EVP_PKEY_CTX_free(self.0.as_ptr()) }
    }
}

/// The context of one hash or signature operation.
pub(crate) struct MdCtx(NonNull<sys::EVP_MD_CTX>);

impl MdCtx {
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: takes no argument.
        let raw = unsafe { sys::EVP_MD_CTX_new() };
        NonNull::new(raw).map(Self).ok_or(Error::Internal)
    }

    pub(crate) fn as_ptr(&mut self) -> *mut sys::EVP_MD_CTX {
        self.0.as_ptr()
    }
}

impl Drop for MdCtx {
    fn drop(&mut self) {
        // SAFETY: SAFETY.md, 1.
        unsafe { sys::EVP_MD_CTX_free(self.0.as_ptr()) }
    }
}
