//! Errors of object stores.

use std::{io, path::PathBuf};

/// Why an object store could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is not valid or not supported.
    #[error("`{url}` {rule}")]
    Url {
        /// The address, without user and password.
        url: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Credentials or settings are missing or wrong.
    #[error("cannot use the object store of {url}")]
    Settings {
        /// The address.
        url: String,
        /// The client's error.
        #[source]
        source: io::Error,
    },
    /// A profile in `~/.aws` cannot be used.
    #[error("the AWS profile `{}` {rule}", name.escape_debug())]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        rule: String,
    },
    /// A file in `~/.aws` cannot be read.
    #[error("cannot read AWS profiles from {}", path.display())]
    ProfileFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The runtime for network requests could not be started.
    #[error("cannot start the runtime for network requests")]
    Runtime(#[source] io::Error),
}

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
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The object was replaced in the meantime.
#[derive(Debug, thiserror::Error)]
#[error("the object was replaced in the meantime")]
pub(crate) struct Changed;
