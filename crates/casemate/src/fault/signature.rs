//! Hints for errors of detached signatures.

use casemate_oms::OmsError;

use super::{Fault, Outcome};

impl From<OmsError> for Fault {
    fn from(error: OmsError) -> Self {
        let hint = match &error {
            OmsError::Io { .. } => (Outcome::Io, None),
            OmsError::Exists(_) => (
                Outcome::Usage,
                Some("pass --force to replace it, or -o to write elsewhere"),
            ),
            OmsError::NotReplaced(_) => (
                Outcome::Usage,
                Some("write the signature elsewhere with -o, or remove the file first"),
            ),
            OmsError::NoSigner | OmsError::Key | OmsError::NotUtf8(_) => (Outcome::Usage, None),
            OmsError::NotBelow(_) | OmsError::NothingToIgnore(_) => (
                Outcome::Usage,
                Some("give a path relative to the model, such as `.cache`"),
            ),
            OmsError::Link(_) => (
                Outcome::CheckFailed,
                Some(
                    "to sign the target of a link, pass --follow-links to `casemate sign`; without it, a model may contain only files and folders",
                ),
            ),
            OmsError::FolderLink(_) => (
                Outcome::CheckFailed,
                Some(
                    "replace the link with the folder, or leave it out with `casemate sign --ignore`; links to folders are not followed",
                ),
            ),
            OmsError::Special(_) => (
                Outcome::CheckFailed,
                Some("remove it from the model, which may contain only files and folders"),
            ),
            OmsError::OtherSigner { .. } => (
                Outcome::CheckFailed,
                Some(
                    "pass the publisher's key if you trust it; --signer requires a composite signature",
                ),
            ),
            OmsError::NotByParts(..) => (
                Outcome::CheckFailed,
                Some(
                    "verify the whole model with `casemate verify --signature`, or have the publisher sign it again with `casemate sign`",
                ),
            ),
            OmsError::Missing(_)
            | OmsError::Extra(_)
            | OmsError::Changed(_)
            | OmsError::Contradiction(_)
            | OmsError::BadSignature => (
                Outcome::CheckFailed,
                Some("do not use this model; get it again from its publisher"),
            ),
            OmsError::Bundle(_)
            | OmsError::Method(_)
            | OmsError::Statement(_)
            | OmsError::Limit { .. }
            | OmsError::Encoding(_)
            | OmsError::Crypto(_) => (Outcome::CheckFailed, None),
        };
        Self::hinted(hint, error)
    }
}
