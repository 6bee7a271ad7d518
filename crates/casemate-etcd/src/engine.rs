//! The engine.

use std::{cell::RefCell, fmt};

use casemate_crypto::random;
use casemate_keys::{Change, Engine, EngineError, Head, Put, Table, View};
use rustls::ClientConfig;

use crate::{
    api::{
        Bytes, CompactionRequest, Compare, DeleteRangeRequest, KeyValue, Operation, RangeRequest,
        RangeResponse, TxnRequest, TxnResponse,
    },
    cache::Cache,
    call::{EtcdError, Kind, Members},
    fill::fill,
    generation::{Generation, ID_BYTES},
    staged::{self, letter},
    view::EtcdView,
};

/// Longest value; a longer one is not ours, and reads as empty, which no rule admits.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// How long a staged change may wait before it counts as abandoned, in seconds.
const ABANDONED_SECONDS: u64 = 24 * 60 * 60;
/// How many changes of others are looked through for one whose answer was lost.
const HISTORY_MAX: usize = 64;
/// How often a staged change is applied before giving up.
const APPLY_MAX: usize = 16;
/// Changes of others that are read rather than forgetting everything.
const CHANGES_MAX: i64 = 512;

/// Longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 64;

const RANGE: &str = "/v3/kv/range";
const TXN: &str = "/v3/kv/txn";
const COMPACTION: &str = "/v3/kv/compaction";

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
    pub(crate) cache: RefCell<Cache>,
    /// The key `g` as it was seen last, if nothing is to be applied.
    seen: RefCell<Option<Generation>>,
}

impl EtcdEngine {
    /// Prepares to use a cluster. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`EtcdError::Url`], [`EtcdError::NoEndpoint`], [`EtcdError::Prefix`], [`EtcdError::Start`].
    pub fn new(options: EtcdOptions<'_>) -> Result<Self, EtcdError> {
        let prefix = options.prefix;
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if prefix.len() > PREFIX_BYTES_MAX || !is_plain || !prefix.ends_with('/') {
            return Err(EtcdError::Prefix(prefix.chars().take(100).collect()));
        }
        Ok(Self {
            members: Members::new(options.endpoints, options.tls)?,
            prefix: options.prefix.as_bytes().to_vec(),
            clock: options.clock,
            cache: RefCell::default(),
            seen: RefCell::default(),
        })
    }

