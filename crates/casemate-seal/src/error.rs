//! Errors, by what the caller can do about them.

use std::io;

use casemate_crypto::encoding::KeyId;

use crate::limits;

/// Which rule of the format the bytes break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The CBOR cannot be read as the expected structure.
    #[error("{0} is not the expected CBOR structure")]
    Cbor(&'static str),
    /// The CBOR is valid but not in deterministic encoding, or bytes follow it.
    #[error("{0} is not in deterministic encoding")]
    NotDeterministic(&'static str),
    /// The body length belongs to no content length.
    #[error("body length {0} is impossible for the segment size")]
    BodyLength(u64),
    /// The segment size is not a power of two within limits.
    #[error("segment size {0} is not a power of two from 65536 to 16777216")]
    SegmentSize(u64),
    /// The hash list does not have one hash for each segment.
    #[error("{actual} bytes of segment hashes, expected {expected}")]
    HashCount {
        /// Bytes in the tail.
        actual: usize,
        /// Bytes that the segments need.
        expected: u64,
    },
    /// A field has the wrong length.
    #[error("{field} of {actual} bytes, expected {expected}")]
    FieldLength {
        /// Name of the field.
        field: &'static str,
        /// Bytes in the file.
        actual: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A recipient is listed twice.
    #[error("recipient {0} is listed twice")]
    DuplicateRecipient(KeyId),
    /// Bytes lie between the body and the tail, more than a rewrap can leave.
    #[error("gap of {0} bytes between body and tail")]
    Gap(u64),
    /// The tail begins inside the body.
    #[error("tail begins before the body ends")]
    Overlap,
    /// The FLOE parameters at the start are not those of the header.
    #[error("body parameters differ from the header")]
    BodyParameters,
    /// The content type is not `type/subtype` in printable ASCII.
    #[error("content type is not `type/subtype` in printable ASCII")]
    ContentType,
    /// A revision of 0.
    #[error("revisions start at 1")]
    Revision,
    /// The signature is by another key than the one the artifact was sealed by, so somebody has put an own one in its place.
    #[error("it was sealed by {sealed} and is signed by {signed}")]
    Publisher {
        /// Key in the header, or `nobody`.
        sealed: String,
        /// Key of the signature.
        signed: KeyId,
    },
    /// The publisher part names another content length than the header.
    #[error("publisher part disagrees with the header about the content length")]
    PrivateLength,
    /// A recipient list numbered 0.
    #[error("epochs of recipient lists start at 1")]
    Epoch,
    /// A signed recipient list in an artifact that has no owner.
    #[error("the recipient list is signed, but the artifact has no owner")]
    ListWithoutOwner,
}

/// What is wrong with the recipient list of an artifact that has an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// There is none.
    #[error("the owner's signed recipient list is missing")]
    Missing,
    /// It names another owner than the header.
    #[error("it belongs to another owner")]
    OtherOwner,
    /// A public key in it cannot be read.
    #[error("a key in the recipient list is not a signing key")]
    Key,
    /// The delegation is not the owner's, or has ended, or is another key's.
    #[error("the delegation does not cover this list")]
    Delegation,
    /// The signature does not hold.
    #[error("the owner did not sign these recipients")]
    Signature,
}

/// Why an artifact could not be read, verified or opened.
///
/// Everything that depends on a secret is [`OpenError::Rejected`], so whoever sees the error learns one bit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no footer: another kind of file, or the end is missing.
    #[error("not a sealed artifact, or cut short: no valid footer")]
    NoFooter,
    /// A later version of the format.
    #[error("format version {found} is not supported, this program reads version 1")]
    Version {
        /// Version in the file.
        found: u64,
    },
    /// A rule of the format is broken.
    #[error("malformed artifact: {0}")]
    Malformed(#[from] Malformed),
    /// A limit of the format is exceeded.
    #[error("{what} of {actual} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// Size in the file.
        actual: u64,
        /// Largest allowed.
        limit: u64,
    },
    /// A suite that is not in the registry.
    #[error("unknown suite {0}")]
    UnknownSuite(String),
    /// None of the recipients is the given key.
    #[error("the artifact is not sealed to key {key}")]
    NotARecipient {
        /// The key that was tried.
        key: KeyId,
    },
    /// A signature is required and there is none.
    #[error("the artifact is not signed")]
    Unsigned,
    /// The artifact is signed by another key than the trusted one.
    #[error("the artifact is signed by key {found}, not by {expected}")]
    OtherSigner {
        /// Key that signed.
        found: KeyId,
        /// Key that is trusted.
        expected: KeyId,
    },
    /// The signature does not verify.
    #[error("the publisher's signature does not verify")]
    BadSignature,
    /// The artifact has an owner, who did not sign its recipients.
    #[error("{0}")]
    Owner(OwnerError),
    /// An older recipient list than the caller accepts.
    #[error("{} is older than the least acceptable {minimum}", found.map_or("a recipient list without an epoch".to_owned(), |found| format!("the recipient list of epoch {found}")))]
    Epoch {
        /// Epoch of the list, if there is one.
        found: Option<u64>,
        /// Least acceptable.
        minimum: u64,
    },
    /// An older version than the caller accepts.
    #[error("{} is older than the least acceptable {minimum}", found.map_or("a version without a revision".to_owned(), |found| format!("revision {found}")))]
    Revision {
        /// Revision in the header, if there is one.
        found: Option<u64>,
        /// Least acceptable.
        minimum: u64,
    },
    /// A segment is not the one that was sealed.
    #[error("segment {segment} was changed")]
    SegmentHash {
        /// Zero-based number of the segment.
        segment: u64,
    },
    /// Authentication failed: wrong key, or the artifact was changed.
    #[error("authentication failed: wrong key, or the artifact was changed")]
    Rejected,
    /// Reading or writing failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The cryptographic library failed for a reason that is not the artifact's.
    #[error(transparent)]
    Crypto(casemate_crypto::Error),
}

