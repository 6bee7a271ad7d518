//! The error that ends a command: a message, its causes, a hint and an exit code.

mod environment;
mod signature;

use std::{error::Error, fmt, io, path::Path};

use casemate_age::AgeError;
#[cfg(feature = "bench")]
use casemate_bench::BenchError;
use casemate_crypto::{encoding::EncodingError, policy::PolicyError};
use casemate_environment::{ListRefused, Untrusted};
use casemate_gateway::{ConnectError, GatewayError, LoadError, ServeError};
use casemate_keys::{EngineError, StoreError};
use casemate_seal::{OpenError, RewrapError, SealError, directory::DirectoryError};
use casemate_tls::TlsError;

/// Exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A check failed.
    CheckFailed = 1,
    /// The command was used wrongly.
    Usage = 2,
    /// Reading, writing or the network failed; trying again may help.
    Io = 3,
    /// Not permitted: no key for it, or the policy forbids it.
    NotPermitted = 4,
    /// The reader of standard output closed it, which is not an error.
    OutputClosed = 0,
    /// The program given to `run` cannot be executed; the code that shells use.
    CannotExecute = 126,
    /// The program given to `run` does not exist; the code that shells use.
    ProgramNotFound = 127,
}

/// An error that ends the command.
#[derive(Debug)]
pub(crate) struct Fault {
    outcome: Outcome,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
            source: None,
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Outcome::Usage, message)
    }

    /// Creates a fault from an error and its causes.
    pub(crate) fn from_error(outcome: Outcome, error: impl Error + Send + Sync + 'static) -> Self {
        // The message is the error's own; its causes follow it.
        let message = error.to_string();
        let mut fault = Self::new(outcome, message);
        fault.source = Some(Box::new(error));
        fault
    }

    /// Returns the fault that this build of the program has no `what`.
    pub(crate) fn not_built(what: &str, feature: &str) -> Self {
        Self::usage(format!("this build of casemate has no {what}"))
            .hint(format!("build it with `--features {feature}`"))
    }

    /// Creates a fault with our own message and a failed system call as its cause.
    pub(crate) fn caused(outcome: Outcome, message: String, error: io::Error) -> Self {
        let mut fault = Self::new(outcome, message);
        fault.source = Some(Box::new(Cause(error)));
        fault
    }

    /// Creates a fault for a failed system call on a file.
    pub(crate) fn file(what: &str, path: &Path, error: io::Error) -> Self {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let outcome = if exists || error.kind() == io::ErrorKind::InvalidInput {
            Outcome::Usage
        } else {
            Outcome::Io
        };
        let message = format!("cannot {what} {}", path.display());
        let fault = Self::caused(outcome, message, error);
        if exists {
            fault.hint("pass --force to replace it, or -o to write elsewhere")
        } else {
            fault
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the file that the fault is about before the message.
    pub(crate) fn about(mut self, path: &str) -> Self {
        self.message = format!("{path}: {}", self.message);
        self
    }

    pub(crate) const fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub(crate) fn code(&self) -> u8 {
        self.outcome as u8
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the messages of the causes, outermost first, without repetition.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut said = self.message.clone();
        let mut next = self.source.as_deref().map(|error| error as &dyn Error);
        while let Some(error) = next {
            let text = error.to_string();
            if !said.contains(&text) {
                causes.push(text.clone());
            }
            said = text;
            next = error.source();
        }
        causes
    }
}

/// Wraps an error so that its own text becomes a cause.
#[derive(Debug)]
struct Cause(io::Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        let (outcome, hint) = match &error {
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
            _ => (Outcome::CheckFailed, None),
        };
        let fault = Self::from_error(outcome, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<AgeError> for Fault {
    fn from(error: AgeError) -> Self {
        let (outcome, hint) = match &error {
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
            _ => (Outcome::Usage, None),
        };
        let fault = Self::from_error(outcome, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

#[cfg(feature = "bench")]
impl From<BenchError> for Fault {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Seal(error) => error.into(),
            BenchError::Open(error) => error.into(),
            BenchError::Tls(error) => error.into(),
            error @ (BenchError::Io(_) | BenchError::Rustls(_)) => {
                Self::from_error(Outcome::Io, error)
            }
            error @ (BenchError::Report(_)
            | BenchError::Schema { .. }
            | BenchError::Unshowable
            | BenchError::TooLong { .. }) => Self::from_error(Outcome::Usage, error)
                .hint("pass a file written by `casemate bench --json`"),
            error => Self::from_error(Outcome::CheckFailed, error),
        }
    }
}

impl From<SealError> for Fault {
    fn from(error: SealError) -> Self {
        let outcome = match &error {
            SealError::Io { .. } => Outcome::Io,
            SealError::OwnerNeeded(_) | SealError::Owner(_) => Outcome::NotPermitted,
            _ => Outcome::Usage,
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
            other => Self::from_error(Outcome::Io, other),
        }
    }
}

impl From<DirectoryError> for Fault {
    fn from(error: DirectoryError) -> Self {
        use DirectoryError as D;
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
            _ => (Outcome::Usage, "rename it, or leave it out with --exclude"),
        };
        Self::from_error(outcome, error).hint(hint)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let (outcome, hint) = match &error {
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
            _ => (Outcome::Usage, None),
        };
        let fault = Self::from_error(outcome, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<casemate_store::StoreError> for Fault {
    fn from(error: casemate_store::StoreError) -> Self {
        use casemate_store::StoreError as S;
        let (outcome, hint) = match &error {
            S::NotBuilt => return Self::not_built("object stores", "stores"),
            S::Url { .. } => (
                Outcome::Usage,
                "write s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY",
            ),
            S::Settings { .. } => (
                Outcome::Usage,
                "set credentials and settings in the environment: AWS_..., GOOGLE_..., AZURE_...",
            ),
            S::Profile { .. } => (
                Outcome::Usage,
                "run `eval \"$(aws configure export-credentials --format env)\"` to put its keys into the environment",
            ),
            S::ProfileFile { .. } => (
                Outcome::Io,
                "fix the file, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            _ => (Outcome::Io, "try again"),
        };
        Self::from_error(outcome, error).hint(hint)
    }
}

impl From<PolicyError> for Fault {
    fn from(error: PolicyError) -> Self {
        let (outcome, hint) = match &error {
            PolicyError::NotAllowed { .. } => (
                Outcome::NotPermitted,
                "choose another key, or another profile with --policy",
            ),
            PolicyError::UnknownProfile { .. } => (
                Outcome::Usage,
                "profiles: hybrid, cnsa2, bsi, anssi, experimental",
            ),
            _ => (
                Outcome::Usage,
                "see `policies/` in the source tree for the format of a policy file",
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

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let outcome = match &error {
            ConnectError::BadUrl(_) => Outcome::Usage,
            ConnectError::KeyDocument(_)
            | ConnectError::Ohttp(_)
            | ConnectError::Sign(_)
            | ConnectError::Sealed(_) => Outcome::CheckFailed,
            _ => Outcome::Io,
        };
        let unreachable = matches!(error, ConnectError::Unreachable { .. });
        let fault = Self::from_error(outcome, error);
        if unreachable {
            return fault.hint(
                "check the address; if the gateway uses a private CA, pass its root certificate with --ca",
            );
        }
        fault
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        let outcome = match &error {
            LoadError::NotBuilt => return Self::not_built("ONNX engine", "onnx"),
            LoadError::File { .. } => Outcome::Io,
            LoadError::Artifact { .. } | LoadError::Model { .. } => Outcome::CheckFailed,
            _ => Outcome::Usage,
        };
        Self::from_error(outcome, error)
    }
}

impl From<GatewayError> for Fault {
    fn from(error: GatewayError) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        Self::from_error(Outcome::Io, error)
            .hint("choose another address, or stop the process that uses this one")
    }
}

impl From<TlsError> for Fault {
    fn from(error: TlsError) -> Self {
        Self::from_error(Outcome::Usage, error)
    }
}
