//! PEM blocks (RFC 7468), strictly: known label, nothing but white space between blocks.

use der::pem::{LineEnding, decode_vec, encode_string};
use zeroize::Zeroizing;

use super::{EncodingError, KEY_FILE_BYTES_MAX};
use crate::SecretBytes;

pub(super) const PUBLIC_LABEL: &str = "PUBLIC KEY";
pub(super) const PRIVATE_LABEL: &str = "PRIVATE KEY";

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Decodes every block of `text`, which must all have the label `expected`.
pub(super) fn decode(
    text: &[u8],
    expected: &'static str,
) -> Result<Vec<SecretBytes>, EncodingError> {
    if text.len() > KEY_FILE_BYTES_MAX {
        return Err(EncodingError::TooLong { actual: text.len() });
    }
    let mut rest = str::from_utf8(text)
        .map_err(|_| EncodingError::NotPem)?
        .trim_start();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (block, after) = split_block(rest).ok_or(EncodingError::NotPem)?;
        let (label, der) = decode_vec(block.as_bytes()).map_err(|_| EncodingError::NotPem)?;
        let der = Zeroizing::new(der);
        if label != expected {
            return Err(EncodingError::Label {
                found: label.to_owned(),
                expected,
            });
        }
        blocks.push(SecretBytes::from(der));
        rest = after.trim_start();
    }
    if blocks.is_empty() {
        Err(EncodingError::NotPem)
    } else {
        Ok(blocks)
    }
}

/// Cuts the first block off `text`, which must begin with one.
fn split_block(text: &str) -> Option<(&str, &str)> {
    text.starts_with(BEGIN).then_some(())?;
    let end = text.find(END)?.checked_add(END.len())?;
    let closing = text.get(end..)?.find(DASHES)?.checked_add(DASHES.len())?;
    text.split_at_checked(end.checked_add(closing)?)
}

pub(super) fn encode(label: &'static str, der: &[u8]) -> Result<String, EncodingError> {
    encode_string(label, LineEnding::LF, der).map_err(|_| EncodingError::Der { what: "PEM" })
}
