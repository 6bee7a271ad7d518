//! Hints for errors of the benchmark.

use casemate_bench::BenchError;

use super::{Fault, Outcome};

impl From<BenchError> for Fault {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Seal(error) => error.into(),
            BenchError::Open(error) => error.into(),
            BenchError::Tls(error) => error.into(),
            BenchError::Aggregate(error) => error.into(),
            error @ (BenchError::Io(_) | BenchError::Rustls(_)) => {
                Self::from_error(Outcome::Io, error)
            }
            error @ (BenchError::Report(_)
            | BenchError::Schema { .. }
            | BenchError::Unshowable
            | BenchError::TooLong { .. }) => Self::from_error(Outcome::Usage, error)
                .hint("pass a file written by `casemate bench --json`"),
            error @ (BenchError::Check { .. } | BenchError::Crypto(_) | BenchError::Train(_)) => {
                Self::from_error(Outcome::CheckFailed, error)
            }
        }
    }
}
