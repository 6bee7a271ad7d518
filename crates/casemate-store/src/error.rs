//! What can go wrong with an object store.

use std::{io, path::PathBuf};

/// Why an object store could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is none that this crate knows.
    #[error("`{url}` {rule}")]
    Url {
        /// The address, without user and password.
        url: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Credentials or settings are missing or wrong.
    #[error("cannot use the store of {url}")]
    Settings {
        /// The address.
        url: String,
        /// What the store's client says.
        #[source]
        source: io::Error,
    },
    /// A profile of `~/.aws` that cannot be used.
    #[error("the AWS profile `{}` {rule}", name.escape_debug())]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        rule: String,
    },
    /// A file of `~/.aws` that cannot be read.
    #[error("cannot read AWS profiles from {}", path.display())]
    ProfileFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The runtime for network requests could not be started.
    #[error("cannot start the runtime for network requests")]
    Runtime(#[source] io::Error),
}

/// The system's kinds of error for the store's, so that callers treat both alike.
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

/// The object was replaced meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("the object was replaced by somebody else meanwhile")]
pub(crate) struct Changed;
