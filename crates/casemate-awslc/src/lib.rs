//! Safe calls to the AWS-LC functions that `aws-lc-rs` does not expose.
//!
//! Three things are here and nothing else: ML-KEM (FIPS 203) keys from a seed with derandomised encapsulation,
//! ML-DSA (FIPS 204) with a context string, and SHAKE256 (FIPS 202). `SAFETY.md` says what the unsafe code rests on.

mod handle;
mod mldsa;
mod mlkem;
mod shake;

pub use mldsa::{MlDsa, MlDsaPublicKey, MlDsaSigningKey};
pub use mlkem::{Encapsulation, MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey};
pub use shake::shake256;

/// Why AWS-LC refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no valid key of this parameter set: wrong length, or a coefficient out of range.
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
        /// Bytes given.
        actual: usize,
        /// Bytes this parameter set has.
        expected: usize,
    },
    /// A context string is longer than the 255 bytes FIPS 204 allows.
    #[error("context of {actual} bytes exceeds 255")]
    ContextTooLong {
        /// Bytes given.
        actual: usize,
    },
    /// The signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// AWS-LC failed for a reason that is not the caller's, such as lack of memory.
    #[error("AWS-LC reported an internal failure")]
    Internal,
}
