//! Errors of age files.

use std::io::{self, Read, Write};

use age::{DecryptError, EncryptError};

/// Number of bytes copied at a time: one chunk of the age format.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why an age file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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

impl From<EncryptError> for AgeError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Io(error) => Self::Io(error),
            EncryptError::MissingRecipients => Self::NoRecipient,
            // All recipients are of one type, so any other error comes from a key.
            _ => Self::Key,
        }
    }
}

impl From<DecryptError> for AgeError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => Self::NoMatch,
            DecryptError::InvalidMac | DecryptError::DecryptionFailed => Self::Rejected,
            DecryptError::Io(error) if !is_format(&error) => Self::Io(error),
            _ => Self::Header,
        }
    }
}

/// Returns whether the error of the age crate is about the content, not about I/O.
fn is_format(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Copies verified content, distinguishing the reader's errors from the writer's.
pub(crate) fn copy_content(
    reader: &mut impl Read,
    output: &mut impl Write,
) -> Result<u64, AgeError> {
    let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK_BYTES]);
    let mut total = 0_u64;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_format(&error) => return Err(AgeError::Rejected),
            Err(error) => return Err(error.into()),
        };
        output.write_all(buffer.get(..read).unwrap_or_default())?;
        total = total.saturating_add(read as u64);
    }
    output.flush()?;
    Ok(total)
}
