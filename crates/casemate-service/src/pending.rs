//! What waits for a second client (`spec/key-service.md`, section 6).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use casemate_crypto::encoding::KeyId;

use crate::grants::ClientId;

/// How long the first client is remembered, in seconds.
const PATIENCE_SECONDS: u64 = 24 * 60 * 60;
/// Most keys that one client waits for.
const PENDING_MAX: usize = 64;

/// The keys that a client asked to destroy, and when.
type Waiting = HashMap<(KeyId, ClientId), u64>;

/// The keys that a first client asked to destroy.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Waiting>);

/// The client waits for too many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Pending {
    /// Notes that a client asks for it. Returns whether another client, who still may, has asked
    /// for it as well.
    pub(crate) fn ask(
        &self,
        key: KeyId,
        client: ClientId,
        may: impl Fn(ClientId) -> bool,
        now: u64,
    ) -> Result<bool, TooMany> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, since| now.saturating_sub(*since) < PATIENCE_SECONDS);
        let mut others = waiting.keys();
        if others.any(|(wanted, other)| *wanted == key && *other != client && may(*other)) {
            return Ok(true);
        }
        let own = waiting.keys().filter(|(_, other)| *other == client).count();
        if !waiting.contains_key(&(key, client)) && own >= PENDING_MAX {
            return Err(TooMany);
        }
        waiting.entry((key, client)).or_insert(now);
        Ok(false)
    }

    /// Forgets what is done.
    pub(crate) fn done(&self, key: KeyId) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(wanted, _), _| *wanted != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> KeyId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        KeyId::from_bytes(id)
    }

    #[test]
    fn two_clients_within_a_day_are_needed() {
        let pending = Pending::default();
        let ask = |number, client, now| pending.ask(key(number), client, |_| true, now).unwrap();
        assert!(!ask(1, 0, 0));
        assert!(!ask(1, 0, 5), "the same client twice");
        assert!(!ask(2, 1, 5), "another key");
        assert!(ask(1, 1, PATIENCE_SECONDS - 1));
        pending.done(key(1));
        assert!(!ask(1, 1, 10));
        assert!(!ask(1, 0, 10 + PATIENCE_SECONDS), "a day later");
    }

    #[test]
    fn a_first_client_whose_grant_ended_does_not_count() {
        let pending = Pending::default();
        assert_eq!(pending.ask(key(1), 0, |_| true, 0), Ok(false));
        assert_eq!(pending.ask(key(1), 1, |client| client != 0, 0), Ok(false));
        assert_eq!(pending.ask(key(1), 2, |client| client != 0, 0), Ok(true));
    }

    #[test]
    fn no_client_takes_the_room_of_another() {
        let pending = Pending::default();
        for number in 0..64 {
            pending.ask(key(number), 0, |_| true, 0).unwrap();
        }
        assert_eq!(pending.ask(key(99), 0, |_| true, 0), Err(TooMany));
        assert_eq!(pending.ask(key(7), 0, |_| true, 0), Ok(false));
        assert_eq!(pending.ask(key(99), 1, |_| true, 0), Ok(false));
    }
}
