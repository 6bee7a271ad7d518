//! Hints for names, files and policies of the user's environment.

use casemate_environment::{EnvironmentError as E, ListRefused, Untrusted};

use super::{Fault, Outcome, keys};

impl From<E> for Fault {
    fn from(error: E) -> Self {
        match error {
            E::Age(error) => error.into(),
            E::Store(error) => error.into(),
            E::Service(error) => error.into(),
            E::Etcd(error) => Self::from_error(Outcome::Usage, error),
            E::Policy(error) => error.into(),
            E::Io { path, source } => Self::file("read", &path, source),
            error => Self::hinted((outcome(&error), hint(&error).as_deref()), error),
        }
    }
}

const fn outcome(error: &E) -> Outcome {
    match error {
        E::Classical | E::NotInMemory(_) | E::NoMemoryFolder | E::Exposed { .. } => {
            Outcome::NotPermitted
        }
        E::NoRoom { .. } | E::Io { .. } => Outcome::Io,
        E::UnknownKey { .. }
        | E::UnknownPolicy { .. }
        | E::Variable { .. }
        | E::ClassicalRecipient(_)
        | E::BadReference(_)
        | E::PassphraseTooLong
        | E::ShortId(_)
        | E::Pattern(_)
        | E::NoHome
        | E::TwoKeyStores(_)
        | E::CertificateWithoutKey(_)
        | E::Tls(_)
        | E::Service(_)
        | E::Etcd(_)
        | E::KeyFile { .. }
        | E::TrustFile { .. }
        | E::Succession { .. }
        | E::Age(_)
        | E::Store(_)
        | E::Policy(_)
        | E::TooLong { .. }
        | E::NotUtf8(_)
        | E::Toml { .. } => Outcome::Usage,
    }
}

fn hint(error: &E) -> Option<String> {
    let hint = match error {
        E::UnknownKey {
            named,
            is_file: true,
        }
        | E::UnknownPolicy {
            named,
            is_file: true,
        } => return Some(format!("to use the file of that name, write `./{named}`")),
        E::Exposed { path, .. } => {
            return Some(format!(
                "run `chmod 600 {}`; if others may have read it, replace the secret in it",
                path.display()
            ));
        }
        E::Classical
        | E::Variable {
            variable: "PQC_KEY_MANAGEMENT",
            ..
        } => "set it to `hybrid` or `pq`",
        E::Variable { .. } => "set it to a built-in policy or a path",
        E::ClassicalRecipient(_) => {
            "ask for a hybrid recipient, `age1pq1...`, made with `age-keygen -pq` from age 1.3"
        }
        E::UnknownKey { is_file: false, .. } => {
            "run `casemate keys list` to see the names; to name a file, write a path such as `./publisher.pub`"
        }
        E::UnknownPolicy { is_file: false, .. } => {
            let profiles = keys::profiles();
            return Some(format!(
                "{profiles}; to name a file, write a path such as `./policy.toml`"
            ));
        }
        E::BadReference(_) => {
            "give the name of a key in the key store, all 64 digits of a key id, or a path such as `./publisher.pub`"
        }
        E::ShortId(_) => "give all 64 digits; `casemate keys list` shows them",
        E::Pattern(_) => "write patterns as in `.gitignore`",
        E::NoHome => "pass --home DIR",
        E::TwoKeyStores(_) => "keep one, and move the others to another folder",
        E::CertificateWithoutKey(_) => "set both `certificate` and `key`, or neither",
        E::KeyFile { .. } => "pass a public key in PEM, as written by `casemate keys export`",
        E::NotInMemory(_) | E::NoMemoryFolder => "mount a tmpfs and pass it with `--memory=DIR`",
        E::NoRoom { .. } => {
            "pass a larger tmpfs with `--memory=DIR`; in Docker, enlarge /dev/shm with `--shm-size`"
        }
        E::Succession { .. } => {
            "get the statement again from the publisher, or give the new key an entry of its own"
        }
        E::TrustFile { .. } => "see docs/guides/sign-models.md for the format of a trust file",
        E::Age(_)
        | E::PassphraseTooLong
        | E::Service(_)
        | E::Etcd(_)
        | E::Tls(_)
        | E::Store(_)
        | E::Policy(_)
        | E::Io { .. }
        | E::TooLong { .. }
        | E::NotUtf8(_)
        | E::Toml { .. } => return None,
    };
    Some(hint.to_owned())
}

impl From<Untrusted> for Fault {
    fn from(error: Untrusted) -> Self {
        let hint = match &error {
            Untrusted::NotListed { .. } | Untrusted::OtherRole { .. } => {
                "add the publisher to the trust file if you trust it, or pass another --role"
            }
            Untrusted::ListWithdrawn { .. } => {
                "have the owner sign a new recipient list with `casemate rewrap --owner NAME --to NAME`, or list this signature under `accept` in a trust file, by the owner's `message_sha384` from `casemate --json inspect`"
            }
            Untrusted::Withdrawn { .. } => {
                "get the current version from the publisher, or list this signature under `accept` in a trust file"
            }
        };
        Self::from_error(Outcome::NotPermitted, error).hint(hint)
    }
}

impl From<ListRefused> for Fault {
    fn from(error: ListRefused) -> Self {
        match error {
            ListRefused::Open(error) => error.into(),
            ListRefused::Crypto(error) => error.into(),
            ListRefused::Policy(error) => error.into(),
            ListRefused::Untrusted(error) => error.into(),
        }
    }
}
