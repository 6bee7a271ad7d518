//! Errors of the object store's client, as those of the system.

use std::{error::Error, io};

use object_store::client::{HttpError, HttpErrorKind};

/// Maps errors of the object store to those of the system, so that callers can treat both alike.
pub(crate) fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error as E;
    let kind = match &error {
        E::NotFound { .. } => io::ErrorKind::NotFound,
        E::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        E::Precondition { .. } => {
            return io::Error::new(io::ErrorKind::ResourceBusy, Changed);
        }
        _ => {
            return match Unanswered::of(&error) {
                Some(Unanswered::Metadata) => {
                    io::Error::new(io::ErrorKind::PermissionDenied, Unanswered::Metadata)
                }
                Some(unanswered) => io::Error::other(unanswered),
                None => io::Error::other(error),
            };
        }
    };
    io::Error::new(kind, error)
}

/// Where clouds hand out credentials to their own machines.
const METADATA: [&str; 4] = [
    "http://169.254.169.254/",
    "http://169.254.170.2/",
    "http://metadata.google.internal/",
    "http://metadata/",
];

/// A request without an answer, in words that say what to do.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(
        "no credentials were found: set the variables of the store's own tools, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"
    )]
    Metadata,
    #[error("cannot reach {address}: {cause}")]
    Address { address: String, cause: String },
}

impl Unanswered {
    fn of(error: &object_store::Error) -> Option<Self> {
        let mut cause: &(dyn Error + 'static) = error;
        let mut http = None;
        while let Some(source) = cause.source() {
            http = http.or_else(|| source.downcast_ref::<HttpError>());
            cause = source;
        }
        let http = http?;
        // The client names the request in its text only.
        let text = error.to_string();
        let (_, request) = text.split_once("Error performing ")?;
        let address = request.split(' ').nth(1)?;
        // A server that hands out credentials answers there; elsewhere the request is not even
        // sent, because it goes without TLS.
        if METADATA.iter().any(|place| address.starts_with(place)) {
            return Some(Self::Metadata);
        }
        if http.kind() != HttpErrorKind::Connect {
            return None;
        }
        // The path and a signature behind it say nothing about the connection.
        let authority = address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Some(Self::Address {
            address: authority.escape_debug().to_string(),
            cause: cause.to_string(),
        })
    }
}

/// The object was replaced in the meantime.
#[derive(Debug, thiserror::Error)]
#[error("the object was replaced in the meantime")]
pub(crate) struct Changed;
