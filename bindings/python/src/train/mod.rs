//! Protected training: rosters, channels and secure aggregation.

mod aggregate;
mod channel;
mod roster;

pub(crate) use aggregate::{
    Accountant, Aggregate, AggregationClient, AggregationFloors, AggregationPolicy,
    AggregationRound, AggregationServer,
};
use casemate_train::TrainError;
pub(crate) use channel::{Channel, Initiator, Responder};
use pyo3::prelude::*;
pub(crate) use roster::{Roster, sign_roster};

use crate::error::{CasemateError, VerificationError, chain};

/// Converts an error: what another party sent or signed fails as a verification.
pub(crate) fn from_train(error: TrainError) -> PyErr {
    use TrainError as T;
    let text = chain(&error);
    match error {
        T::RosterSignature
        | T::RosterJob
        | T::RosterEpoch { .. }
        | T::Phase { .. }
        | T::Handshake { .. }
        | T::Sequence { .. }
        | T::Rejected { .. } => VerificationError::new_err(text),
        _ => CasemateError::new_err(text),
    }
}
