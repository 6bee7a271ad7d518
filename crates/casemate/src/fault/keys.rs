//! Hints for errors of keys, policies and key stores.

use casemate_age::AgeError;
use casemate_crypto::{
    encoding::EncodingError,
    policy::{Policy, PolicyError},
};
use casemate_keys::{EngineError, StoreError};

use super::{Fault, Outcome};

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Missing => (Outcome::Usage, Some("create it with `casemate keys init`")),
            StoreError::WrongPassphrase
            | StoreError::WrongKey
            | StoreError::NeedsPassphrase
            | StoreError::NoPrivateKey(_)
            | StoreError::SlotWrong(_) => (Outcome::NotPermitted, None),
            StoreError::NeedsKey => (
                Outcome::NotPermitted,
                Some(
                    "pass the file that `casemate keys init --random-key` wrote with --passphrase-file",
                ),
            ),
            StoreError::Locked(_) => (
                Outcome::NotPermitted,
                Some(
                    "pass what opens a slot with --passphrase-file, once for each slot of a group; `casemate keys slots list --unchecked` lists the slots",
                ),
            ),
            StoreError::SlotNotAsked(_) => (
                Outcome::NotPermitted,
                Some("pass what opens it with --passphrase-file"),
            ),
            StoreError::DamagedRow(_)
            | StoreError::MissingRow(_)
            | StoreError::ForeignRow(_)
            | StoreError::Index
            | StoreError::Nodes(_)
            | StoreError::Header(_)
            | StoreError::Version(_)
            | StoreError::Commitment
            | StoreError::MixedShares(_) => (
                Outcome::CheckFailed,
                Some("restore the key store from a backup; normal use does not cause this damage"),
            ),
            StoreError::Emptied(_) | StoreError::Engine(EngineError::Foreign(_)) => (
                Outcome::CheckFailed,
                Some("restore the key store from a backup"),
            ),
            StoreError::Replaced => (
                Outcome::Io,
                Some("run the command again with the new passphrase or key file"),
            ),
            StoreError::NotMigrated | StoreError::Engine(EngineError::ReadOnly) => (
                Outcome::Io,
                Some("run the command once where the key store can be written"),
            ),
            StoreError::Engine(_) => (
                Outcome::Io,
                Some("try again; another process may be using it"),
            ),
            StoreError::Keeper(_) => (
                Outcome::Io,
                Some("check that the token or service can be reached from here"),
            ),
            StoreError::UnknownSuite(_) => (
                Outcome::Usage,
                Some("run `casemate suites` to list the suites"),
            ),
            StoreError::NoSlot(_) | StoreError::NoGroup(_) => (
                Outcome::Usage,
                Some("run `casemate keys slots list` to list slots and groups"),
            ),
            StoreError::NoOfflineSlot => (
                Outcome::NotPermitted,
                Some(
                    "add one with `casemate keys slots add NAME --recovery-key FILE`, or pass --without-offline-slot to accept that",
                ),
            ),
            StoreError::LastSlot => (
                Outcome::Usage,
                Some("add another slot first with `casemate keys slots add`"),
            ),
            StoreError::GroupTooSmall { .. } => (
                Outcome::Usage,
                Some(
                    "add a member first, or change the group with `casemate keys slots group` or `ungroup`",
                ),
            ),
            StoreError::InOtherGroup { .. } => (
                Outcome::Usage,
                Some("a slot belongs to one group; take it out of the other one first"),
            ),
            StoreError::NotASecret(_) => (
                Outcome::Usage,
                Some("change slots with `casemate keys slots add` and `remove`"),
            ),
            StoreError::NoVersion { .. } | StoreError::Transition { .. } => (
                Outcome::Usage,
                Some("run `casemate keys list` to see the versions and their states"),
            ),
            StoreError::NameTaken(_) => (
                Outcome::Usage,
                Some(
                    "choose another name; to replace the key, run `casemate keys rotate`, or `casemate keys import --next-version` for a key made elsewhere",
                ),
            ),
            StoreError::UsedUp { .. } => (
                Outcome::NotPermitted,
                Some("rotate it with `casemate keys rotate`"),
            ),
            StoreError::Exists
            | StoreError::BadKeyText
            | StoreError::NotARecipient
            | StoreError::PassphraseTooShort { .. }
            | StoreError::KeyTaken(_)
            | StoreError::BadName(_)
            | StoreError::BadSlotName(_)
            | StoreError::SlotTaken(_)
            | StoreError::SlotsFull
            | StoreError::OtherKind(_)
            | StoreError::VersionsFull(_)
            | StoreError::RowTooLong(_)
            | StoreError::PlaceTooLong(_)
            | StoreError::Full(_)
            | StoreError::Encoding(_)
            | StoreError::Crypto(_) => (Outcome::Usage, None),
        };
        Self::hinted(hint, error)
    }
}

/// Returns the hint that lists the built-in profiles.
pub(super) fn profiles() -> String {
    let built_in = Policy::built_in().unwrap_or_default();
    let names: Vec<_> = built_in.iter().map(Policy::name).collect();
    format!("profiles: {}", names.join(", "))
}

impl From<PolicyError> for Fault {
    fn from(error: PolicyError) -> Self {
        let (outcome, hint) = match &error {
            PolicyError::NotAllowed { .. } => (
                Outcome::NotPermitted,
                "choose another key, or another profile with --policy",
            ),
            PolicyError::UnknownProfile { .. } => {
                return Self::from_error(Outcome::Usage, error).hint(profiles());
            }
            PolicyError::Malformed { .. }
            | PolicyError::TooLong { .. }
            | PolicyError::UnknownSuite { .. }
            | PolicyError::UnknownGroup { .. }
            | PolicyError::Empty { .. } => (
                Outcome::Usage,
                "a policy file is TOML: `name`, `description` and `hash` as text, `kem`, `signature` and `tls` as lists of names that `casemate suites` shows",
            ),
        };
        Self::from_error(outcome, error).hint(hint)
    }
}

impl From<casemate_crypto::Error> for Fault {
    fn from(error: casemate_crypto::Error) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}

impl From<EncodingError> for Fault {
    fn from(error: EncodingError) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}

impl From<AgeError> for Fault {
    fn from(error: AgeError) -> Self {
        let hint = match &error {
            AgeError::Io(_) => (Outcome::Io, None),
            AgeError::NoMatch => (
                Outcome::NotPermitted,
                Some(
                    "pass the identity it was encrypted to with --identity FILE, or import it with `casemate keys import`",
                ),
            ),
            AgeError::Header | AgeError::Rejected => (
                Outcome::CheckFailed,
                Some("do not use this file; get it again from its source"),
            ),
            AgeError::Key => (
                Outcome::Usage,
                Some("make one with `casemate keys generate --kind kem --suite mlkem768-x25519`"),
            ),
            AgeError::NotAKey { .. }
            | AgeError::NoRecipient
            | AgeError::TooManyRecipients { .. } => (Outcome::Usage, None),
        };
        Self::hinted(hint, error)
    }
}
