//! PEM blocks (RFC 7468), strictly: known label, lines of 64 characters, nothing but white space
//! between blocks.
//!
//! The characters of a private key are secret. Line ends are located by length alone, and the text
//! between them goes to `base64ct` unchanged. The only test applied to every character is whether
//! it is a dash, which is not in the base64 alphabet.

use base64ct::{Base64, Base64Unpadded, Encoding};
use zeroize::Zeroizing;

use super::{EncodingError, KEY_FILE_BYTES_MAX};
use crate::SecretBytes;

pub(super) const PUBLIC_LABEL: &str = "PUBLIC KEY";
pub(super) const PRIVATE_LABEL: &str = "PRIVATE KEY";

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const LINE_CHARACTERS: usize = 64;
/// Number of bytes that one full line encodes.
const LINE_BYTES: usize = 48;

/// Decodes every block of `text`, which must all have the label `expected`.
pub(super) fn decode(
    text: &[u8],
    expected: &'static str,
) -> Result<Vec<SecretBytes>, EncodingError> {
    if text.len() > KEY_FILE_BYTES_MAX {
        return Err(EncodingError::TooLong { actual: text.len() });
    }
    let mut rest = text.trim_ascii_start();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let block = split_block(rest).ok_or(EncodingError::NotPem)?;
        let der = decode_body(block.body).ok_or(EncodingError::NotPem)?;
        if block.label != expected {
            return Err(EncodingError::Label {
                found: block.label.to_owned(),
                expected,
            });
        }
        blocks.push(der);
        rest = block.after.trim_ascii_start();
    }
    if blocks.is_empty() {
        Err(EncodingError::NotPem)
    } else {
        Ok(blocks)
    }
}

struct Block<'a> {
    label: &'a str,
    body: &'a [u8],
    after: &'a [u8],
}

/// Splits the first block off `text`, which must begin with one.
fn split_block(text: &[u8]) -> Option<Block<'_>> {
    let rest = text.strip_prefix(BEGIN)?;
    let (label, rest) = rest.split_at_checked(find_dash(rest)?)?;
    let rest = strip_line_end(rest.strip_prefix(DASHES)?)?;
    let (body, rest) = rest.split_at_checked(find_dash(rest)?)?;
    let after = rest.strip_prefix(END)?.strip_prefix(label)?;
    let label = str::from_utf8(label).ok()?;
    let plain = label.bytes().all(|c| c == b' ' || c.is_ascii_graphic());
    Some(Block {
        label: plain.then_some(label)?,
        body,
        after: after.strip_prefix(DASHES)?,
    })
}

/// Finds the first dash. No other function inspects every character; it is separate so that the
/// constant-time gate can identify it.
#[inline(never)]
fn find_dash(text: &[u8]) -> Option<usize> {
    text.iter().position(|c| *c == b'-')
}

fn strip_line_end(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn decode_body(body: &[u8]) -> Option<SecretBytes> {
    let ([lines @ .., b'\r', b'\n'] | [lines @ .., b'\r' | b'\n']) = body else {
        return None;
    };
    let mut rest = lines;
    let mut text = Zeroizing::new(Vec::with_capacity(rest.len()));
    // Every line but the last is full, and the last is not empty.
    while rest.len() > LINE_CHARACTERS {
        let (line, after) = rest.split_at_checked(LINE_CHARACTERS)?;
        text.extend_from_slice(line);
        rest = strip_line_end(after).filter(|rest| !rest.is_empty())?;
    }
    text.extend_from_slice(rest);
    // Base64 ends in at most two padding characters; the length reveals nothing about the key.
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|c| **c == b'=');
    let len = text.len().checked_sub(padding.count())?;
    let text = text.get(..len)?;
    let mut der = Zeroizing::new(vec![0; decoded_len(len)]);
    Base64Unpadded::decode(text, &mut der).ok()?;
    Some(der.into())
}

/// Returns the number of bytes that `characters` of base64 encode, without padding.
const fn decoded_len(characters: usize) -> usize {
    characters.saturating_mul(3) / 4
}

/// Returns the maximum number of characters that `bytes` of DER need.
const fn encoded_len_max(label: &str, bytes: usize) -> usize {
    let framing = label.len().saturating_add(BEGIN.len()).saturating_mul(2);
    let text = bytes.saturating_mul(3) / 2;
    framing.saturating_add(text).saturating_add(64)
}

pub(super) fn encode(label: &'static str, der: &[u8]) -> Result<String, EncodingError> {
    // Reserve all of it: a buffer that moves leaves a copy of the key behind.
    let mut out = String::with_capacity(encoded_len_max(label, der.len()));
    out.extend(["-----BEGIN ", label, "-----\n"]);
    let mut line = Zeroizing::new([0; LINE_CHARACTERS]);
    for bytes in der.chunks(LINE_BYTES) {
        let text = Base64::encode(bytes, line.as_mut_slice())
            .map_err(|_| EncodingError::Der { what: "PEM" })?;
        out.extend([text, "\n"]);
    }
    out.extend(["-----END ", label, "-----\n"]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use der::pem::{LineEnding, encode_string};

    use super::*;

    #[test]
    fn every_length_is_written_as_another_encoder_does_and_read_with_any_line_end() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 1..=bytes.len() {
            let der = &bytes[..len];
            let text = encode(PRIVATE_LABEL, der).unwrap();
            let other = encode_string(PRIVATE_LABEL, LineEnding::LF, der).unwrap();
            assert_eq!(text, other);
            let room = encoded_len_max(PRIVATE_LABEL, len);
            assert!(
                text.len() <= room && room <= 2 * text.len() + 64,
                "{len}: {room}"
            );
            for end in ["\n", "\r\n", "\r"] {
                let text = text.replace('\n', end);
                let blocks = decode(text.as_bytes(), PRIVATE_LABEL).unwrap();
                assert_eq!(blocks.len(), 1);
                assert_eq!(blocks[0].expose(), der, "{len} bytes, {end:?}");
            }
        }
    }

    #[test]
    fn other_lines_and_padding_are_refused() {
        let body = "QUJD".repeat(16);
        for body in [
            "\n".to_owned(),
            "\n\n".to_owned(),
            body.clone(),
            format!(" {body}\n"),
            format!("{body}\n\n"),
            format!("{body}QUJD\n"),
            "QUJD\nQUJD\n".to_owned(),
            "QUI\n".to_owned(),
            "QQ\n".to_owned(),
            "Q===\n".to_owned(),
            "QR==\n".to_owned(),
            "QUJ=\n".to_owned(),
            "QU=D\n".to_owned(),
            "QU-D\n".to_owned(),
            "QU\u{e4}\n".to_owned(),
        ] {
            let text = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
            let refused = decode(text.as_bytes(), PRIVATE_LABEL).unwrap_err();
            assert!(
                matches!(refused, EncodingError::NotPem),
                "{body:?}: {refused}"
            );
        }
    }
}
