//! What every rank sends to all others in a reduction.

use casemate_crypto::{hash::sha384, hpke::TAG_BYTES};

use super::{
    checksum::Tags,
    error::{AllReduceError, Exchange},
    keys::Ring,
    lanes::{Lanes, is_exponent},
};

const ANNOUNCED: usize = 11 + LABEL_BYTES;
/// Length of the hash of a label, in bytes.
pub(super) const LABEL_BYTES: usize = 48;
/// Length of an announcement, in bytes.
pub const ANNOUNCEMENT_BYTES: usize = ANNOUNCED + TAG_BYTES;
/// Length of a message with tags, in bytes.
pub const TAGS_BYTES: usize = 16 + TAG_BYTES;
/// Length of a result, in bytes.
pub const RESULT_BYTES: usize = 1 + TAG_BYTES;

fn nonce(exchange: Exchange) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(last) = nonce.last_mut() {
        *last = exchange.id();
    }
    nonce
}

/// Encrypts what this rank sends.
pub(super) fn seal(
    ring: &Ring,
    (number, exchange): (u64, Exchange),
    content: &[u8],
) -> Result<Vec<u8>, AllReduceError> {
    let key = ring.sender_key(number, ring.rank)?;
    Ok(key.seal(&nonce(exchange), &ring.transcript, content)?)
}

/// Decrypts and reads what all ranks have sent, this one among them.
pub(super) fn open<T>(
    ring: &Ring,
    (number, exchange): (u64, Exchange),
    messages: &[&[u8]],
    mut read: impl FnMut(usize, &[u8]) -> Option<T>,
) -> Result<Vec<T>, AllReduceError> {
    if messages.len() != ring.ranks() {
        return Err(AllReduceError::Messages(messages.len()));
    }
    let opened = messages.iter().enumerate().map(|(rank, message)| {
        let key = ring.sender_key(number, rank)?;
        let content = key.open(&nonce(exchange), &ring.transcript, message).ok();
        let found = content.and_then(|content| read(rank, &content));
        found.ok_or_else(|| AllReduceError::Message {
            rank,
            name: ring.name(rank),
            exchange,
        })
    });
    opened.collect()
}

/// What a rank is about to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) exponent: i16,
    pub(super) lanes: u8,
    pub(super) length: u64,
    /// Hash of what the vector is, in the caller's words.
    pub(super) label: [u8; LABEL_BYTES],
}

impl Announcement {
    pub(super) fn new(exponent: i16, lanes: Lanes, length: usize, label: &[u8]) -> Self {
        Self {
            exponent,
            lanes: lanes.id(),
            length: u64::try_from(length).unwrap_or(u64::MAX),
            label: sha384(label),
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let exponent = self.exponent.to_be_bytes();
        let length = self.length.to_be_bytes();
        let parts: [&[u8]; 4] = [&exponent, &[self.lanes], &length, &self.label];
        parts.concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (exponent, rest) = bytes.split_first_chunk()?;
        let ([lanes], rest) = rest.split_first_chunk()?;
        let (length, label) = rest.split_first_chunk()?;
        let exponent = i16::from_be_bytes(*exponent);
        is_exponent(exponent).then_some(Self {
            exponent,
            lanes: *lanes,
            length: u64::from_be_bytes(*length),
            label: label.try_into().ok()?,
        })
    }

    /// Says what vector it announces.
    pub(super) fn vector(self) -> String {
        format!("{} values in {} lanes", self.length, self.lanes)
    }
}

pub(super) fn read_tags(_: usize, content: &[u8]) -> Option<Tags> {
    Tags::from_bytes(content)
}

pub(super) fn read_result(_: usize, content: &[u8]) -> Option<bool> {
    match content {
        [1] => Some(true),
        [0] => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn announcements_are_read_as_they_are_written_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 56..62)) {
            if let Some(found) = Announcement::from_bytes(&bytes) {
                prop_assert_eq!(found.to_bytes(), bytes);
                prop_assert!(is_exponent(found.exponent));
            }
        }

        #[test]
        fn tags_and_results_have_one_form(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(found) = read_tags(0, &bytes) {
                prop_assert_eq!(found.to_bytes().to_vec(), bytes.clone());
            }
            prop_assert_eq!(read_result(0, &bytes).is_some(), bytes == [0] || bytes == [1]);
        }
    }

    #[test]
    fn an_announcement_has_fifty_nine_bytes() {
        let valid = Announcement::new(-3, Lanes::Two, 7, b"bucket");
        let bytes = valid.to_bytes();
        assert_eq!(bytes.len(), ANNOUNCED);
        assert_eq!(Announcement::from_bytes(&bytes), Some(valid));
        for exponent in [-150i16, 129, -32_767] {
            let changed = [&exponent.to_be_bytes()[..], &bytes[2..]].concat();
            assert_eq!(Announcement::from_bytes(&changed), None, "{exponent}");
        }
    }
}
