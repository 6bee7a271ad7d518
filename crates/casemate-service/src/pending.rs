//! What waits for a second client (`spec/key-service.md`, section 6).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use casemate_keys::{KeyName, VersionNumber};

use crate::grants::ClientId;

/// How long the first client is remembered, in seconds.
const PATIENCE_SECONDS: u64 = 24 * 60 * 60;
/// Most versions that wait.
const PENDING_MAX: usize = 1024;

type Waiting = HashMap<(String, VersionNumber), (ClientId, u64)>;

/// The versions that a first client asked to destroy.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Waiting>);

/// Too many versions wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Pending {
    /// Notes that a client asks for it. Returns whether another client has asked for it as well.
    pub(crate) fn ask(
        &self,
        name: &KeyName,
        version: VersionNumber,
        client: ClientId,
        now: u64,
    ) -> Result<bool, TooMany> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (_, since)| now.saturating_sub(*since) < PATIENCE_SECONDS);
        let what = (name.to_string(), version);
        if let Some((first, _)) = waiting.get(&what) {
            return Ok(*first != client);
        }
        if waiting.len() >= PENDING_MAX {
            return Err(TooMany);
        }
        waiting.insert(what, (client, now));
        Ok(false)
    }

    /// Forgets what is done.
    pub(crate) fn done(&self, name: &KeyName, version: VersionNumber) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&(name.to_string(), version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_within_a_day_are_needed() {
        let pending = Pending::default();
        let (key, other): (KeyName, KeyName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let ask = |key, version, client, now| pending.ask(key, version, client, now).unwrap();
        assert!(!ask(&key, 1, 0, 0));
        assert!(!ask(&key, 1, 0, 5), "the same client twice");
        assert!(!ask(&key, 2, 1, 5), "another version");
        assert!(!ask(&other, 1, 1, 5), "another key");
        assert!(ask(&key, 1, 1, PATIENCE_SECONDS - 1));
        pending.done(&key, 1);
        assert!(!ask(&key, 1, 1, 10));
        assert!(!ask(&key, 1, 0, 10 + PATIENCE_SECONDS), "a day later");
    }

    #[test]
    fn what_waits_is_bounded() {
        let pending = Pending::default();
        let key: KeyName = "a".parse().unwrap();
        for version in 0..1024 {
            pending.ask(&key, version, 0, 0).unwrap();
        }
        assert_eq!(pending.ask(&key, 5000, 0, 0), Err(TooMany));
        assert_eq!(pending.ask(&key, 7, 1, 0), Ok(true));
    }
}
