//! The engine.

use std::{cell::RefCell, fmt};

use casemate_crypto::random;
use casemate_keys::{Change, Engine, EngineError, Head, Page, Put, Table, View, each};
use rustls::ClientConfig;

use crate::{
    api::{
        Bytes, Compare, DeleteRangeRequest, KeyValue, Operation, RangeRequest, RangeResponse,
        TxnRequest, TxnResponse,
    },
    cache::Cache,
    call::{EtcdError, Kind, Members},
    staged::{self, PART_BYTES_MAX, PUTS_MAX, letter},
};

/// Longest value; a longer one is not ours, and reads as empty, which no rule admits.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longest key: the path of a node.
const KEY_BYTES_MAX: usize = 66;
/// Length of the id of a staged change: a time and a random number.
const STAGE_BYTES: usize = 16;
/// How long a staged change may wait before it counts as abandoned, in seconds.
const ABANDONED_SECONDS: u64 = 24 * 60 * 60;
/// How often a change is looked for whose answer was lost.
const LOOKS: usize = 4;
/// How often a staged change is applied before giving up.
const APPLY_MAX: usize = 16;
/// Changes of others that are read rather than forgetting everything.
const CHANGES_MAX: i64 = 512;

const RANGE: &str = "/v3/kv/range";
const TXN: &str = "/v3/kv/txn";

/// What an engine needs.
pub struct EtcdOptions<'a> {
    /// The members of the cluster, such as `https://etcd-1.example.org:2379`.
    pub endpoints: &'a [String],
    /// What every key begins with.
    pub prefix: &'a str,
    /// TLS, with our certificate if the cluster asks for one.
    pub tls: ClientConfig,
    /// Returns the time, in seconds since 1970-01-01 UTC.
    pub clock: fn() -> u64,
}

impl fmt::Debug for EtcdOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Stores a key store in etcd.
#[derive(Debug)]
pub struct EtcdEngine {
    members: Members,
    prefix: Vec<u8>,
    clock: fn() -> u64,
    cache: RefCell<Cache>,
}

/// What the key `g` has: the generation, and what is still to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    number: u64,
    /// The number of parts to apply, and their id.
    parts: u32,
    stage: [u8; STAGE_BYTES],
}

impl Generation {
    const fn of(number: u64) -> Self {
        Self {
            number,
            parts: 0,
            stage: [0; STAGE_BYTES],
        }
    }

    fn encode(self) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        let parts = self.parts.to_be_bytes();
        [number.as_slice(), &parts, &self.stage].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (parts, rest) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            parts: u32::from_be_bytes(*parts),
            stage: rest.try_into().ok()?,
        })
    }
}

impl EtcdEngine {
    /// Prepares to use a cluster. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Url`], [`EtcdError::NoEndpoint`], [`EtcdError::Start`].
    pub fn new(options: EtcdOptions<'_>) -> Result<Self, EtcdError> {
        Ok(Self {
            members: Members::new(options.endpoints, options.tls)?,
            prefix: options.prefix.as_bytes().to_vec(),
            clock: options.clock,
            cache: RefCell::default(),
        })
    }

    fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        [self.prefix.as_slice(), &parts.concat()].concat()
    }

    fn key_of(&self, table: Table, key: &[u8]) -> Vec<u8> {
        self.key(&[&[letter(table)], key])
    }

    /// Returns the end of a table: the first key after every one that begins like this.
    fn end_of(&self, table: Table) -> Vec<u8> {
        self.key(&[&[letter(table).saturating_add(1)]])
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EngineError> {
        Ok(self.members.call(RANGE, request, Kind::Repeatable)?)
    }

    fn txn(&self, request: &TxnRequest, kind: Kind) -> Result<TxnResponse, EtcdError> {
        self.members.call(TXN, request, kind)
    }

    /// Reads the head at the newest revision.
    fn newest(&self) -> Result<(i64, Option<(Generation, Head)>), EngineError> {
        let read = TxnRequest {
            compare: Vec::new(),
            success: [b"g", b"h", b"i"]
                .map(|name| Operation::get(self.key(&[name])))
                .into(),
        };
        let answer = self.txn(&read, Kind::Repeatable)?;
        let foreign = EngineError::Foreign("its generation is malformed");
        let mut values = answer.responses.into_iter().map(|response| {
            let kvs = response.response_range.map(|range| range.kvs);
            let first = kvs.unwrap_or_default().into_iter().next();
            first.map(|KeyValue { value, .. }| value.0)
        });
        let mut next = || values.next().flatten();
        let (generation, header, index) = (next(), next(), next());
        let revision = answer.header.revision;
        match (generation, header) {
            (None, None) => Ok((revision, None)),
            (None, Some(_)) => Err(EngineError::Foreign("its generation is missing")),
            (Some(_), None) => Err(EngineError::Foreign("its header is missing")),
            (Some(generation), Some(header)) => {
                let generation = Generation::decode(&generation).ok_or(foreign)?;
                let head = Head {
                    header,
                    index: index.unwrap_or_default(),
                    generation: generation.number,
                };
                Ok((revision, Some((generation, head))))
            }
        }
    }

    /// Brings the cache to a revision, whose head is this one.
    fn refresh(&self, revision: i64, head: &Head) {
        let mut cache = self.cache.borrow_mut();
        let is_known = cache.revision > 0 && cache.head == head.index;
        if !is_known && cache.revision > 0 && cache.revision < revision {
            // What others put since. What they deleted is not listed any longer, so nothing asks
            // for it.
            let changes = self.range(&RangeRequest {
                key: Bytes(self.key(&[b"n"])),
                range_end: Bytes(self.key(&[b"s"])),
                limit: CHANGES_MAX,
                revision,
                min_mod_revision: cache.revision.saturating_add(1),
                keys_only: false,
            });
            match changes {
                Ok(changes) if !changes.more => {
                    for KeyValue { key, value } in changes.kvs {
                        cache.put(key.0, Some(bounded(value.0)));
                    }
                }
                // Too many, or the revision was compacted.
                Ok(_) | Err(_) => cache.clear(),
            }
        } else if !is_known {
            cache.clear();
        }
        cache.revision = revision;
        cache.head.clone_from(&head.index);
    }

    fn operation(&self, (table, key, value): &Put) -> Operation {
        let key = self.key_of(*table, key);
        match value {
            Some(value) => Operation::put(key, value.clone()),
            None => Operation::delete(key),
        }
    }

    /// Returns what a change does to the head.
    fn head_operations(&self, generation: Generation, change: &Change) -> Vec<Operation> {
        let mut operations = vec![
            Operation::put(self.key(&[b"g"]), generation.encode()),
            Operation::put(self.key(&[b"i"]), change.index.clone()),
        ];
        if let Some(header) = &change.header {
            operations.push(Operation::put(self.key(&[b"h"]), header.clone()));
        }
        operations
    }

    fn expected(&self, generation: u64) -> Compare {
        let key = self.key(&[b"g"]);
        if generation == 0 {
            Compare::absent(key)
        } else {
            Compare::value(key, Generation::of(generation).encode())
        }
    }

    /// Finds out what became of a change whose answer was lost.
    fn look_for(&self, expected: u64, change: &Change) -> Result<i64, EngineError> {
        for _ in 0..LOOKS {
            let (revision, newest) = self.newest()?;
            match newest {
                // Every index has a tag of its own.
                Some((_, head)) if head.index == change.index => return Ok(revision),
                // Another change took its place, so ours can no longer be made.
                Some((generation, _)) if generation.number > expected => {
                    return Err(EngineError::Conflict);
                }
                // It may still be on its way.
                _ => {}
            }
        }
        Err(EtcdError::Unknown.into())
    }

    /// Makes a change in one transaction. Returns its revision.
    fn commit_at_once(
        &self,
        expected: u64,
        (generation, change, puts): (Generation, &Change, &[Put]),
    ) -> Result<i64, EngineError> {
        let mut success = self.head_operations(generation, change);
        success.extend(puts.iter().map(|put| self.operation(put)));
        let request = TxnRequest {
            compare: vec![self.expected(expected)],
            success,
        };
        match self.txn(&request, Kind::Once) {
            Ok(answer) if answer.succeeded => Ok(answer.header.revision),
            Ok(_) => Err(EngineError::Conflict),
            Err(EtcdError::Unknown) => self.look_for(expected, change),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the parts of a change beside the key store. Returns their number and id.
    fn stage(&self, puts: &[Put], next: u64) -> Result<Generation, EngineError> {
        self.remove_abandoned()?;
        let chance: [u8; 8] =
            random::bytes().map_err(|error| EngineError::Storage(error.into()))?;
        let mut stage = [0; STAGE_BYTES];
        let id = [(self.clock)().to_be_bytes(), chance].concat();
        stage.copy_from_slice(&id);
        let parts = staged::parts(puts);
        for (number, part) in (0_u32..).zip(&parts) {
            let key = self.key(&[b"s", &stage, &number.to_be_bytes()]);
            let request = TxnRequest {
                compare: Vec::new(),
                success: vec![Operation::put(key, staged::encode(part))],
            };
            self.txn(&request, Kind::Repeatable)?;
        }
        Ok(Generation {
            number: next,
            parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            stage,
        })
    }

    /// Removes staged changes that nobody made part of the key store.
    fn remove_abandoned(&self) -> Result<(), EngineError> {
        let before = (self.clock)().saturating_sub(ABANDONED_SECONDS);
        let request = TxnRequest {
            compare: Vec::new(),
            success: vec![Operation::DeleteRange(DeleteRangeRequest {
                key: Bytes(self.key(&[b"s"])),
                range_end: Bytes(self.key(&[b"s", &before.to_be_bytes()])),
            })],
        };
        self.txn(&request, Kind::Repeatable)?;
        Ok(())
    }

    /// Applies a staged change that is part of the key store. Whoever else does so meanwhile writes
    /// the same.
    fn apply(&self, generation: Generation) -> Result<(), EngineError> {
        let incomplete = EngineError::Foreign("a part of its last change is missing");
        let is_current = || Compare::value(self.key(&[b"g"]), generation.encode());
        for number in 0..generation.parts {
            let key = self.key(&[b"s", &generation.stage, &number.to_be_bytes()]);
            let read = TxnRequest {
                compare: vec![is_current()],
                success: vec![Operation::get(key)],
            };
            let answer = self.txn(&read, Kind::Repeatable)?;
            if !answer.succeeded {
                // Someone else has finished.
                return Ok(());
            }
            let range = answer.responses.into_iter().next();
            let kvs = range.and_then(|response| response.response_range);
            let part = kvs.and_then(|range| range.kvs.into_iter().next());
            let puts = part.and_then(|part| staged::decode(&part.value.0));
            let Some(puts) = puts else {
                return Err(incomplete);
            };
            let write = TxnRequest {
                compare: vec![is_current()],
                success: puts.iter().map(|put| self.operation(put)).collect(),
            };
            self.txn(&write, Kind::Repeatable)?;
        }
        let end = TxnRequest {
            compare: vec![is_current()],
            success: vec![
                Operation::put(
                    self.key(&[b"g"]),
                    Generation::of(generation.number).encode(),
                ),
                Operation::DeleteRange(DeleteRangeRequest {
                    key: Bytes(self.key(&[b"s", &generation.stage])),
                    range_end: Bytes(after(self.key(&[b"s", &generation.stage]))),
                }),
            ],
        };
        self.txn(&end, Kind::Repeatable)?;
        Ok(())
    }

    fn write(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        let next = Generation::of(expected.saturating_add(1));
        let [part] = staged::parts(&change.put)[..] else {
            return self.write_staged(expected, change);
        };
        let long = change
            .index
            .len()
            .saturating_add(change.header.as_ref().map_or(0, Vec::len));
        if part.len() > PUTS_MAX || long > PART_BYTES_MAX {
            return self.write_staged(expected, change);
        }
        let revision = self.commit_at_once(expected, (next, change, part))?;
        let mut cache = self.cache.borrow_mut();
        for (table, key, value) in part {
            // Entries are read once at most.
            if *table != Table::Entries {
                cache.put(self.key_of(*table, key), value.clone());
            }
        }
        cache.revision = revision;
        cache.head.clone_from(&change.index);
        Ok(())
    }

    fn write_staged(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        if change.put.is_empty() {
            let next = Generation::of(expected.saturating_add(1));
            self.commit_at_once(expected, (next, change, &[]))?;
            self.cache.borrow_mut().clear();
            return Ok(());
        }
        let staged = self.stage(&change.put, expected.saturating_add(1))?;
        let done = self.commit_at_once(expected, (staged, change, &[]));
        self.cache.borrow_mut().clear();
        done?;
        self.apply(staged)
    }
}

/// Returns the first key after every one that begins with this one.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    while let Some(last) = key.pop() {
        if let Some(next) = last.checked_add(1) {
            key.push(next);
            return key;
        }
    }
    // Up to the last key.
    vec![0]
}

