//! Protected training: rosters, channels, secure aggregation and masked all-reduce.

mod aggregate;
mod all_reduce;
mod channel;
mod policy;
mod roster;

pub(crate) use aggregate::{Aggregate, AggregationClient, AggregationRound, AggregationServer};
pub(crate) use all_reduce::{
    MaskedReduction, MaskedRing, RingConfirmation, RingMasker, RingRendezvous, RingUnmasker,
};
use casemate_train::TrainError;
pub(crate) use channel::{Channel, Initiator, Responder};
pub(crate) use policy::{Accountant, AggregationFloors, AggregationPolicy};
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

fn random(out: &mut [u8]) -> Result<(), casemate_crypto::Error> {
    casemate_crypto::random::fill(out)
}
