//! age files.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use age::{
    DecryptError, Decryptor, EncryptError, Encryptor, Identity, Recipient,
    armor::{ArmoredReader, ArmoredWriter, Format},
};
use casemate_crypto::kem::{KemPrivateKey, KemPublicKey};

use crate::{
    AgeError, HEADER_BYTES_MAX, RECIPIENTS_MAX,
    stanza::{HybridIdentity, HybridRecipient},
};

/// Number of bytes copied at a time: one chunk of the age format.
const CHUNK_BYTES: usize = 64 * 1024;

/// The encoding of an age file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Binary.
    Binary,
    /// Printable: strict PEM with the label `AGE ENCRYPTED FILE`.
    Armor,
}

impl Encoding {
    const fn format(self) -> Format {
        match self {
            Self::Binary => Format::Binary,
            Self::Armor => Format::AsciiArmor,
        }
    }
}

/// Encrypts all of `input` to `recipients` and returns the number of bytes encrypted.
///
/// `output` is not a valid age file until this returns.
///
/// # Errors
///
/// - [`AgeError::Key`] if a recipient is not of the suite `mlkem768-x25519` or malformed.
/// - [`AgeError::NoRecipient`] without recipients, [`AgeError::TooManyRecipients`] beyond
///   [`RECIPIENTS_MAX`].
/// - [`AgeError::Io`] if reading or writing fails.
pub fn encrypt(
    recipients: &[&KemPublicKey],
    mut input: impl BufRead,
    output: impl Write,
    encoding: Encoding,
) -> Result<u64, AgeError> {
    if recipients.len() > RECIPIENTS_MAX {
        return Err(AgeError::TooManyRecipients {
            actual: recipients.len(),
        });
    }
    let recipients = recipients
        .iter()
        .map(|key| HybridRecipient::new(key))
        .collect::<Result<Vec<_>, _>>()?;
    let encryptor = Encryptor::with_recipients(recipients.iter().map(|one| one as &dyn Recipient))?;
    let armored = ArmoredWriter::wrap_output(output, encoding.format())?;
    let mut writer = encryptor.wrap_output(armored)?;
    let bytes = io::copy(&mut input, &mut writer)?;
    writer.finish()?.finish()?.flush()?;
    Ok(bytes)
}

/// Decrypts an age file, armored or not, with the first of `identities` that fits, and returns the
/// number of bytes decrypted.
///
/// Each 64 KiB are written to `output` after their tag is verified. Truncation is detected only at
/// the end, so do not use `output` unless this returns `Ok`.
///
/// # Errors
///
/// - [`AgeError::NoMatch`] if no identity fits.
/// - [`AgeError::Header`] if the file is not an age file, or a hybrid stanza in it is malformed.
/// - [`AgeError::Rejected`] if the header or the content was changed or truncated.
/// - [`AgeError::Io`] if reading or writing fails.
pub fn decrypt(
    identities: &[&KemPrivateKey],
    input: impl BufRead,
    mut output: impl Write,
) -> Result<u64, AgeError> {
    let identities = identities
        .iter()
        .map(|key| HybridIdentity::new(key))
        .collect::<Result<Vec<_>, _>>()?;
    let mut whole = BufReader::new(ArmoredReader::new(input));
    let header = read_header(&mut whole)?;
    let decryptor = Decryptor::new_buffered(Cursor::new(header).chain(whole))?;
    let mut reader = decryptor.decrypt(identities.iter().map(|one| one as &dyn Identity))?;
    copy_content(&mut reader, &mut output)
}

/// Reads up to the line that ends the header, so that the limit applies before the header is
/// parsed.
fn read_header(input: &mut impl BufRead) -> Result<Vec<u8>, AgeError> {
    let mut header = Vec::new();
    let mut limited = input.take(HEADER_BYTES_MAX);
    loop {
        let start = header.len();
        let read = limited
            .read_until(b'\n', &mut header)
            .map_err(DecryptError::Io)?;
        let line = header.get(start..).unwrap_or_default();
        if read == 0 || !line.ends_with(b"\n") {
            return Err(AgeError::Header);
        }
        if line.starts_with(b"---") {
            return Ok(header);
        }
    }
}

/// Copies verified content, distinguishing the reader's errors from the writer's.
fn copy_content(reader: &mut impl Read, output: &mut impl Write) -> Result<u64, AgeError> {
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