    pub(crate) fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        [self.prefix.as_slice(), &parts.concat()].concat()
    }

    pub(crate) fn key_of(&self, table: Table, key: &[u8]) -> Vec<u8> {
        self.key(&[&[letter(table)], key])
    }

    /// Returns the end of a table: the first key after every one that begins like this.
    pub(crate) fn end_of(&self, table: Table) -> Vec<u8> {
        self.key(&[&[letter(table).saturating_add(1)]])
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EngineError> {
        Ok(self.members.call(RANGE, request, Kind::Repeatable)?)
    }

    pub(crate) fn txn(&self, request: &TxnRequest, kind: Kind) -> Result<TxnResponse, EtcdError> {
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
            (None, None) if index.is_none() => Ok((revision, None)),
            (None, Some(_)) => Err(EngineError::Foreign("its generation is missing")),
            (Some(_) | None, None) => Err(EngineError::Foreign("its header is missing")),
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
                    for KeyValue { key, value, .. } in changes.kvs {
                        cache.put(key.0, Some(bounded(value.0)));
                    }
                }
                // Too many, or etcd does not answer, which the next request shows.
                Ok(_) | Err(_) => cache.clear(),
            }
        } else if !is_known {
            cache.clear();
        }
        cache.revision = revision;
        cache.head.clone_from(&head.index);
    }

    pub(crate) fn operation(&self, (table, key, value): &Put) -> Operation {
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

    /// Returns the key `g` as it must be for a change, or the conflict.
    fn expected(&self, number: u64) -> Result<Option<Generation>, EngineError> {
        let seen = *self.seen.borrow();
        if number == 0 {
            return Ok(None);
        }
        let current = match seen {
            Some(seen) if seen.number == number => Some(seen),
            _ => self.newest()?.1.map(|(generation, _)| generation),
        };
        match current {
            Some(current) if current.number == number && current.parts == 0 => Ok(Some(current)),
            _ => Err(EngineError::Conflict),
        }
    }

    pub(crate) fn is_still(&self, expected: Option<Generation>) -> Compare {
        let key = self.key(&[b"g"]);
        match expected {
            None => Compare::absent(key),
            Some(expected) => Compare::value(key, expected.encode()),
        }
    }

    pub(crate) fn new_id(&self) -> Result<[u8; ID_BYTES], EngineError> {
        let failed = |error: casemate_crypto::Error| EngineError::Storage(error.into());
        let chance: [u8; 8] = random::bytes().map_err(failed)?;
        let mut id = [0; ID_BYTES];
        let (time, rest) = id.split_at_mut(8);
        time.copy_from_slice(&(self.clock)().to_be_bytes());
        rest.copy_from_slice(&chance);
        Ok(id)
    }

    /// Finds out what became of a change whose answer was lost.
    ///
    /// If it was not made, the key `g` gets another id, so that it can never be made. If others
    /// came after it, the history of `g` says whether it was the first of them.
    fn look_for(
        &self,
        expected: Option<Generation>,
        wanted: Generation,
    ) -> Result<i64, EngineError> {
        let mut revision = 0;
        for _ in 0..HISTORY_MAX {
            let read = self.range(&RangeRequest {
                key: Bytes(self.key(&[b"g"])),
                revision,
                ..RangeRequest::default()
            });
            let found = match read {
                // What came in between is no longer known.
                Err(EngineError::Conflict) => return Err(EngineError::Unknown),
                found => found?.kvs.into_iter().next(),
            };
            let current = found
                .as_ref()
                .and_then(|kv| Generation::decode(&kv.value.0));
            let at = found.map_or(0, |kv| kv.mod_revision);
            match current {
                Some(current) if current.id == wanted.id => return Ok(at),
                // One of the same number may be the fence of another.
                Some(current) if current.number >= wanted.number => {
                    revision = at.saturating_sub(1);
                    continue;
                }
                _ => {}
            }
            if revision > 0 || self.fence(expected)? {
                return Err(EngineError::Conflict);
            }
        }
        Err(EngineError::Unknown)
    }

    /// Gives `g` another id, if it is still as expected. Returns whether a change that expects the
    /// old one can never be made.
    fn fence(&self, expected: Option<Generation>) -> Result<bool, EngineError> {
        let Some(expected) = expected else {
            // The creation of a key store: nothing is there to be changed.
            return Err(EngineError::Unknown);
        };
        let other = Generation {
            id: self.new_id()?,
            ..expected
        };
        let request = TxnRequest {
            compare: vec![self.is_still(Some(expected))],
            success: vec![Operation::put(self.key(&[b"g"]), other.encode())],
        };
        // If this was made at one member and its answer was lost, the next look finds it.
        Ok(self.txn(&request, Kind::Repeatable)?.succeeded)
    }

    /// Makes a change in one transaction. Returns its revision.
    pub(crate) fn commit_at_once(
        &self,
        expected: Option<Generation>,
        (generation, change, puts): (Generation, &Change, &[Put]),
        also: Option<Compare>,
    ) -> Result<i64, EngineError> {
        let mut success = self.head_operations(generation, change);
        success.extend(puts.iter().map(|put| self.operation(put)));
        let mut compare = vec![self.is_still(expected)];
        compare.extend(also);
        let request = TxnRequest { compare, success };
        let done = match self.txn(&request, Kind::Once) {
            Ok(answer) if answer.succeeded => Ok(answer.header.revision),
            Ok(_) => Err(EngineError::Conflict),
            Err(EtcdError::Unknown) => self.look_for(expected, generation),
            Err(error) => Err(error.into()),
        };
        let seen = done.as_ref().ok().map(|_| generation);
        self.seen.replace(seen);
        done
    }

    /// Writes the parts of a change beside the key store, and returns their number.
    fn stage(
        &self,
        puts: &[Put],
        expected: Option<Generation>,
        id: [u8; ID_BYTES],
    ) -> Result<u32, EngineError> {
        self.remove_abandoned(expected)?;
        let parts = staged::parts(puts);
        for (number, part) in (0_u32..).zip(&parts) {
            let encoded = staged::encode(part);
            let encoded = encoded.ok_or(EngineError::Foreign("a value is too long"))?;
            let request = TxnRequest {
                compare: Vec::new(),
                success: vec![Operation::put(self.part(id, number), encoded)],
            };
            self.txn(&request, Kind::Repeatable)?;
        }
        Ok(u32::try_from(parts.len()).unwrap_or(u32::MAX))
    }

    fn part(&self, id: [u8; ID_BYTES], number: u32) -> Vec<u8> {
        self.key(&[b"s", &id, &number.to_be_bytes()])
    }

    /// Removes staged changes that nobody made part of the key store. One of which the first part
    /// is gone cannot be made part of it any longer.
    fn remove_abandoned(&self, expected: Option<Generation>) -> Result<(), EngineError> {
        let before = (self.clock)().saturating_sub(ABANDONED_SECONDS);
        let request = TxnRequest {
            compare: vec![self.is_still(expected)],
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
            let key = self.part(generation.id, number);
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
                Operation::put(self.key(&[b"g"]), generation.applied().encode()),
                Operation::DeleteRange(DeleteRangeRequest {
                    key: Bytes(self.key(&[b"s", &generation.id])),
                    range_end: Bytes(after(self.key(&[b"s", &generation.id]))),
                }),
            ],
        };
        self.txn(&end, Kind::Repeatable)?;
        Ok(())
    }

    fn write(&self, number: u64, change: &Change) -> Result<(), EngineError> {
        let expected = self.expected(number)?;
        let next = Generation {
            number: number.saturating_add(1),
            parts: 0,
            id: self.new_id()?,
        };
        match staged::parts(&change.put)[..] {
            [] => {
                self.commit_at_once(expected, (next, change, &[]), None)?;
                self.cache.borrow_mut().clear();
            }
            [part] => {
                let revision = self.commit_at_once(expected, (next, change, part), None)?;
                self.remember(revision, change, part);
            }
            _ => self.write_staged(expected, next, change)?,
        }
        if change.removes() {
            self.forget_history();
        }
        Ok(())
    }

    fn remember(&self, revision: i64, change: &Change, part: &[Put]) {
        let mut cache = self.cache.borrow_mut();
        for (table, key, value) in part {
            // Entries are read once at most.
            if *table != Table::Entries {
                cache.put(self.key_of(*table, key), value.clone());
            }
        }
        cache.revision = revision;
        cache.head.clone_from(&change.index);
    }

    fn write_staged(
        &self,
        expected: Option<Generation>,
        next: Generation,
        change: &Change,
    ) -> Result<(), EngineError> {
        let parts = self.stage(&change.put, expected, next.id)?;
        let next = Generation { parts, ..next };
        let is_there = Compare::present(self.part(next.id, 0));
        let done = self.commit_at_once(expected, (next, change, &[]), Some(is_there));
        self.cache.borrow_mut().clear();
        done?;
        self.seen.replace(None);
        // The change is made. If this fails, whoever reads next applies it.
        _ = self.apply(next);
        Ok(())
    }

    /// Has etcd remove what was replaced: old revisions still have it.
    fn forget_history(&self) {
        let revision = self.cache.borrow().revision;
        let newest = match self.newest() {
            Ok((newest, _)) => newest.max(revision),
            Err(_) => return,
        };
        let request = CompactionRequest {
            revision: newest,
            physical: true,
        };
        // Another member may have done it, and etcd does it again by its own rule.
        _ = self
            .members
            .call::<serde_json::Value>(COMPACTION, &request, Kind::Repeatable);
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

pub(crate) fn bounded(value: Vec<u8>) -> Vec<u8> {
    if value.len() > VALUE_BYTES_MAX {
        Vec::new()
    } else {
        value
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
                Some((generation, head)) => {
                    self.seen.replace(Some(generation));
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
        fill(self, view)
    }
}
