//! The root of the tree over the rows (`spec/key-store.md`, section 4.2).

use casemate_audit::Frontier;
use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::hash::HASH_BYTES;

use crate::{
    StoreError,
    root::{RootKey, TAG_BYTES},
    tree::Subtree,
};

/// Most rows in a key store.
pub(crate) const ROWS_MAX: u64 = 4_194_304;

/// Which rows there are, in which generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) generation: u64,
    /// The tree; `None` if there are no rows.
    pub(crate) root: Option<Subtree>,
    /// The audit log, if there is one.
    pub(crate) log: Option<Frontier>,
}

impl Index {
    pub(crate) fn rows(&self) -> u64 {
        self.root.map_or(0, |root| root.rows)
    }

    fn encode_parts(&self, tag: Option<&[u8]>) -> Vec<u8> {
        encode(|e| {
            e.map(if tag.is_some() { 5 } else { 4 })?
                .u8(0)?
                .u64(self.generation)?;
            e.u8(1)?.u64(self.rows())?;
            let hash = self.root.map_or([0; HASH_BYTES], |root| root.hash);
            e.u8(2)?.bytes(&hash)?;
            e.u8(3)?;
            match &self.log {
                None => _ = e.null()?,
                Some(log) => {
                    e.array(2)?.u64(log.size())?;
                    e.array(log.roots().len() as u64)?;
                    for root in log.roots() {
                        e.bytes(root)?;
                    }
                }
            }
            if let Some(tag) = tag {
                e.u8(4)?.bytes(tag)?;
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
        let (index, tag) = Self::read(bytes).map_err(|_| StoreError::Index)?;
        let is_authentic = root.tag_matches(header, &index.encode_parts(None), &tag)?;
        // The comparison covers shortest forms and trailing bytes.
        let is_exact = index.encode_parts(Some(&tag)) == bytes;
        if is_authentic && is_exact && index.generation == generation {
            return Ok(index);
        }
        Err(StoreError::Index)
    }

    fn read(bytes: &[u8]) -> Result<(Self, [u8; TAG_BYTES]), CborError> {
        let d = &mut Reader::new(bytes, "index");
        d.map_of(5)?;
        d.key(0)?;
        let generation = d.uint()?;
        d.key(1)?;
        let rows = d.uint()?;
        d.key(2)?;
        let hash = d.fixed("hash")?;
        d.key(3)?;
        let log = d.nullable(read_log)?;
        d.key(4)?;
        let tag = d.fixed("tag")?;
        let root = (rows > 0).then_some(Subtree { rows, hash });
        let index = Self {
            generation,
            root,
            log,
        };
        Ok((index, tag))
    }
}

fn read_log(d: &mut Reader<'_>) -> Result<Frontier, CborError> {
    d.array_of(2)?;
    let size = d.uint()?;
    let count = d.array()?;
    if count > u64::from(u64::BITS) {
        return Err(d.refused());
    }
    let mut roots = Vec::new();
    for _ in 0..count {
        roots.push(d.fixed("root")?);
    }
    Frontier::from_parts(size, roots).ok_or_else(|| d.refused())
}
