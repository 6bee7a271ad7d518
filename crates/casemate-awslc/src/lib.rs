//! Safe calls to the AWS-LC functions that `aws-lc-rs` does not expose.
//!
//! It covers ML-KEM (FIPS 203) with keys from a seed and derandomised encapsulation, ML-DSA (FIPS
//! 204) with a context string, and SHAKE256 (FIPS 202). `SAFETY.md` states what the unsafe code
//! relies on.
//!
//! ```
//! use casemate_awslc::shake256;
//!
//! let mut out = [0; 4];
//! shake256(&[b""], &mut out)?;
//! assert_eq!(out, [0x46, 0xb9, 0xdd, 0x2b]); // FIPS 202, of no message
//! # Ok::<(), casemate_awslc::Error>(())
//! ```

mod handle;
mod mldsa;
mod mlkem;
mod shake;

pub use mldsa::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};
pub use mlkem::{Encapsulation, MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey};
pub use shake::shake256;

/// Why an AWS-LC operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a valid key of this parameter set: wrong length, or a coefficient out of
    /// range.
    #[error("not a valid {algorithm} key")]
    InvalidKey {
        /// The parameter set's name.
        algorithm: &'static str,
    },
    /// A ciphertext has the wrong length for its parameter set.
    #[error("{algorithm} ciphertext of {actual} bytes, expected {expected}")]
    CiphertextLength {
        /// The parameter set's name.
        algorithm: &'static str,
        /// Length given, in bytes.
        actual: usize,
        /// Length for this parameter set, in bytes.
        expected: usize,
    },
    /// A context string is longer than the 255 bytes that FIPS 204 allows.
    #[error("context of {actual} bytes exceeds 255")]
    ContextTooLong {
        /// Length given, in bytes.
        actual: usize,
    },
    /// The signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// AWS-LC failed for a reason outside the caller's control, such as lack of memory.
    #[error("internal error in AWS-LC")]
    Internal,
}
