//! Hints for errors of object stores, the gateway and its clients.

use casemate_gateway::{ConnectError, GatewayError, LoadError, ServeError};
use casemate_tls::TlsError;

use super::{Fault, Outcome};

impl From<casemate_store::StoreError> for Fault {
    fn from(error: casemate_store::StoreError) -> Self {
        use casemate_store::StoreError as S;
        let (outcome, hint) = match &error {
            S::NotBuilt => return Self::not_built("object stores", "stores"),
            S::Url { .. } => (
                Outcome::Usage,
                "write s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY",
            ),
            S::Settings { .. } => (
                Outcome::Usage,
                "set credentials and settings in the environment: AWS_..., GOOGLE_..., AZURE_...",
            ),
            S::Profile { .. } => (
                Outcome::Usage,
                "run `eval \"$(aws configure export-credentials --format env)\"` to put its keys into the environment",
            ),
            S::ProfileFile { .. } => (
                Outcome::Io,
                "fix the file, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            S::Runtime(_) => (Outcome::Io, "try again"),
        };
        Self::from_error(outcome, error).hint(hint)
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let outcome = match &error {
            ConnectError::BadUrl(_) => Outcome::Usage,
            ConnectError::KeyDocument(_)
            | ConnectError::Ohttp(_)
            | ConnectError::Sign(_)
            | ConnectError::Sealed(_) => Outcome::CheckFailed,
            ConnectError::Unreachable { .. }
            | ConnectError::Timeout
            | ConnectError::Broken
            | ConnectError::Refused { .. }
            | ConnectError::OutcomeUnknown(_)
            | ConnectError::Message(_)
            | ConnectError::Crypto(_) => Outcome::Io,
        };
        let unreachable = matches!(error, ConnectError::Unreachable { .. });
        let fault = Self::from_error(outcome, error);
        if unreachable {
            return fault.hint(
                "check the address; if the gateway uses a private CA, pass its root certificate with --ca",
            );
        }
        fault
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        let outcome = match &error {
            LoadError::NotBuilt => return Self::not_built("ONNX engine", "onnx"),
            LoadError::File { .. } => Outcome::Io,
            LoadError::Artifact { .. } | LoadError::Model { .. } => Outcome::CheckFailed,
            LoadError::Folder(_)
            | LoadError::Withdrawn { .. }
            | LoadError::NameTaken(_)
            | LoadError::Empty => Outcome::Usage,
        };
        Self::from_error(outcome, error)
    }
}

impl From<GatewayError> for Fault {
    fn from(error: GatewayError) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        Self::from_error(Outcome::Io, error)
            .hint("choose another address, or stop the process that uses this one")
    }
}

impl From<TlsError> for Fault {
    fn from(error: TlsError) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}
