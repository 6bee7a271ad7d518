//! Errors of age files.

use std::io;

/// Why an age file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The text is not a recipient or identity of the hybrid type.
    #[error("not a hybrid age {what}: expected `{prefix}1...`")]
    NotAKey {
        /// `recipient` or `identity`.
        what: &'static str,
        /// The prefix of such a text.
        prefix: &'static str,
    },
    /// The key is of another suite, or malformed.
    #[error("age supports only keys of the suite mlkem768-x25519")]
    Key,
    /// There are no recipients.
    #[error("an age file needs at least one recipient")]
    NoRecipient,
    /// The header would be longer than the limit.
    #[error("{actual} recipients exceed the limit of {}", crate::RECIPIENTS_MAX)]
    TooManyRecipients {
        /// Number of recipients given.
        actual: usize,
    },
    /// The file is encrypted to other recipients.
    #[error("no key fits: the age file is encrypted to other recipients")]
    NoMatch,
    /// The bytes are not an age file, or break a rule of the format.
    #[error("not a well-formed age file")]
    Header,
    /// The file was changed or truncated.
    #[error("the age file was changed or truncated")]
    Rejected,
    /// Reading or writing failed.
    #[error("cannot read or write the file")]
    Io(#[from] io::Error),
}
