//! The authenticated list of records (`spec/key-store.md`, section 4).

use std::collections::BTreeMap;

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::hash::{HASH_BYTES, sha384};

use crate::{
    StoreError,
    engine::RecordId,
    root::{RootKey, TAG_BYTES},
};

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
            hash: sha384(sealed),
        }
    }

    pub(crate) fn matches(&self, sealed: &[u8]) -> bool {
        self.hash == sha384(sealed)
    }
}

/// The list of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) generation: u64,
    pub(crate) entries: BTreeMap<RecordId, IndexEntry>,
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
        let (index, tag) = Self::read(bytes).map_err(|_| StoreError::Index)?;
        let deterministic = index.encode_parts(Some(&tag)) == bytes;
        if deterministic && root.tag_matches(header, &index.encode_parts(None), &tag)? {
            return Ok(index);
        }
        Err(StoreError::Index)
    }

    fn read(bytes: &[u8]) -> Result<(Self, [u8; TAG_BYTES]), CborError> {
        let d = &mut Reader::new(bytes, "index");
        d.map_of(3)?;
        d.key(0)?;
        let generation = d.uint()?;
        d.key(1)?;
        let count = d.array()?;
        if count > RECORDS_MAX as u64 {
            return Err(d.refused());
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            d.array_of(3)?;
            let id = RecordId::from_bytes(d.bytes()?).ok_or_else(|| d.refused())?;
            let generation = d.uint()?;
            let hash = d.fixed("hash")?;
            entries.insert(id, IndexEntry { generation, hash });
        }
        d.key(2)?;
        let tag = d.fixed("tag")?;
        let index = Self {
            generation,
            entries,
        };
        Ok((index, tag))
    }
}
