//! Errors of protected training.

use casemate_train::aggregate::AggregateError;

use super::{Fault, Outcome};

impl From<AggregateError> for Fault {
    fn from(error: AggregateError) -> Self {
        Self::from_error(Outcome::CheckFailed, error)
    }
}
