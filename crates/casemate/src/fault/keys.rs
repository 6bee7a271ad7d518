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
            | StoreError::NoPrivateKey(_) => (Outcome::NotPermitted, None),
            StoreError::NeedsKey => (
                Outcome::NotPermitted,
                Some(
                    "pass the file that `casemate keys init --random-key` wrote with --passphrase-file",
                ),
            ),
            StoreError::DamagedRecord(_)
            | StoreError::MissingRecord(_)
            | StoreError::ForeignRecord(_)
            | StoreError::Index
            | StoreError::Header(_)
            | StoreError::Version(_) => (
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
            StoreError::Engine(_) => (
                Outcome::Io,
                Some("try again; another process may be using it"),
            ),
            StoreError::UnknownSuite(_) => (
                Outcome::Usage,
                Some("run `casemate suites` to list the suites"),
            ),
            StoreError::Exists
            | StoreError::BadKeyText
            | StoreError::PassphraseTooShort { .. }
            | StoreError::NameTaken(_)
            | StoreError::KeyTaken(_)
            | StoreError::BadName(_)
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
