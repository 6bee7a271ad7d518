//! Values that were read or written before, as they are at one revision.

use std::collections::HashMap;

/// Most bytes that are kept.
const BYTES_MAX: usize = 64 << 20;

/// What a key is known to have; `None` if nothing.
#[derive(Clone, Debug)]
pub(crate) struct Known(pub(crate) Option<Vec<u8>>);

/// The cache. Values are sealed, and whatever is stale is refused by the tree above.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// The revision whose values these are.
    pub(crate) revision: i64,
    /// The head at that revision.
    pub(crate) head: Vec<u8>,
    values: HashMap<Vec<u8>, Known>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Known> {
        self.values.get(key).cloned()
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let len_of = |key: &[u8], value: &Option<Vec<u8>>| {
            key.len().saturating_add(value.as_ref().map_or(0, Vec::len))
        };
        let len = len_of(&key, &value);
        if let Some(Known(old)) = self.values.remove(&key) {
            self.bytes = self.bytes.saturating_sub(len_of(&key, &old));
        }
        if self.bytes.saturating_add(len) > BYTES_MAX {
            self.clear();
        }
        self.bytes = self.bytes.saturating_add(len);
        self.values.insert(key, Known(value));
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.bytes = 0;
    }
}
