//! Errors of this crate.

/// Why a cryptographic operation was refused.
///
/// Failures that depend on a secret are all [`Error::Rejected`], so whoever sees the error learns one bit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tag, a key or a ciphertext did not match.
    #[error("authentication failed: wrong key, or the data was changed")]
    Rejected,
    /// A signature does not verify: another key, other data, another purpose, or it was changed.
    #[error("signature does not verify")]
    BadSignature,
    /// Public input has the wrong length.
    #[error("{what} of {actual} bytes, expected {expected}")]
    Length {
        /// What was measured.
        what: &'static str,
        /// Bytes given.
        actual: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A key for another program of a length that is not offered.
    #[error("a key of {actual} bytes was asked for: its length must be 16 to 1024")]
    KeyLength {
        /// Bytes asked for.
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
        /// Bytes given.
        actual: usize,
    },
    /// A message that starts like a composite signature's input was given to a single-algorithm key.
    #[error("message begins with the composite signature prefix")]
    CompositePrefix,
    /// An HPKE context has sealed or opened as many messages as its nonce allows.
    #[error("HPKE context is exhausted")]
    Exhausted,
    /// More key material was asked for than the KDF can give.
    #[error("asked for {asked} bytes of key material, the limit is {limit}")]
    ExportTooLong {
        /// Bytes asked for.
        asked: usize,
        /// Most the KDF gives.
        limit: usize,
    },
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Randomness,
    /// The cryptographic library failed for a reason that is not the caller's, such as lack of memory.
    #[error("the cryptographic library reported an internal failure")]
    Internal,
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
            _ => Self::Internal,
        }
    }
}