fn bounded(value: Vec<u8>) -> Vec<u8> {
    if value.len() > VALUE_BYTES_MAX {
        Vec::new()
    } else {
        value
    }
}

/// One revision.
struct EtcdView<'a> {
    engine: &'a EtcdEngine,
    revision: i64,
    head: Option<Head>,
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
            let wanted = limit.saturating_sub(page.len());
            let found = self.engine.range(&RangeRequest {
                key: Bytes(from),
                range_end: Bytes(self.engine.end_of(table)),
                limit: i64::try_from(wanted).unwrap_or(i64::MAX),
                revision: self.revision,
                ..RangeRequest::default()
            })?;
            let Some(last) = found.kvs.last() else {
                return Ok(page);
            };
            from = [last.key.0.as_slice(), &[0]].concat();
            for KeyValue { key, value } in found.kvs {
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

impl Engine for EtcdEngine {
    fn view(&self) -> Result<Box<dyn View + '_>, EngineError> {
        for _ in 0..APPLY_MAX {
            let (revision, newest) = self.newest()?;
            let head = match newest {
                Some((generation, _)) if generation.parts > 0 => {
                    self.apply(generation)?;
                    continue;
                }
                Some((_, head)) => {
                    self.refresh(revision, &head);
                    Some(head)
                }
                None => None,
            };
            return Ok(Box::new(EtcdView {
                engine: self,
                revision,
                head,
            }));
        }
        Err(EngineError::Conflict)
    }

    fn commit(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        self.write(expected, change)
    }

    fn fill(&self, view: &dyn View) -> Result<(), EngineError> {
        let head = view.head()?;
        let head = head.ok_or(EngineError::Foreign("its header is missing"))?;
        let absent = || vec![Compare::absent(self.key(&[b"g"]))];
        let write = |success| {
            let request = TxnRequest {
                compare: absent(),
                success,
            };
            let answer = self.txn(&request, Kind::Repeatable)?;
            if answer.succeeded {
                Ok(())
            } else {
                Err(EngineError::Conflict)
            }
        };
        // Whatever an interrupted attempt left.
        write(vec![Operation::DeleteRange(DeleteRangeRequest {
            key: Bytes(self.key(&[b"e"])),
            range_end: Bytes(self.key(&[b"s"])),
        })])?;
        for table in [Table::Rows, Table::Nodes, Table::Entries] {
            let mut waiting: Vec<Put> = Vec::new();
            let mut bytes = 0_usize;
            each(view, table, &mut |key, value| {
                let len = key.len().saturating_add(value.len());
                if waiting.len() >= PUTS_MAX || bytes.saturating_add(len) > PART_BYTES_MAX {
                    write(waiting.iter().map(|put| self.operation(put)).collect())?;
                    waiting.clear();
                    bytes = 0;
                }
                bytes = bytes.saturating_add(len);
                waiting.push((table, key.to_vec(), Some(value.to_vec())));
                Ok::<(), EngineError>(())
            })?;
            write(waiting.iter().map(|put| self.operation(put)).collect())?;
        }
        let change = Change {
            header: Some(head.header),
            index: head.index,
            put: Vec::new(),
        };
        let generation = Generation::of(head.generation);
        self.commit_at_once(0, (generation, &change, &[]))?;
        self.cache.borrow_mut().clear();
        Ok(())
    }
}
