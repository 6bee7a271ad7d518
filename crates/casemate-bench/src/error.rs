//! Errors of the benchmarks.

/// Why a measurement failed or a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An algorithm failed its check before it was timed.
    #[error("{algorithm} failed its check: {what}")]
    Check {
        /// The algorithm.
        algorithm: String,
        /// What was checked.
        what: &'static str,
    },
    /// An operation of `casemate-crypto` failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
    /// A training channel failed.
    #[error(transparent)]
    Train(#[from] casemate_train::TrainError),
    /// Secure aggregation failed.
    #[error(transparent)]
    Aggregate(#[from] casemate_train::aggregate::AggregateError),
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
    #[error("cannot read or write")]
    Io(#[from] std::io::Error),
    /// A report is too long.
    #[error("report of {actual} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Length of the report, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A report is not JSON of the expected shape.
    #[error("not a benchmark report")]
    Report(#[source] serde_json::Error),
    /// A report contains long strings, control characters or far too many values.
    #[error("the report contains long strings, control characters or too many values")]
    Unshowable,
    /// A report is of another version.
    #[error("the report has the schema `{found}`, expected `{expected}`")]
    Schema {
        /// The schema of the report.
        found: String,
        /// The schema that this program reads.
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
