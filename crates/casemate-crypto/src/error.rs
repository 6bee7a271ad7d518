//! Errors of this crate.

use crate::holder::HolderError;

/// Why a cryptographic operation failed.
///
/// Every failure that depends on a secret is [`Error::Rejected`], so the error reveals one bit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A tag, a key or a ciphertext did not match.
    #[error("authentication failed: wrong key, or the data was changed")]
    Rejected,
    /// A signature does not verify: wrong key, data or purpose, or it was changed.
    #[error("signature does not verify")]
    BadSignature,
    /// Public input has the wrong length.
    #[error("{what} of {actual} bytes, expected {expected}")]
    Length {
        /// The input.
        what: &'static str,
        /// Actual length, in bytes.
        actual: usize,
        /// Expected length, in bytes.
        expected: usize,
    },
    /// The length of a key for another program is out of range.
    #[error("key length of {actual} bytes is not between 16 and 1024")]
    KeyLength {
        /// Length requested, in bytes.
        actual: usize,
    },
    /// A public key is not valid for its suite.
    #[error("not a valid {suite} public key")]
    InvalidPublicKey {
        /// The suite's name.
        suite: &'static str,
    },
    /// A private key is not valid for its suite.
    #[error("not a valid {suite} private key")]
    InvalidPrivateKey {
        /// The suite's name.
        suite: &'static str,
    },
    /// A context exceeds 255 bytes.
    #[error("context of {actual} bytes exceeds 255")]
    ContextTooLong {
        /// Length given, in bytes.
        actual: usize,
    },
    /// A message that begins like the input of a composite signature was given to a
    /// single-algorithm key.
    #[error("message begins with the composite signature prefix")]
    CompositePrefix,
    /// An HPKE context has used every nonce.
    #[error("HPKE context is exhausted")]
    Exhausted,
    /// The KDF cannot produce the requested length of key material.
    #[error("{asked} bytes of key material exceed the limit of {limit}")]
    ExportTooLong {
        /// Length requested, in bytes.
        asked: usize,
        /// Maximum output of the KDF, in bytes.
        limit: usize,
    },
    /// A secret cannot be shared like this.
    #[error(
        "{needed} of {holders} shares cannot restore a secret: the threshold must be 2 to the number of shares, at most 255"
    )]
    Threshold {
        /// Shares that restore it.
        needed: usize,
        /// All shares.
        holders: usize,
    },
    /// The holder of the key did not use it.
    #[error(transparent)]
    Holder(HolderError),
    /// The private key is held elsewhere, and this needs the key itself.
    #[error("the private key is held elsewhere and cannot be used for this")]
    HeldElsewhere,
    /// The system's random number generator failed.
    #[error("the system's random number generator failed")]
    Randomness,
    /// The cryptographic library failed for a reason outside the caller's control, such as lack of
    /// memory.
    #[error("internal error in the cryptographic library")]
    Internal,
}

impl From<HolderError> for Error {
    fn from(error: HolderError) -> Self {
        match error {
            HolderError::Rejected => Self::Rejected,
            HolderError::Failed(_) => Self::Holder(error),
        }
    }
}

impl From<aws_lc_rs::error::Unspecified> for Error {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Internal
    }
}

impl From<casemate_awslc::Error> for Error {
    fn from(error: casemate_awslc::Error) -> Self {
        match error {
            casemate_awslc::Error::BadSignature => Self::BadSignature,
            casemate_awslc::Error::ContextTooLong { actual } => Self::ContextTooLong { actual },
            casemate_awslc::Error::InvalidKey { algorithm } => {
                Self::InvalidPublicKey { suite: algorithm }
            }
            casemate_awslc::Error::CiphertextLength {
                actual, expected, ..
            } => Self::Length {
                what: "ML-KEM ciphertext",
                actual,
                expected,
            },
            casemate_awslc::Error::Internal => Self::Internal,
        }
    }
}
