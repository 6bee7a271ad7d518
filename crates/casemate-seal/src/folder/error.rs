//! Errors of sealed folders.

use std::{io, path::PathBuf};

use casemate_cbor::CborError;
use casemate_crypto::encoding::KeyId;

use crate::{OpenError, RewrapError, SealError, limits};

/// Why a folder could not be sealed, opened or rewrapped.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A path that is not allowed in a manifest.
    #[error("path `{path}` {rule}")]
    Path {
        /// The path, escaped for display.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The manifest is not valid.
    #[error("invalid manifest: {0}")]
    Manifest(&'static str),
    /// There are no files to seal.
    #[error("there are no files to seal")]
    Empty,
    /// Too many files.
    #[error("{actual} files exceed the limit of {}", limits::FILES_MAX)]
    TooManyFiles {
        /// Number of files found.
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
    /// A file in the manifest is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that is not in the manifest.
    #[error("{0} does not belong to this version of the folder")]
    Extra(String),
    /// An artifact of another version or another folder.
    #[error("{path} is not the version in the manifest: its {what} differs")]
    OtherVersion {
        /// Path of the file.
        path: String,
        /// What differs.
        what: &'static str,
    },
    /// Only a local folder can be changed in place or reused for a new version.
    #[error("the sealed folder is not on this machine")]
    NotLocal,
    /// An existing folder has a file that is not part of what would be replaced.
    #[error("{0} does not belong to the folder that would be replaced")]
    NotReplaced(PathBuf),
    /// A problem in a sealed folder that would be the caller's to fix in a folder to seal.
    #[error(transparent)]
    NotAsSealed(Box<Self>),
    /// A recipient of the manifest is not a recipient of a file, so it cannot be kept there.
    #[error("{path} is not sealed to {key}, a recipient of the manifest")]
    LostRecipient {
        /// Path of the file.
        path: String,
        /// The recipient.
        key: KeyId,
    },
    /// Another process changed the recipients at the same time.
    #[error("another process changed the recipients at the same time")]
    Concurrent,
    /// The version is older than the minimum.
    #[error("revision {found} is older than the minimum {minimum}")]
    Revision {
        /// Revision of the manifest.
        found: u64,
        /// The minimum revision.
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
        /// The operation.
        what: &'static str,
        /// The path it was applied to.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    /// Marks a problem as one in a sealed folder, not one that the caller can fix in a folder of
    /// their own.
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

impl From<CborError> for FolderError {
    fn from(_: CborError) -> Self {
        Self::Manifest("unexpected CBOR structure")
    }
}
