//! age files (`age-encryption.org/v1`) with the hybrid recipient type `mlkem768x25519`.
//!
//! Use it for small secrets and recovery files that must be readable without Casemate. An
//! `age1pq1…` recipient has the same bytes as a public key of the suite `mlkem768-x25519`, so one
//! key can receive both sealed artifacts and age files; the two uses have different HPKE suites and
//! labels. The `age` crate implements the file format. This crate implements the recipient type,
//! because that one does not support hybrid recipients with software keys.
//!
//! ```
//! use casemate_age::{Encoding, decrypt, encrypt};
//! use casemate_crypto::{kem::KemPrivateKey, suite::MLKEM768_X25519};
//!
//! let key = KemPrivateKey::generate(&MLKEM768_X25519)?;
//! let (mut file, mut text) = (Vec::new(), Vec::new());
//! encrypt(&[key.public_key()], &b"recovery"[..], &mut file, Encoding::Armor)?;
//! decrypt(&[&key], &file[..], &mut text)?;
//! assert_eq!(text, b"recovery");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Source
//!
//! C2SP `age.md`, "The hybrid recipient type".

mod error;
mod key;
mod stanza;

use std::io::{BufRead, BufReader, Cursor, Read, Write};

use age::{
    Decryptor, Encryptor, Identity, Recipient,
    armor::{ArmoredReader, ArmoredWriter, Format},
};
use casemate_crypto::kem::{KemPrivateKey, KemPublicKey};

pub use error::AgeError;
pub use key::{identity_from_text, is_recipient, recipient_from_text, recipient_to_text};
use stanza::{HybridIdentity, HybridRecipient};

/// Maximum length of a header, in bytes, enough for about sixty hybrid recipients. Parsing time
/// grows quadratically.
pub const HEADER_BYTES_MAX: u64 = 128 * 1024;
/// Most recipients of a file; they keep the header below [`HEADER_BYTES_MAX`].
pub const RECIPIENTS_MAX: usize = 64;

/// The encoding of an age file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "age has these two forms")]
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
    let bytes = std::io::copy(&mut input, &mut writer)?;
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
    error::copy_content(&mut reader, &mut output)
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
            .map_err(age::DecryptError::Io)?;
        let line = header.get(start..).unwrap_or_default();
        if read == 0 || !line.ends_with(b"\n") {
            return Err(AgeError::Header);
        }
        if line.starts_with(b"---") {
            return Ok(header);
        }
    }
}
