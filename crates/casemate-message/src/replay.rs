//! What was seen before (`spec/inference.md`, section 6).

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use casemate_crypto::encoding::KeyId;

use crate::{limits::REPLAY_ENTRIES_MAX, sign::Verified};

type Mark = [u8; 32];

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It was seen before.
    #[error("the request was seen before")]
    Seen,
    /// The record is full; admitting more would mean forgetting something.
    #[error("the replay record is full")]
    Full,
}

fn mark(parts: &[&[u8]]) -> Mark {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    out
}

fn enc_mark(enc: &[u8]) -> Mark {
    mark(&[b"enc", enc])
}

fn nonce_mark(key: &KeyId, nonce: &str) -> Mark {
    mark(&[b"nonce", key.as_bytes(), nonce.as_bytes()])
}

/// A bounded record of admitted requests that fails closed.
#[derive(Debug)]
pub struct ReplayRecord {
    seen: HashMap<Mark, u64>,
    by_expiry: BTreeMap<u64, Vec<Mark>>,
    limit: usize,
    /// Latest time seen; the clock may step back, what was forgotten stays forgotten.
    floor: u64,
}

impl Default for ReplayRecord {
    fn default() -> Self {
        Self::with_limit(REPLAY_ENTRIES_MAX)
    }
}

impl ReplayRecord {
    /// A record of at most `limit` entries; an admitted request takes two.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            seen: HashMap::new(),
            by_expiry: BTreeMap::new(),
            limit,
            floor: 0,
        }
    }

    /// Whether an encapsulated key was admitted before; cheap, before any decryption.
    pub fn has_seen(&self, enc: &[u8]) -> bool {
        self.seen.contains_key(&enc_mark(enc))
    }

    /// Admits a verified request once.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]; nothing is recorded then.
    pub fn admit(&mut self, enc: &[u8], verified: &Verified, now: u64) -> Result<(), ReplayError> {
        self.floor = self.floor.max(now);
        self.forget_before(self.floor);
        // It may have been admitted and forgotten before the clock stepped back.
        if verified.expires < self.floor {
            return Err(ReplayError::Seen);
        }
        let marks = [enc_mark(enc), nonce_mark(&verified.key, &verified.nonce)];
        if marks.iter().any(|mark| self.seen.contains_key(mark)) {
            return Err(ReplayError::Seen);
        }
        if self.seen.len().saturating_add(marks.len()) > self.limit {
            return Err(ReplayError::Full);
        }
        for mark in marks {
            self.seen.insert(mark, verified.expires);
            self.by_expiry
                .entry(verified.expires)
                .or_default()
                .push(mark);
        }
        Ok(())
    }

    fn forget_before(&mut self, now: u64) {
        let kept = self.by_expiry.split_off(&now);
        let expired = std::mem::replace(&mut self.by_expiry, kept);
        expired
            .into_values()
            .flatten()
            .for_each(|mark| _ = self.seen.remove(&mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(nonce: &str, expires: u64) -> Verified {
        Verified {
            key: KeyId::from_bytes([7; 32]),
            nonce: nonce.to_owned(),
            expires,
        }
    }

    #[test]
    fn a_request_is_admitted_once_by_its_encryption_and_by_its_nonce() {
        let mut record = ReplayRecord::default();
        assert!(!record.has_seen(b"enc"));
        assert_eq!(record.admit(b"enc", &verified("n1", 100), 0), Ok(()));
        assert!(record.has_seen(b"enc"));
        assert_eq!(
            record.admit(b"enc", &verified("n2", 100), 0),
            Err(ReplayError::Seen)
        );
        assert_eq!(
            record.admit(b"other", &verified("n1", 100), 0),
            Err(ReplayError::Seen)
        );
        assert_eq!(record.admit(b"other", &verified("n2", 100), 0), Ok(()));
    }

    #[test]
    fn a_clock_that_steps_back_does_not_admit_what_was_forgotten() {
        let mut record = ReplayRecord::default();
        record.admit(b"a", &verified("a", 10), 0).unwrap();
        record.admit(b"b", &verified("b", 50), 30).unwrap();
        assert!(!record.has_seen(b"a"));
        assert_eq!(
            record.admit(b"a", &verified("a", 10), 5),
            Err(ReplayError::Seen)
        );
    }

    #[test]
    fn a_full_record_fails_closed_until_entries_expire() {
        let mut record = ReplayRecord::with_limit(4);
        record.admit(b"a", &verified("a", 10), 0).unwrap();
        record.admit(b"b", &verified("b", 20), 0).unwrap();
        assert_eq!(
            record.admit(b"c", &verified("c", 20), 10),
            Err(ReplayError::Full)
        );
        assert_eq!(record.admit(b"c", &verified("c", 20), 11), Ok(()));
        assert!(!record.has_seen(b"a"));
    }
}
