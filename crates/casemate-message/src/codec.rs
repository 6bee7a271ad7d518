//! Binary HTTP (RFC 9292): known and indeterminate length.

use std::io::Cursor;

use bhttp::{Message, Mode};

use crate::{
    fields::{Fields, MessageError},
    limits::FIELDS_MAX,
};

pub(crate) fn encode(
    message: &mut Message,
    fields: &Fields,
    content: &[u8],
    trailers: &Fields,
) -> Result<Vec<u8>, MessageError> {
    fields
        .iter()
        .for_each(|(name, value)| message.put_header(name, value));
    message.write_content(content);
    trailers
        .iter()
        .for_each(|(name, value)| message.put_trailer(name, value));
    let mut out = Vec::with_capacity(content.len().saturating_add(1024));
    message
        .write_bhttp(Mode::KnownLength, &mut out)
        .map_err(|_| MessageError::NotBinaryHttp)?;
    Ok(out)
}

/// Splits off a QUIC variable-length integer (RFC 9000, section 16).
fn take_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = 1usize << (bytes.first()? >> 6);
    let (encoded, rest) = bytes.split_at_checked(len)?;
    let value = encoded
        .iter()
        .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let bits = u32::try_from(len).ok()?.checked_mul(8)?.checked_sub(2)?;
    Some((
        usize::try_from(value & 1u64.checked_shl(bits)?.checked_sub(1)?).ok()?,
        rest,
    ))
}

fn skip_prefixed(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = take_varint(bytes)?;
    rest.get(len..)
}

/// Refuses a message with too many fields, counting them without allocating. The decoder allocates
/// for each field.
///
/// A message that cannot be walked is left to the decoder. The walk fails only at the end of the
/// bytes, and the decoder refuses such a message.
fn refuse_many_fields(bytes: &[u8]) -> Result<(), MessageError> {
    let many = MessageError::TooManyFields {
        actual: FIELDS_MAX.saturating_add(1),
    };
    let Some((framing, mut rest)) = take_varint(bytes) else {
        return Ok(());
    };
    // A request begins with method, scheme, authority and path; a response begins with its status.
    let walked = if framing % 2 == 0 {
        (0..4).try_fold(rest, |rest, _| skip_prefixed(rest))
    } else {
        let status = take_varint(rest);
        // More sections would follow an informational response.
        if status.is_some_and(|(status, _)| status < 200) {
            return Err(MessageError::NotBinaryHttp);
        }
        status.map(|(_, rest)| rest)
    };
    let Some(after_control) = walked else {
        return Ok(());
    };
    rest = after_control;
    // Header fields, then trailers.
    for _ in 0..2 {
        let section = if framing < 2 {
            let Some((len, after)) = take_varint(rest) else {
                return Ok(());
            };
            let Some((section, after)) = after.split_at_checked(len) else {
                return Ok(());
            };
            rest = after;
            count_fields(section, false).1
        } else {
            let (after, count) = count_fields(rest, true);
            rest = after;
            count
        };
        if section > FIELDS_MAX {
            return Err(many);
        }
        // The content is between the two sections: one chunk, or several that end with an empty
        // one.
        loop {
            let Some((len, after)) = take_varint(rest) else {
                return Ok(());
            };
            let Some(after) = after.get(len..) else {
                return Ok(());
            };
            rest = after;
            if framing < 2 || len == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Returns the bytes after the fields, and the number of fields, counted up to one more than the
/// limit.
fn count_fields(mut bytes: &[u8], terminated: bool) -> (&[u8], usize) {
    let mut count = 0;
    while count <= FIELDS_MAX {
        if terminated && bytes.first() == Some(&0) {
            return (bytes.get(1..).unwrap_or_default(), count);
        }
        let Some(rest) = skip_prefixed(bytes)
            .filter(|_| !bytes.is_empty())
            .and_then(skip_prefixed)
        else {
            break;
        };
        bytes = rest;
        count = count.saturating_add(1);
    }
    (bytes, count)
}

/// Decodes a message. Refuses informational responses, and trailing bytes other than zeros.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    refuse_many_fields(bytes)?;
    let mut cursor = Cursor::new(bytes);
    let message = Message::read_bhttp(&mut cursor).map_err(|_| MessageError::NotBinaryHttp)?;
    let end = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let padding = bytes.get(end..).unwrap_or_default();
    if message.informational().is_empty() && padding.iter().all(|byte| *byte == 0) {
        return Ok(message);
    }
    Err(MessageError::NotBinaryHttp)
}
