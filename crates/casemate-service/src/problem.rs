//! Refusals (RFC 9457).

use casemate_keys::{EngineError, StoreError};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

/// A problem on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProblemBody {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// No such key, or none that this client may see.
    pub(crate) fn no_key() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "the key service has no such key for this client",
        )
    }

    pub(crate) fn rejected() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "authentication failed: wrong key, or the data was changed",
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the key service failed")
    }

    pub(crate) fn stopped() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the key service is stopping",
        )
    }

    pub(crate) fn to_response(&self) -> Response<Full<Bytes>> {
        let body = ProblemBody {
            title: self
                .status
                .canonical_reason()
                .unwrap_or("Refused")
                .to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status;
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        use StoreError as E;
        let status = match &error {
            E::NotInUse { .. } | E::NotValid { .. } | E::UsedUp { .. } | E::NoPrivateKey(_) => {
                StatusCode::FORBIDDEN
            }
            E::MissingRow(_) | E::NoKey(_) => return Self::no_key(),
            E::NameTaken(_)
            | E::KeyTaken(_)
            | E::Transition { .. }
            | E::VersionsFull(_)
            | E::OtherKind(_)
            | E::WasCompromised(_)
            | E::Full(_) => StatusCode::CONFLICT,
            E::UnknownSuite(_) | E::BadName(_) | E::PlaceTooLong(_) => StatusCode::BAD_REQUEST,
            E::NoVersion { .. } | E::NoLog | E::NoEntry { .. } => StatusCode::NOT_FOUND,
            E::Engine(EngineError::Conflict) => StatusCode::SERVICE_UNAVAILABLE,
            E::Engine(EngineError::Unknown) => StatusCode::GATEWAY_TIMEOUT,
            E::Engine(_) | E::LogReadOnly => {
                // What the storage says is for whoever runs the service.
                tracing::error!(error = chain(&error), "the key store cannot be used");
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the key store cannot be reached or written; nothing was done",
                );
            }
            _ => {
                tracing::error!(error = chain(&error), "the key store is damaged");
                return Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the key store is damaged; the log of the service says where",
                );
            }
        };
        Self::new(status, error.to_string())
    }
}

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    causes.join(": ")
}
