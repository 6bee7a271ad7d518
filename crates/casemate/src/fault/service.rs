//! Hints for key services.

use casemate_client::ClientError;
use casemate_service::RemoteError as E;

use super::{Fault, Outcome};

impl From<E> for Fault {
    fn from(error: E) -> Self {
        Self::hinted((outcome(&error), hint(&error)), error)
    }
}

fn outcome(error: &E) -> Outcome {
    match error {
        E::Refused { status, .. } => match status.as_u16() {
            403 => Outcome::NotPermitted,
            422 => Outcome::CheckFailed,
            400..=499 => Outcome::Usage,
            _ => Outcome::Io,
        },
        E::Waiting => Outcome::NotPermitted,
        E::Damaged(_) | E::Malformed => Outcome::CheckFailed,
        E::Url(_) | E::Tls(_) | E::TooLong(_) => Outcome::Usage,
        E::Unreachable { .. } => Outcome::Io,
    }
}

fn hint(error: &E) -> Option<&'static str> {
    Some(match error {
        E::Refused { status, .. } if status.as_u16() == 403 => {
            "ask the operator of the key service for a grant"
        }
        E::Refused { status, .. } if status.as_u16() == 404 => {
            "run `casemate keys list` to see the keys that you may use"
        }
        E::Waiting => "have another client run the same command",
        E::Unreachable {
            source: ClientError::Broken(_) | ClientError::Timeout,
            ..
        } => "the request may have been carried out: check, then retry",
        E::Unreachable { .. } => {
            "check the address, its certificate and ours in `key-service.toml`, and that the service runs"
        }
        E::Damaged(_) => "tell the operator of the key service",
        _ => return None,
    })
}
