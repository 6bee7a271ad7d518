//! One revision of a key store.

use casemate_keys::{EngineError, Head, Page, Table, View};

use crate::{
    api::{Bytes, KeyValue, RangeRequest},
    engine::{EtcdEngine, bounded},
};

/// Longest key: the path of a node.
const KEY_BYTES_MAX: usize = 66;
/// Most values in an answer, each of which may have 64 KiB.
const VALUES_MAX: usize = 128;

/// One revision.
pub(crate) struct EtcdView<'a> {
    pub(crate) engine: &'a EtcdEngine,
    pub(crate) revision: i64,
    pub(crate) head: Option<Head>,
}

impl View for EtcdView<'_> {
    fn head(&self) -> Result<Option<Head>, EngineError> {
        Ok(self.head.clone())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let full = self.engine.key_of(table, key);
        let is_cached = table != Table::Entries;
        {
            let cache = self.engine.cache.borrow();
            if is_cached
                && cache.revision == self.revision
                && let Some(known) = cache.get(&full)
            {
                return Ok(known.0);
            }
        }
        let found = self.engine.range(&RangeRequest {
            key: Bytes(full.clone()),
            revision: self.revision,
            ..RangeRequest::default()
        })?;
        let value = found.kvs.into_iter().next().map(|kv| bounded(kv.value.0));
        let mut cache = self.engine.cache.borrow_mut();
        if is_cached && cache.revision == self.revision {
            cache.put(full, value.clone());
        }
        Ok(value)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Page, EngineError> {
        let start = self.engine.key_of(table, &[]);
        let mut from = match after {
            None => start.clone(),
            Some(after) => [self.engine.key_of(table, after).as_slice(), &[0]].concat(),
        };
        let mut page = Page::new();
        loop {
            let wanted = limit.saturating_sub(page.len()).min(VALUES_MAX);
            let found = self.engine.range(&RangeRequest {
                key: Bytes(from.clone()),
                range_end: Bytes(self.engine.end_of(table)),
                limit: i64::try_from(wanted).unwrap_or(i64::MAX),
                revision: self.revision,
                ..RangeRequest::default()
            })?;
            let Some(last) = found.kvs.last() else {
                return Ok(page);
            };
            let next = [last.key.0.as_slice(), &[0]].concat();
            if next <= from {
                return Err(EngineError::Foreign("its keys are not in order"));
            }
            from = next;
            for KeyValue { key, value, .. } in found.kvs {
                let key = key.0.strip_prefix(start.as_slice()).unwrap_or_default();
                // Longer keys are not ours.
                if key.len() <= KEY_BYTES_MAX {
                    page.push((key.to_vec(), bounded(value.0)));
                }
            }
            if page.len() >= limit || !found.more {
                return Ok(page);
            }
        }
    }
}