impl OpenError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Folds every failure that depends on a secret into [`OpenError::Rejected`].
    pub(crate) fn secret(error: casemate_crypto::Error) -> Self {
        use casemate_crypto::Error as C;
        match error {
            C::Randomness | C::Internal => Self::Crypto(error),
            _ => Self::Rejected,
        }
    }
}

/// Why content could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No recipient was given.
    #[error("at least one recipient is required")]
    NoRecipient,
    /// Too many recipients.
    #[error("{actual} recipients exceed the limit of {}", limits::RECIPIENTS_MAX)]
    TooManyRecipients {
        /// Recipients given.
        actual: usize,
    },
    /// A recipient was given twice.
    #[error("recipient {0} was given twice")]
    DuplicateRecipient(KeyId),
    /// The content needs more segments than the format allows; a larger segment size helps.
    #[error(
        "content of {bytes} bytes needs more than {} segments",
        limits::SEGMENTS_MAX
    )]
    TooLong {
        /// Length of the content.
        bytes: u64,
    },
    /// A text field is too long.
    #[error("{field} of {actual} bytes exceeds the limit of {limit}")]
    FieldTooLong {
        /// Name of the field.
        field: &'static str,
        /// Bytes given.
        actual: usize,
        /// Largest allowed.
        limit: usize,
    },
    /// The content type is not `type/subtype` in printable ASCII.
    #[error("content type `{0}` is not `type/subtype` in printable ASCII")]
    ContentType(String),
    /// A revision of 0.
    #[error("revisions start at 1")]
    Revision,
    /// There is no higher revision.
    #[error("it already has the highest possible revision")]
    LastRevision,
    /// The artifact has an owner, and nobody was given who may sign its recipients.
    #[error("only owner {0} may change the recipients")]
    OwnerNeeded(KeyId),
    /// A list is to be signed for an artifact that has no owner.
    #[error("the artifact has no owner")]
    NoOwner,
    /// An epoch that is not higher than the one before.
    #[error("epoch {epoch} is not above the current one; use {next} or more")]
    Epoch {
        /// Epoch given.
        epoch: u64,
        /// Least possible.
        next: u64,
    },
    /// There is no higher epoch.
    #[error("the recipient list already has the highest possible epoch")]
    LastEpoch,
    /// The key that was given may not sign the recipients.
    #[error("this key may not sign the recipients: {0}")]
    Owner(OwnerError),
    /// Reading the content or writing the artifact failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A key could not be used, or the cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
    /// A key could not be encoded.
    #[error(transparent)]
    Key(#[from] casemate_crypto::encoding::EncodingError),
}

impl SealError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Why the recipients of an artifact could not be changed; the artifact is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// The artifact could not be opened with the given key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new recipients could not be written.
    #[error(transparent)]
    Seal(#[from] SealError),
}
