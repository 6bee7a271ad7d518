//! The error that ends a command: a message, its causes, a hint and an exit code.

mod artifact;
#[cfg(feature = "bench")]
mod bench;
mod environment;
mod keys;
mod network;
mod service;
mod signature;
mod statement;
mod training;

use std::{error::Error, fmt, io, path::Path};

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

    /// Creates a fault from an error and its causes, with a hint if there is something to do.
    fn hinted(
        (outcome, hint): (Outcome, Option<&str>),
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        let fault = Self::from_error(outcome, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
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
