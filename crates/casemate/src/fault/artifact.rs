//! Hints for errors of artifacts and sealed folders.

use casemate_seal::{OpenError, RewrapError, SealError, folder::FolderError};

use super::{Fault, Outcome};

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        let hint = match &error {
            OpenError::Io { .. } => (Outcome::Io, None),
            OpenError::NoFooter => (
                Outcome::CheckFailed,
                Some("check that the file is complete and was made by `casemate seal`"),
            ),
            OpenError::Version { .. } => {
                (Outcome::CheckFailed, Some("upgrade casemate to read it"))
            }
            OpenError::NotARecipient { .. } => (
                Outcome::NotPermitted,
                Some(
                    "ask a recipient to add you with `casemate rewrap`; `casemate inspect` lists the recipients",
                ),
            ),
            OpenError::Unsigned => (
                Outcome::CheckFailed,
                Some("to accept unsigned content, pass --allow-unknown-signer"),
            ),
            OpenError::OtherSigner { .. } => (
                Outcome::CheckFailed,
                Some("pass the publisher's key with --signer, or import it if you trust it"),
            ),
            OpenError::Revision { .. } => (
                Outcome::CheckFailed,
                Some("get the current version from the publisher"),
            ),
            OpenError::Owner(_) => (
                Outcome::CheckFailed,
                Some(
                    "get an intact copy from the owner; someone else changed the recipients of this one",
                ),
            ),
            OpenError::Epoch { .. } => (
                Outcome::CheckFailed,
                Some("get a copy with the current recipients from the owner"),
            ),
            OpenError::BadSignature | OpenError::SegmentHash { .. } => (
                Outcome::CheckFailed,
                Some("do not use this file; get it again from its publisher"),
            ),
            OpenError::Malformed(_)
            | OpenError::Limit { .. }
            | OpenError::UnknownSuite(_)
            | OpenError::Rejected
            | OpenError::Crypto(_) => (Outcome::CheckFailed, None),
        };
        Self::hinted(hint, error)
    }
}

impl From<SealError> for Fault {
    fn from(error: SealError) -> Self {
        let outcome = match &error {
            SealError::Io { .. } => Outcome::Io,
            SealError::OwnerNeeded(_) | SealError::Owner(_) => Outcome::NotPermitted,
            SealError::NoRecipient
            | SealError::TooManyRecipients { .. }
            | SealError::DuplicateRecipient(_)
            | SealError::TooLong { .. }
            | SealError::FieldTooLong { .. }
            | SealError::ContentType(_)
            | SealError::Revision
            | SealError::LastRevision
            | SealError::NoOwner
            | SealError::Epoch { .. }
            | SealError::LastEpoch
            | SealError::Crypto(_)
            | SealError::Key(_) => Outcome::Usage,
        };
        let too_long = matches!(error, SealError::TooLong { .. });
        let fault = Self::from_error(outcome, error);
        if too_long {
            fault.hint("pass a larger --segment-size")
        } else {
            fault
        }
    }
}

impl From<RewrapError> for Fault {
    fn from(error: RewrapError) -> Self {
        match error {
            RewrapError::Open(error) => error.into(),
            RewrapError::Seal(error) => error.into(),
        }
    }
}

impl From<FolderError> for Fault {
    fn from(error: FolderError) -> Self {
        use FolderError as D;
        let (outcome, hint) = match error {
            D::Open { path, source } => return Self::from(source).about(&path),
            D::Seal { path, source } => return Self::from(source).about(&path),
            D::Rewrap { path, source } => return Self::from(source).about(&path),
            D::Io { what, path, source } => return Self::file(what, &path, source),
            D::Link(_) => (
                Outcome::CheckFailed,
                "pass --follow-links to seal its target, or leave it out with --exclude; a sealed folder contains no links",
            ),
            D::FolderLink(_) => (
                Outcome::CheckFailed,
                "replace the link with the folder, or leave it out with --exclude; links to folders are not followed because they can form loops",
            ),
            D::Missing(_) | D::Extra(_) | D::OtherVersion { .. } | D::NotAsSealed(_) => (
                Outcome::CheckFailed,
                "do not use this folder; get it again from its publisher",
            ),
            D::NotReplaced(_) => (
                Outcome::Usage,
                "write elsewhere with -o; --force replaces a folder only if it contains nothing else",
            ),
            D::LostRecipient { .. } => (
                Outcome::CheckFailed,
                "name every recipient with --to; adding this one back takes its public key",
            ),
            D::NotLocal => (
                Outcome::Usage,
                "change a local copy, then upload it with `casemate copy`",
            ),
            D::Concurrent => (
                Outcome::Io,
                "check the recipients and run the command again",
            ),
            D::Revision { .. } => (
                Outcome::CheckFailed,
                "get the current version from the publisher",
            ),
            D::Manifest(_) => (Outcome::CheckFailed, "do not use this folder"),
            D::Empty => (
                Outcome::Usage,
                "check --exclude and .casemateignore: they may leave out every file",
            ),
            D::TooManyFiles { .. } => (Outcome::Usage, "seal its subfolders one by one"),
            D::Path { .. } | D::Special(_) | D::NotUtf8(_) => {
                (Outcome::Usage, "rename it, or leave it out with --exclude")
            }
        };
        Self::from_error(outcome, error).hint(hint)
    }
}
