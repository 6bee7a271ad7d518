//! The replay record (`spec/inference.md`, section 6.1).

use std::collections::{BTreeMap, HashMap, HashSet};

use casemate_crypto::encoding::KeyId;

use crate::{
    attempt::{RecordId, RequestId},
    limits::{FIRST_ATTEMPT_SECONDS, OFFSET_SECONDS_MAX, WINDOW_SECONDS},
    refusal::Refusal,
    sign::Verified,
};

/// Length of a slice in seconds. Marks that expire within one slice are dropped together.
const SLICE_SECONDS: u64 = 8;

/// A client, as its position in the list of admitted clients.
type Client = u32;

/// The marks that expire within one slice of time.
#[derive(Debug, Default)]
struct Slice {
    marks: HashSet<(Client, [u8; 16])>,
    counts: HashMap<Client, u32>,
}

/// A bounded record of requests by admitted clients. It fails closed.
#[derive(Debug)]
pub struct ReplayRecord {
    id: RecordId,
    clients: HashMap<KeyId, Client>,
    /// Number of marks of each client.
    held: Vec<u32>,
    slices: BTreeMap<u64, Slice>,
    total: usize,
    /// Number of marks reserved for each client.
    share: u32,
    /// Room beyond the reserved shares, and how much of it is in use.
    pool: u32,
    pool_taken: u32,
    /// Latest time seen. A clock that goes back does not revive requests whose marks have expired.
    floor: u64,
}

impl ReplayRecord {
    /// Creates an empty record of at most `limit` marks, shared by `clients`.
    pub fn new(id: RecordId, clients: impl IntoIterator<Item = KeyId>, limit: u32) -> Self {
        let clients: HashMap<_, _> = clients.into_iter().zip(0..).collect();
        let kept = limit / 2;
        let count = u32::try_from(clients.len()).unwrap_or(u32::MAX);
        Self {
            id,
            held: vec![0; clients.len()],
            clients,
            slices: BTreeMap::new(),
            total: 0,
            share: kept.checked_div(count).unwrap_or_default(),
            pool: limit.saturating_sub(kept),
            pool_taken: 0,
            floor: 0,
        }
    }

    /// Returns the id, which key documents carry.
    pub const fn id(&self) -> RecordId {
        self.id
    }

    /// Returns the number of marks.
    pub const fn len(&self) -> usize {
        self.total
    }

    /// Returns whether the record has no marks.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Marks a verified request, or returns why it must not run (step 8).
    ///
    /// # Errors
    ///
    /// The [`Refusal`]. A refused request is marked only if its date is in the future, because the
    /// same bytes will be in time later.
    pub fn admit(&mut self, verified: &Verified, now: u64) -> Result<(), Refusal> {
        self.floor = self.floor.max(now);
        let now = self.floor;
        self.forget_before(now);
        let mark = &verified.mark;
        if mark.record != self.id {
            return Err(Refusal::OutcomeUnknown);
        }
        let known = self.clients.get(&verified.key).copied();
        let client = known.ok_or(Refusal::Signature)?;
        if self.holds(client, mark.id) {
            return Err(Refusal::Duplicate);
        }
        if now.saturating_sub(mark.first) > FIRST_ATTEMPT_SECONDS {
            return Err(Refusal::OutcomeUnknown);
        }
        if now.saturating_sub(verified.date) > WINDOW_SECONDS {
            return Err(Refusal::Late);
        }
        // The same bytes will be in time later, so mark the request before refusing it, unless its
        // date is further ahead than any clock error that clients may have.
        let ahead = verified.date.saturating_sub(now);
        if ahead > WINDOW_SECONDS.saturating_add(OFFSET_SECONDS_MAX) {
            return Err(Refusal::FarAhead);
        }
        self.set(client, mark.id, mark.first)?;
        if ahead > WINDOW_SECONDS {
            return Err(Refusal::Early);
        }
        Ok(())
    }

    fn holds(&self, client: Client, id: RequestId) -> bool {
        let key = (client, id.0);
        self.slices.values().any(|slice| slice.marks.contains(&key))
    }

    fn held(&mut self, client: Client) -> Option<&mut u32> {
        self.held.get_mut(usize::try_from(client).ok()?)
    }

    fn set(&mut self, client: Client, id: RequestId, first: u64) -> Result<(), Refusal> {
        let (share, pool_free) = (self.share, self.pool.saturating_sub(self.pool_taken));
        let held = self.held(client).ok_or(Refusal::Signature)?;
        // Beyond its share, a client may take as much of the pool as it leaves for the others.
        let beyond = held.saturating_sub(share);
        let from_pool = *held >= share;
        if from_pool && beyond >= pool_free {
            return Err(Refusal::RecordFull);
        }
        *held = held.saturating_add(1);
        self.pool_taken = self.pool_taken.saturating_add(from_pool.into());
        self.total = self.total.saturating_add(1);
        let expires = first
            .saturating_add(FIRST_ATTEMPT_SECONDS)
            .saturating_add(1);
        let slice = self
            .slices
            .entry(expires.div_ceil(SLICE_SECONDS))
            .or_default();
        slice.marks.insert((client, id.0));
        let count = slice.counts.entry(client).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }

