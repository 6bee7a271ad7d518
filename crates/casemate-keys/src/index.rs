//! The authenticated list of records (`spec/key-store.md`, section 4).

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA384, digest};
use minicbor::Decoder;

use crate::{
    StoreError,
    cbor::encode,
    engine::RecordId,
    root::{RootKey, TAG_BYTES},
};

const HASH_BYTES: usize = 48;
/// Most records in a key store.
pub(crate) const RECORDS_MAX: usize = 65_536;

/// The index entry of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Generation in which the record was written.
    pub(crate) generation: u64,
    pub(crate) hash: [u8; HASH_BYTES],
}

impl IndexEntry {
    pub(crate) fn new(generation: u64, sealed: &[u8]) -> Self {
        Self {
            generation,
            hash: hash_of(sealed),
        }
    }

    pub(crate) fn matches(&self, sealed: &[u8]) -> bool {
        self.hash == hash_of(sealed)
    }
}

fn hash_of(sealed: &[u8]) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest(&SHA384, sealed).as_ref());
    hash
}

/// The list of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) generation: u64,
    pub(crate) entries: BTreeMap<RecordId, IndexEntry>,
}

fn damaged<E>(_: E) -> StoreError {
    StoreError::Index
}

impl Index {
    fn encode_parts(&self, tag: Option<&[u8]>) -> Vec<u8> {
        encode(|e| {
            e.map(if tag.is_some() { 3 } else { 2 })?
                .u8(0)?
                .u64(self.generation)?;
            e.u8(1)?.array(self.entries.len() as u64)?;
            for (id, entry) in &self.entries {
                e.array(3)?
                    .bytes(&id.to_bytes())?
                    .u64(entry.generation)?
                    .bytes(&entry.hash)?;
            }
            if let Some(tag) = tag {
                e.u8(2)?.bytes(tag)?;
            }
            Ok(())
        })
    }

    pub(crate) fn seal(&self, header: &[u8], root: &RootKey) -> Result<Vec<u8>, StoreError> {
        let tag = root.tag(header, &self.encode_parts(None))?;
        Ok(self.encode_parts(Some(&tag)))
    }

    /// Verifies the tag over header and index, and that the index belongs to the engine's
    /// generation.
    pub(crate) fn open(
        header: &[u8],
        bytes: &[u8],
        generation: u64,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let index = Self::decode(header, bytes, root)?;
        let mut entries = index.entries.values();
        let in_time = entries.all(|entry| entry.generation <= index.generation);
        if index.generation == generation && in_time {
            return Ok(index);
        }
        Err(StoreError::Index)
    }

    fn decode(header: &[u8], bytes: &[u8], root: &RootKey) -> Result<Self, StoreError> {
        let mut decoder = Decoder::new(bytes);
        let d = &mut decoder;
        d.map().map_err(damaged)?;
        d.skip().map_err(damaged)?;
        let generation = d.u64().map_err(damaged)?;
        d.skip().map_err(damaged)?;
        let count = d
            .array()
            .map_err(damaged)?
            .filter(|count| *count <= RECORDS_MAX as u64);
        let mut entries = BTreeMap::new();
        for _ in 0..count.ok_or(StoreError::Index)? {
            d.array().map_err(damaged)?;
            let id = RecordId::from_bytes(d.bytes().map_err(damaged)?).ok_or(StoreError::Index)?;
            let generation = d.u64().map_err(damaged)?;
            let hash = d.bytes().map_err(damaged)?.try_into().map_err(damaged)?;
            entries.insert(id, IndexEntry { generation, hash });
        }
        d.skip().map_err(damaged)?;
        let tag: [u8; TAG_BYTES] = d.bytes().map_err(damaged)?.try_into().map_err(damaged)?;
        let index = Self {
            generation,
            entries,
        };
        let deterministic = index.encode_parts(Some(&tag)) == bytes;
        if deterministic && root.tag_matches(header, &index.encode_parts(None), &tag)? {
            return Ok(index);
        }
        Err(StoreError::Index)
    }
}
