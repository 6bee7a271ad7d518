//! Hints for errors of keys, policies and key stores.

use casemate_age::AgeError;
use casemate_crypto::{
    encoding::EncodingError,
    policy::{Policy, PolicyError},
};
use casemate_etcd::EtcdError;
use casemate_keys::{EngineError, StoreError};
use casemate_service::RemoteError;

use super::{Fault, Outcome};

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let error = match error {
            StoreError::Service(error) => match error.downcast::<RemoteError>() {
                Ok(error) => return (*error).into(),
                Err(error) => StoreError::Service(error),
            },
            other => other,
        };
        Self::hinted(
            (outcome(&error), hint(&error).or_else(|| slot_hint(&error))),
            error,
        )
    }
}

const fn outcome(error: &StoreError) -> Outcome {
    use StoreError as E;
    match error {
        E::WrongPassphrase
        | E::WrongKey
        | E::NeedsPassphrase
        | E::NeedsKey
        | E::NoPrivateKey(_)
        | E::Locked(_)
        | E::SlotWrong(_)
        | E::SlotNotAsked(_)
        | E::NoOfflineSlot
        | E::NotInUse { .. }
        | E::NotValid { .. }
        | E::UsedUp { .. } => Outcome::NotPermitted,
        E::DamagedRow(_)
        | E::MissingRow(_)
        | E::ForeignRow(_)
        | E::Index
        | E::Nodes(_)
        | E::Header(_)
        | E::Version(_)
        | E::Commitment
        | E::MixedShares(_)
        | E::DamagedEntry(_)
        | E::OtherLog
        | E::WentBack
        | E::Emptied(_)
        | E::Engine(EngineError::Foreign(_)) => Outcome::CheckFailed,
        E::Replaced
        | E::NotMigrated
        | E::LogReadOnly
        | E::Engine(_)
        | E::Keeper(_)
        | E::Service(_) => Outcome::Io,
        E::Missing
        | E::UnknownSuite(_)
        | E::SlotsOfVersion1
        | E::NoSlot(_)
        | E::NoGroup(_)
        | E::LastSlot
        | E::GroupTooSmall { .. }
        | E::InOtherGroup { .. }
        | E::NotASecret(_)
        | E::NoKey(_)
        | E::Older { .. }
        | E::NoVersion { .. }
        | E::Transition { .. }
        | E::NameTaken(_)
        | E::Exists
        | E::BadKeyText
        | E::NotARecipient
        | E::PassphraseTooShort { .. }
        | E::KeyTaken(_)
        | E::BadName(_)
        | E::BadSlotName(_)
        | E::SlotTaken(_)
        | E::SlotsFull
        | E::OtherKind(_)
        | E::VersionsFull(_)
        | E::RowTooLong(_)
        | E::PlaceTooLong(_)
        | E::Full(_)
        | E::LogExists
        | E::NoLog
        | E::NoEntry { .. }
        | E::WasCompromised(_)
        | E::Audit(_)
        | E::Encoding(_)
        | E::Crypto(_) => Outcome::Usage,
    }
}

/// Returns what to do about an error of the key store or its keys.
fn hint(error: &StoreError) -> Option<&'static str> {
    use StoreError as E;
    Some(match error {
        E::Missing => "create it with `casemate keys init`",
        E::NeedsKey => {
            "pass the file that `casemate keys init --random-key` wrote with --passphrase-file"
        }
        E::SlotsOfVersion1 => "run any command that opens it, which migrates it to version 2",
        E::Version(_) => "a newer version of casemate wrote it; update this program",
        E::Emptied(_) | E::Engine(EngineError::Foreign(_)) => {
            "give the file of a key store or of a backup; if it was one, restore it from another backup"
        }
        E::Replaced => "run the command again with the new passphrase or key file",
        E::NotMigrated | E::LogReadOnly | E::Engine(EngineError::ReadOnly) => {
            "run the command once where the key store can be written"
        }
        E::Engine(EngineError::Full) => {
            "make room and run the command again; nothing in the key store was changed"
        }
        E::Engine(EngineError::Moved) => "run the command again",
        E::Engine(EngineError::Unknown) => "check whether it was made, then retry",
        E::Engine(EngineError::Storage(source)) if source.is::<EtcdError>() => {
            "check that the members in `etcd.toml` run and have a majority"
        }
        E::Engine(_) => "try again; another process may be using it",
        E::UnknownSuite(_) => "run `casemate suites` to list the suites",
        E::NoKey(_) => "run `casemate keys list` to see the names",
        E::NotInUse { .. } => "to use it again, run `casemate keys enable` with the version",
        E::Older { .. } => "make a new version with `casemate keys rotate`",
        E::NoVersion { .. } | E::Transition { .. } => {
            "run `casemate keys list` to see the versions and their states"
        }
        E::NameTaken(_) => {
            "choose another name; to replace the key, run `casemate keys rotate`, or `casemate keys import --next-version` for a key made elsewhere"
        }
        E::NoLog => "begin one with `casemate keys audit enable`",
        E::WentBack => {
            "find out who could write to the key store; start again once it is the right one"
        }
        E::DamagedEntry(_) | E::OtherLog => {
            "compare the log with a copy and a checkpoint from elsewhere, and find out who could write to the key store"
        }
        E::UsedUp { .. } => "rotate it with `casemate keys rotate`",
        damage if matches!(outcome(damage), Outcome::CheckFailed) => {
            "restore the key store from a backup; normal use does not cause this damage"
        }
        _ => return None,
    })
}

/// Returns what to do about an error of slots.
const fn slot_hint(error: &StoreError) -> Option<&'static str> {
    use StoreError as E;
    Some(match error {
        E::Locked(_) => {
            "pass what opens a slot with --passphrase-file, once for each slot of a group; `casemate keys slots list --unchecked` lists the slots"
        }
        E::SlotNotAsked(_) => "pass what opens it with --passphrase-file",
        E::Keeper(_) => "check that the token or service can be reached from here",
        E::NoSlot(_) | E::NoGroup(_) => "run `casemate keys slots list` to list slots and groups",
        E::NoOfflineSlot => {
            "add one with `casemate keys slots add NAME --recovery-key FILE`, or pass --without-offline-slot to accept that"
        }
        E::LastSlot => "add another slot first with `casemate keys slots add`",
        E::GroupTooSmall { .. } => {
            "add a member first, or change the group with `casemate keys slots group` or `ungroup`"
        }
        E::InOtherGroup { .. } => "a slot belongs to one group; take it out of the other one first",
        E::NotASecret(_) => "change slots with `casemate keys slots add` and `remove`",
        _ => return None,
    })
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