    fn forget_before(&mut self, now: u64) {
        while let Some(slice) = self.slices.first_entry()
            && slice.key().saturating_mul(SLICE_SECONDS) <= now
        {
            let slice = slice.remove();
            self.total = self.total.saturating_sub(slice.marks.len());
            for (client, count) in slice.counts {
                let share = self.share;
                let Some(held) = self.held(client) else {
                    continue;
                };
                let before = held.saturating_sub(share);
                *held = held.saturating_sub(count);
                let given_back = before.saturating_sub(held.saturating_sub(share));
                self.pool_taken = self.pool_taken.saturating_sub(given_back);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::RequestMark;

    const NOW: u64 = 1_800_000_000;
    const RECORD: RecordId = RecordId([9; 16]);

    fn client(number: u8) -> KeyId {
        KeyId::from_bytes([number; 32])
    }

    fn record(clients: u8, limit: u32) -> ReplayRecord {
        ReplayRecord::new(RECORD, (0..clients).map(client), limit)
    }

    fn request(key: u8, number: u32, first: u64, date: u64) -> Verified {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let mark = RequestMark {
            id: RequestId(id),
            first,
            record: RECORD,
        };
        let key = client(key);
        Verified { key, mark, date }
    }

    #[test]
    fn a_request_runs_once_however_often_and_late_it_arrives() {
        let mut record = record(2, 100);
        let first = request(0, 1, NOW, NOW);
        assert_eq!(record.admit(&first, NOW), Ok(()));
        for (date, now) in [(NOW, NOW), (NOW + 60, NOW + 60), (NOW + 120, NOW + 120)] {
            let again = request(0, 1, NOW, date);
            assert_eq!(record.admit(&again, now), Err(Refusal::Duplicate), "{now}");
        }
        for now in NOW + 121..NOW + 140 {
            let refused = record.admit(&request(0, 1, NOW, now), now).unwrap_err();
            let expected = [Refusal::Duplicate, Refusal::OutcomeUnknown];
            assert!(expected.contains(&refused), "{now}: {refused:?}");
        }
        assert!(record.is_empty(), "the mark is gone after the last slice");
        let twin = request(1, 1, NOW + 140, NOW + 140);
        assert_eq!(
            record.admit(&twin, NOW + 140),
            Ok(()),
            "request of another client"
        );
    }

    #[test]
    fn another_record_a_late_first_attempt_and_a_late_date_are_distinguished() {
        let mut record = record(1, 100);
        let mut other = request(0, 1, NOW, NOW);
        other.mark.record = RecordId([8; 16]);
        assert_eq!(record.admit(&other, NOW), Err(Refusal::OutcomeUnknown));
        let late = request(0, 1, NOW - 121, NOW);
        assert_eq!(record.admit(&late, NOW), Err(Refusal::OutcomeUnknown));
        let past = request(0, 1, NOW - 61, NOW - 61);
        assert_eq!(record.admit(&past, NOW), Err(Refusal::Late));
        assert!(record.is_empty());
        let old = request(0, 1, NOW - 120, NOW - 60);
        assert_eq!(record.admit(&old, NOW), Ok(()));
    }

    #[test]
    fn a_request_refused_for_its_future_date_never_runs() {
        let mut record = record(1, 1_000_000);
        for (number, ahead) in [(1, 61), (2, 500), (3, 3660)] {
            let early = request(0, number, NOW + ahead, NOW + ahead);
            assert_eq!(record.admit(&early, NOW), Err(Refusal::Early), "{ahead}");
        }
        for now in (NOW..NOW + 4000).step_by(7) {
            for (number, ahead) in [(1, 61), (2, 500), (3, 3660)] {
                let early = request(0, number, NOW + ahead, NOW + ahead);
                assert!(record.admit(&early, now).is_err(), "{ahead} at {now}");
            }
        }
        assert_eq!((record.len(), record.is_empty()), (0, true));
        // The furthest date that may come true, and one beyond it.
        let furthest = request(0, 6, NOW + 7660, NOW + 7660);
        assert_eq!(record.admit(&furthest, NOW + 4000), Err(Refusal::Early));
        assert_eq!((record.len(), record.is_empty()), (1, false));
        let beyond = request(0, 7, NOW + 7661, NOW + 7661);
        assert_eq!(record.admit(&beyond, NOW + 4000), Err(Refusal::FarAhead));
        let far = request(0, 4, NOW + 10_000, NOW + 10_000);
        assert_eq!(record.admit(&far, NOW), Err(Refusal::FarAhead));
        assert_eq!(
            record.admit(&request(0, 5, NOW, NOW + 60), NOW + 4000),
            Err(Refusal::OutcomeUnknown)
        );
    }

    #[test]
    fn a_clock_that_goes_back_does_not_revive_expired_requests() {
        let mut record = record(1, 100);
        let first = request(0, 1, NOW, NOW);
        record.admit(&first, NOW).unwrap();
        let later = request(0, 2, NOW + 200, NOW + 200);
        record.admit(&later, NOW + 200).unwrap();
        assert_eq!(record.len(), 1);
        assert_eq!(record.admit(&first, NOW), Err(Refusal::OutcomeUnknown));
    }

    #[test]
    fn no_client_takes_the_share_of_another() {
        let mut record = record(4, 80);
        let fill = |record: &mut ReplayRecord, key: u8| {
            let numbers = 0..1000;
            let fits = |number: &u32| record.admit(&request(key, *number, NOW, NOW), NOW).is_ok();
            numbers.take_while(fits).count()
        };
        // 10 are reserved for each of 4 clients and 40 are shared: the first may take half of
        // those, the next half of the rest.
        assert_eq!(fill(&mut record, 0), 30);
        assert_eq!(fill(&mut record, 1), 20);
        assert_eq!(fill(&mut record, 2), 15);
        assert!(fill(&mut record, 3) >= 10);
        let refused = record.admit(&request(0, 5000, NOW, NOW), NOW);
        assert_eq!(refused, Err(Refusal::RecordFull));
        let later = NOW + 140;
        assert_eq!(record.admit(&request(0, 6000, later, later), later), Ok(()));
        assert_eq!((record.len(), record.pool_taken), (1, 0));
    }
}
