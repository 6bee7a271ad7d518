//! Errors of model signatures.

use std::{io, path::PathBuf};

/// Why a model could not be signed or verified.
#[derive(Debug, thiserror::Error)]
pub enum OmsError {
    /// No key was given to sign or to verify with.
    #[error("no key was given")]
    NoSigner,
    /// The file is not a bundle.
    #[error("not a model signature: {0}")]
    Bundle(&'static str),
    /// The bundle uses an unsupported kind of signature.
    #[error("signatures made with {0} are not supported")]
    Method(&'static str),
    /// The expected signer did not sign.
    #[error("the model is signed by {found}, not by key {expected}")]
    OtherSigner {
        /// The signer.
        found: String,
        /// Id of the expected signer.
        expected: String,
    },
    /// The signature does not verify.
    #[error("the publisher's signature does not verify")]
    BadSignature,
    /// The signed statement breaks a rule.
    #[error("malformed statement: {0}")]
    Statement(&'static str),
    /// A signed file is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that was not signed.
    #[error("{0} was not signed")]
    Extra(String),
    /// A file differs from what was signed.
    #[error("{0} was changed")]
    Changed(String),
    /// A file matches its signed digest, but not its signed segments.
    #[error(
        "{0} matches its signed digest but not its signed segment table: the publisher signed two different contents"
    )]
    Contradiction(String),
    /// A file cannot be read in parts.
    #[error("{0} cannot be verified while it is read: {1}")]
    NotByParts(String, &'static str),
    /// A link where links are not allowed.
    #[error("{0} is a symbolic link")]
    Link(PathBuf),
    /// A link to a folder, which is never followed.
    #[error("{0} is a symbolic link to a folder")]
    FolderLink(PathBuf),
    /// Neither a file nor a folder.
    #[error("{0} is neither a regular file nor a folder")]
    Special(PathBuf),
    /// A path to ignore is not inside the model.
    #[error("{0} is not a path inside the model")]
    NotBelow(PathBuf),
    /// A path to ignore does not exist.
    #[error("cannot ignore {0}: the model has no such path")]
    NothingToIgnore(PathBuf),
    /// The output file already exists.
    #[error("{0} already exists")]
    Exists(PathBuf),
    /// The output file exists and is not a signature.
    #[error("{0} is not a model signature, so it is not replaced")]
    NotReplaced(PathBuf),
    /// A name that is not UTF-8.
    #[error("the name {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A key file is not an ECDSA key on a supported curve.
    #[error("not a PEM file with an ECDSA key on P-256, P-384 or P-521")]
    Key,
    /// A limit is exceeded.
    #[error("{what} of {actual} exceeds the limit of {limit}")]
    Limit {
        /// The quantity.
        what: &'static str,
        /// Its actual value.
        actual: u64,
        /// Its limit.
        limit: u64,
    },
    /// Reading failed.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A key could not be encoded.
    #[error(transparent)]
    Encoding(#[from] casemate_crypto::encoding::EncodingError),
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

impl OmsError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
