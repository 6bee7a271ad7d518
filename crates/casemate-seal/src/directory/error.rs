//! What can be wrong with a directory.

use std::{io, path::PathBuf};

use casemate_crypto::encoding::KeyId;

use crate::{OpenError, RewrapError, SealError, limits};

/// Why a directory could not be sealed, opened or rewrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// A path that no manifest may hold.
    #[error("path `{path}` {rule}")]
    Path {
        /// The path, safe to show.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The manifest is not one.
    #[error("not a manifest: {0}")]
    Manifest(&'static str),
    /// There is nothing to seal.
    #[error("there is no file to seal")]
    Empty,
    /// Too many files.
    #[error("{actual} files exceed the limit of {}", limits::FILES_MAX)]
    TooManyFiles {
        /// Files found.
        actual: usize,
    },
    /// A symbolic link where a file was expected.
    #[error("{0} is a symbolic link")]
    Link(PathBuf),
    /// A link to a folder, which is not followed.
    #[error("{0} is a symbolic link to a folder")]
    FolderLink(PathBuf),
    /// Neither a regular file nor a folder.
    #[error("{0} is neither a regular file nor a folder")]
    Special(PathBuf),
    /// A name that is not UTF-8.
    #[error("the name {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A file of the manifest is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that the manifest does not know.
    #[error("{0} does not belong to this version of the directory")]
    Extra(String),
    /// An artifact of another version, or of another directory.
    #[error("{path} is another version than the manifest says: its {what} differs")]
    OtherVersion {
        /// Path of the file.
        path: String,
        /// What differs.
        what: &'static str,
    },
    /// Only a folder of this machine can be changed in place, or taken over from.
    #[error("the sealed folder is not on this machine")]
    NotLocal,
    /// A folder that is in the way and holds other things.
    #[error("{0} is not what would be replaced")]
    NotReplaced(PathBuf),
    /// A problem that would be the caller's in a folder to seal, found in a sealed one.
    #[error(transparent)]
    NotAsSealed(Box<Self>),
    /// A recipient that the manifest has and a file has not, so that it cannot be kept there.
    #[error("{path} is not sealed to {key}, which the manifest is")]
    LostRecipient {
        /// Path of the file.
        path: String,
        /// The recipient.
        key: KeyId,
    },
    /// The recipients changed while they were being changed.
    #[error("somebody else changed the recipients meanwhile")]
    Concurrent,
    /// An older version than the caller accepts.
    #[error("revision {found} is older than the least acceptable {minimum}")]
    Revision {
        /// Revision of the manifest.
        found: u64,
        /// Least acceptable.
        minimum: u64,
    },
    /// An artifact could not be read or opened.
    #[error("{path}")]
    Open {
        /// Path of the file, or the manifest's name.
        path: String,
        /// What is wrong with it.
        #[source]
        source: OpenError,
    },
    /// A file could not be sealed.
    #[error("{path}")]
    Seal {
        /// Path of the file, or the manifest's name.
        path: String,
        /// Why.
        #[source]
        source: SealError,
    },
    /// The recipients of an artifact could not be changed.
    #[error("{path}")]
    Rewrap {
        /// Path of the file, or the manifest's name.
        path: String,
        /// Why.
        #[source]
        source: RewrapError,
    },
    /// Reading or writing failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl DirectoryError {
    /// Tells what is wrong with a sealed folder from what the caller can put right in a folder of their own.
    pub(crate) fn not_as_sealed(self) -> Self {
        match self {
            Self::Path { .. } | Self::TooManyFiles { .. } | Self::Special(_) | Self::NotUtf8(_) => {
                Self::NotAsSealed(Box::new(self))
            }
            other => other,
        }
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn open(path: impl Into<String>) -> impl FnOnce(OpenError) -> Self {
        let path = path.into();
        move |source| Self::Open { path, source }
    }

    pub(crate) fn seal(path: impl Into<String>) -> impl FnOnce(SealError) -> Self {
        let path = path.into();
        move |source| Self::Seal { path, source }
    }
}
