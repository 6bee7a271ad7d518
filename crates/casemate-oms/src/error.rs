//! What can be wrong with a model signature.

use std::{io, path::PathBuf};

/// Why a model could not be signed or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OmsError {
    /// There is no key to sign with, or none to trust.
    #[error("no key was given")]
    NoSigner,
    /// The file is no bundle.
    #[error("not a model signature: {0}")]
    Bundle(&'static str),
    /// A bundle of a kind that is not read here.
    #[error("signatures made with {0} are not supported")]
    Method(&'static str),
    /// Nobody who is trusted signed.
    #[error("the model is signed by {found}, not by key {expected}")]
    OtherSigner {
        /// Who signed.
        found: String,
        /// Id of the trusted key.
        expected: String,
    },
    /// The signature does not verify.
    #[error("the publisher's signature does not verify")]
    BadSignature,
    /// The statement breaks a rule, though it is signed.
    #[error("malformed statement: {0}")]
    Statement(&'static str),
    /// A file that was signed is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file that was not signed.
    #[error("{0} was not signed")]
    Extra(String),
    /// A file is not the one that was signed.
    #[error("{0} was changed")]
    Changed(String),
    /// A file whose digest is the signed one, and whose segments are not.
    #[error(
        "{0} matches its signed digest but not its signed segment table: the publisher signed two different contents"
    )]
    Contradiction(String),
    /// A file that cannot be read by parts.
    #[error("{0} cannot be checked as it is read: {1}")]
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
    /// A path to leave out that is none below the model.
    #[error("{0} is not a path below the model")]
    NotBelow(PathBuf),
    /// A path to leave out that does not exist.
    #[error("there is no {0} below the model to leave out")]
    NothingToIgnore(PathBuf),
    /// There is something where the signature is to be written.
    #[error("{0} already exists")]
    Exists(PathBuf),
    /// What is where the signature is to be written is something else.
    #[error("{0} is not a model signature, so it is not replaced")]
    NotReplaced(PathBuf),
    /// A name that is not UTF-8.
    #[error("the name {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A key file that holds no ECDSA key on a curve that model signatures have.
    #[error("not an ECDSA key on P-256, P-384 or P-521 in PEM")]
    Key,
    /// Too much of something.
    #[error("{what} of {actual} exceeds the limit of {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much there is.
        actual: u64,
        /// How much there may be.
        limit: u64,
    },
    /// Reading failed.
    #[error("cannot read {path}")]
    Io {
        /// What could not be read.
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
