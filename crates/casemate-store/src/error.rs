//! Errors of object stores.

use std::{io, path::PathBuf};

/// Why an object store could not be used.
#[derive(Debug, thiserror::Error)]
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
    /// The crate was built without the feature `clients`.
    #[error("this build has no object stores")]
    NotBuilt,
    /// The runtime for network requests could not be started.
    #[error("cannot start the runtime for network requests")]
    Runtime(#[source] io::Error),
}
