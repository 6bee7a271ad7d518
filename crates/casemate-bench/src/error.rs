//! Errors of the benchmarks.

/// Why a measurement could not be made or a report not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// An algorithm did not do what it should before it was timed.
    #[error("{algorithm} failed its check: {what}")]
    Check {
        /// The algorithm.
        algorithm: String,
        /// What went wrong.
        what: &'static str,
    },
    /// Our own cryptography refused.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] casemate_seal::SealError),
    /// Opening failed.
    #[error(transparent)]
    Open(#[from] casemate_seal::OpenError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] casemate_tls::TlsError),
    /// TLS failed.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// A file or socket failed.
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
    /// A report is too long to be one.
    #[error("report of {actual} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Bytes given.
        actual: usize,
        /// Longest report that is read.
        limit: usize,
    },
    /// A report is no JSON of the expected shape.
    #[error("not a benchmark report")]
    Report(#[source] serde_json::Error),
    /// A report holds long texts, control characters or far too many values.
    #[error("the report holds what no measurement writes")]
    Unshowable,
    /// A report is of another version.
    #[error("report has the schema `{found}`, expected `{expected}`")]
    Schema {
        /// What it says.
        found: String,
        /// What this program reads.
        expected: &'static str,
    },
}

impl From<aws_lc_rs::error::Unspecified> for BenchError {
    fn from(error: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto(error.into())
    }
}

impl From<aws_lc_rs::error::KeyRejected> for BenchError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Crypto(casemate_crypto::Error::Internal)
    }
}

impl From<casemate_awslc::Error> for BenchError {
    fn from(error: casemate_awslc::Error) -> Self {
        Self::Crypto(error.into())
    }
}

impl From<rcgen::Error> for BenchError {
    fn from(error: rcgen::Error) -> Self {
        Self::Tls(error.into())
    }
}
