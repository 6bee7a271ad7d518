//! Errors, grouped by what the caller can do about them.

use std::io;

use casemate_cbor::CborError;
use casemate_crypto::encoding::KeyId;

use crate::limits;

/// The rule of the format that an artifact breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The CBOR does not have the expected structure or encoding.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// No content length has this body length.
    #[error("body length {0} is impossible for the segment size")]
    BodyLength(u64),
    /// The segment size is not a power of two within the limits.
    #[error("segment size {0} is not a power of two from 65536 to 16777216")]
    SegmentSize(u64),
    /// The hash list does not have one hash for each segment.
    #[error("{actual} bytes of segment hashes, expected {expected}")]
    HashCount {
        /// Length in the tail, in bytes.
        actual: usize,
        /// Length that the segments need, in bytes.
        expected: u64,
    },
    /// A recipient is listed twice.
    #[error("recipient {0} is listed twice")]
    DuplicateRecipient(KeyId),
    /// The gap between the body and the tail is larger than a rewrap can leave.
    #[error("gap of {0} bytes between body and tail")]
    Gap(u64),
    /// The tail begins inside the body.
    #[error("tail begins before the body ends")]
    Overlap,
    /// The FLOE parameters at the start differ from the header.
    #[error("body parameters differ from the header")]
    BodyParameters,
    /// The content type is not `type/subtype` in printable ASCII.
    #[error("content type is not `type/subtype` in printable ASCII")]
    ContentType,
    /// A revision of 0.
    #[error("revisions start at 1")]
    Revision,
    /// The signature is not by the publisher in the header, so it was replaced.
    #[error("the header names publisher {sealed}, but the signature is by {signed}")]
    Publisher {
        /// The publisher in the header, or `none`.
        sealed: String,
        /// The signing key.
        signed: KeyId,
    },
    /// The content lengths in the publisher part and in the header differ.
    #[error("the content lengths in the publisher part and in the header differ")]
    PrivateLength,
    /// A recipient list with epoch 0.
    #[error("epochs of recipient lists start at 1")]
    Epoch,
    /// A signed recipient list in an artifact that has no owner.
    #[error("the recipient list is signed, but the artifact has no owner")]
    ListWithoutOwner,
}

/// Why the recipient list of an artifact with an owner is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// There is no recipient list.
    #[error("the owner's signed recipient list is missing")]
    Missing,
    /// It names a different owner than the header.
    #[error("the recipient list belongs to another owner")]
    OtherOwner,
    /// A public key in it cannot be read.
    #[error("a key in the recipient list is not a signing key")]
    Key,
    /// The owner did not sign the delegation, or it has expired, or it is for another key.
    #[error("the delegation does not cover this recipient list")]
    Delegation,
    /// The signature does not verify.
    #[error("the owner did not sign these recipients")]
    Signature,
}

/// Why an artifact could not be read, verified or opened.
///
/// Every failure that depends on a secret is [`OpenError::Rejected`], so the error reveals one bit.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no footer: the file is of another kind, or truncated.
    #[error("not a sealed artifact, or its end is damaged or missing: no valid footer")]
    NoFooter,
    /// A later version of the format than this program supports.
    #[error("format version {found} is not supported; this program reads version 1")]
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
        /// Largest size allowed.
        limit: u64,
    },
    /// A suite that is not in the registry.
    #[error("unknown suite {0}")]
    UnknownSuite(String),
    /// The given key is not a recipient.
    #[error("the artifact is not sealed to key {key}")]
    NotARecipient {
        /// The key that was tried.
        key: KeyId,
    },
    /// A signature is required, but the artifact has none.
    #[error("the artifact is not signed")]
    Unsigned,
    /// The artifact is signed by a key other than the expected one.
    #[error("the artifact is signed by key {found}, not by {expected}")]
    OtherSigner {
        /// Key that signed.
        found: KeyId,
        /// Expected signer.
        expected: KeyId,
    },
    /// The signature does not verify.
    #[error("the publisher's signature does not verify")]
    BadSignature,
    /// The artifact has an owner, and its recipient list is not valid.
    #[error("{0}")]
    Owner(OwnerError),
    /// The recipient list is older than the minimum.
    #[error("{} {minimum}", found.map_or("the recipient list has no epoch; the minimum is".to_owned(), |found| format!("epoch {found} of the recipient list is older than the minimum")))]
    Epoch {
        /// Epoch of the list, if there is one.
        found: Option<u64>,
        /// The minimum.
        minimum: u64,
    },
    /// The version is older than the minimum.
    #[error("{} {minimum}", found.map_or("the artifact has no revision; the minimum is".to_owned(), |found| format!("revision {found} is older than the minimum")))]
    Revision {
        /// Revision in the header, if there is one.
        found: Option<u64>,
        /// The minimum.
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
        /// What failed.
        what: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The cryptographic library failed for a reason unrelated to the artifact.
    #[error(transparent)]
    Crypto(casemate_crypto::Error),
}

impl OpenError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Maps every failure that depends on a secret to [`OpenError::Rejected`].
    pub(crate) fn secret(error: casemate_crypto::Error) -> Self {
        use casemate_crypto::Error as C;
        match error {
            C::Randomness | C::Internal | C::Holder(_) => Self::Crypto(error),
            _ => Self::Rejected,
        }
    }
}

/// Why content could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No recipient was given.
    #[error("at least one recipient is required")]
    NoRecipient,
    /// Too many recipients.
    #[error("{actual} recipients exceed the limit of {}", limits::RECIPIENTS_MAX)]
    TooManyRecipients {
        /// Number of recipients given.
        actual: usize,
    },
    /// A recipient was given twice.
    #[error("recipient {0} was given twice")]
    DuplicateRecipient(KeyId),
    /// The content needs more segments than the format allows. Use a larger segment size.
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
        /// Length given, in bytes.
        actual: usize,
        /// Maximum length, in bytes.
        limit: usize,
    },
    /// The content type is not `type/subtype` in printable ASCII.
    #[error("content type `{0}` is not `type/subtype` in printable ASCII")]
    ContentType(String),
    /// A revision of 0.
    #[error("revisions start at 1")]
    Revision,
    /// There is no higher revision.
    #[error("the artifact already has the highest possible revision")]
    LastRevision,
    /// The artifact has an owner, but no key was given that may sign its recipient list.
    #[error("only owner {0} or a delegate may change the recipients")]
    OwnerNeeded(KeyId),
    /// An owner was given for an artifact that has none.
    #[error("the artifact has no owner")]
    NoOwner,
    /// The epoch is not higher than the current one.
    #[error("epoch {epoch} is not higher than the current one; use {next} or higher")]
    Epoch {
        /// Epoch given.
        epoch: u64,
        /// Lowest allowed.
        next: u64,
    },
    /// There is no higher epoch.
    #[error("the recipient list already has the highest possible epoch")]
    LastEpoch,
    /// The given key may not sign the recipient list.
    #[error("this key may not sign the recipient list: {0}")]
    Owner(OwnerError),
    /// Reading the content or writing the artifact failed.
    #[error("{what}")]
    Io {
        /// What failed.
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

/// Why the recipients of an artifact could not be changed. The artifact is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// The artifact could not be opened with the given key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new recipients could not be written.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<CborError> for OpenError {
    fn from(error: CborError) -> Self {
        Malformed::Cbor(error).into()
    }
}
