//! Private keys that were decrypted before.
//!
//! Whether a key may be used is never answered from here: every use is recorded in the newest state
//! of the key store first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use casemate_crypto::encoding::{KeyId, PrivateKey};
use casemate_keys::KeyName;

/// How long a key is kept, in seconds.
const AGE_SECONDS_MAX: u64 = 600;
/// Most keys that are kept.
const KEYS_MAX: usize = 1024;

/// A private key and the name it had.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: KeyName,
    pub(crate) key: PrivateKey,
    /// When it was loaded.
    pub(crate) since: u64,
}

/// The keys.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<KeyId, Arc<Loaded>>>);

impl Cache {
    fn keys(&self) -> MutexGuard<'_, HashMap<KeyId, Arc<Loaded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: KeyId, now: u64) -> Option<Arc<Loaded>> {
        let mut keys = self.keys();
        // One that was destroyed elsewhere must not stay in memory.
        keys.retain(|_, loaded| now.saturating_sub(loaded.since) < AGE_SECONDS_MAX);
        keys.get(&key).cloned()
    }

    /// Keeps a key. If there are too many, all others are dropped: they are loaded again when they
    /// are needed.
    pub(crate) fn keep(&self, id: KeyId, loaded: Arc<Loaded>) {
        let mut keys = self.keys();
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(id, loaded);
    }

    /// Drops a key that is not in use any longer.
    pub(crate) fn forget(&self, key: KeyId) {
        self.keys().remove(&key);
    }
}
