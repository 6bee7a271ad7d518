//! Errors of age files.

use std::io::{self, Read, Write};

use age::{DecryptError, EncryptError};

/// Bytes copied at a time: one chunk of the format.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why an age file was not made or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// The text is no recipient or identity of the hybrid type.
    #[error("not a hybrid age {what}: expected `{prefix}1...`")]
    NotAKey {
        /// `recipient` or `identity`.
        what: &'static str,
        /// How such a text begins.
        prefix: &'static str,
    },
    /// The key is of another suite, or malformed.
    #[error("only a key of the suite mlkem768-x25519 can be used with age")]
    Key,
    /// Nobody could read the file.
    #[error("an age file needs at least one recipient")]
    NoRecipient,
    /// The header would be longer than readers take.
    #[error("{actual} recipients, at most {}", crate::RECIPIENTS_MAX)]
    TooManyRecipients {
        /// Recipients given.
        actual: usize,
    },
    /// The file is encrypted to others.
    #[error("no key fits: the age file is encrypted to other recipients")]
    NoMatch,
    /// The bytes are no age file, or one that breaks a rule of the format.
    #[error("not a well-formed age file")]
    Header,
    /// The file was changed or cut short.
    #[error("the age file was changed or cut short")]
    Rejected,
    /// Reading or writing failed.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
}

impl From<EncryptError> for AgeError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Io(error) => Self::Io(error),
            EncryptError::MissingRecipients => Self::NoRecipient,
            // The recipients are all of one type here, so the other reasons are a key's.
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

/// Whether the age crate speaks of the bytes it read, not of the system it read them from.
fn is_format(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Copies verified content; the reader's own errors are told apart from the writer's.
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
