//! SHAKE256 (FIPS 202).

#![expect(unsafe_code, reason = "calls AWS-LC; see SAFETY.md")]

use aws_lc_sys as sys;

use std::ptr;

use crate::{
    Error,
    handle::{MdCtx, check},
};

/// Fills `out` with SHAKE256 of the concatenation of `parts`.
///
/// # Errors
///
/// [`Error::Internal`] if AWS-LC runs out of memory.
pub fn shake256(parts: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    let mut md = MdCtx::new()?;
    // SAFETY: takes no argument; the result is a constant of the library.
    let algorithm = unsafe { sys::EVP_shake256() };
    // SAFETY: SAFETY.md, 1; no engine is used.
    let returned = unsafe { sys::EVP_DigestInit_ex(md.as_ptr(), algorithm, ptr::null_mut()) };
    check(returned, Error::Internal)?;
    for part in parts {
        // SAFETY: SAFETY.md, 2 and 3.
        let returned =
            unsafe { sys::EVP_DigestUpdate(md.as_ptr(), part.as_ptr().cast(), part.len()) };
        check(returned, Error::Internal)?;
    }
    // SAFETY: SAFETY.md, 2.
    let returned = unsafe { sys::EVP_DigestFinalXOF(md.as_ptr(), out.as_mut_ptr(), out.len()) };
    check(returned, Error::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First 32 bytes of SHAKE256 of the empty message, from NIST's example values.
    const EMPTY: [u8; 32] = [
        0x46, 0xb9, 0xdd, 0x2b, 0x0b, 0xa8, 0x8d, 0x13, 0x23, 0x3b, 0x3f, 0xeb, 0x74, 0x3e, 0xeb,
        0x24, 0x3f, 0xcd, 0x52, 0xea, 0x62, 0xb8, 0x1b, 0x82, 0xb5, 0x0c, 0x27, 0x64, 0x6e, 0xd5,
        0x76, 0x2f,
    ];

    #[test]
    fn the_empty_message_has_the_published_output_however_it_is_cut() {
        let mut out = [0; 32];
        shake256(&[], &mut out).unwrap();
        assert_eq!(out, EMPTY);
        shake256(&[b"", b""], &mut out).unwrap();
        assert_eq!(out, EMPTY);
        shake256(&[b"x"], &mut out).unwrap();
        assert_ne!(out, EMPTY);
    }
}
