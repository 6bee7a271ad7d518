//! What to do about a detached signature.

use casemate_oms::OmsError;

use super::{Fault, Outcome};

impl From<OmsError> for Fault {
    fn from(error: OmsError) -> Self {
        let (outcome, hint) = match &error {
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
                Some("name a path relative to the model, such as `.cache`"),
            ),
            OmsError::Link(_) => (
                Outcome::No,
                Some(
                    "`casemate sign --follow-links` signs the file that a link leads to; without it a model holds files and folders only",
                ),
            ),
            OmsError::FolderLink(_) => (
                Outcome::No,
                Some(
                    "links to folders are not followed: put the folder itself there, or leave the link out with `sign --ignore`",
                ),
            ),
            OmsError::Special(_) => (
                Outcome::No,
                Some("a signed model holds files and folders only"),
            ),
            OmsError::OtherSigner { .. } => (
                Outcome::No,
                Some(
                    "name the publisher's key if you trust it; `--signer` needs a composite signature",
                ),
            ),
            OmsError::NotByParts(..) => (
                Outcome::No,
                Some(
                    "check all of it with `casemate verify --signature`, or have its publisher sign it again with `casemate sign`",
                ),
            ),
            OmsError::Missing(_)
            | OmsError::Extra(_)
            | OmsError::Changed(_)
            | OmsError::Contradiction(_)
            | OmsError::BadSignature => (
                Outcome::No,
                Some("do not use this model; get it again from its publisher"),
            ),
            _ => (Outcome::No, None),
        };
        let fault = Self::from_error(outcome, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
