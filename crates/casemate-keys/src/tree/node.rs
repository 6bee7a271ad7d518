//! Nodes of the tree (`spec/key-store.md`, section 4.1).

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::{
    Purpose,
    hash::{HASH_BYTES, sha384},
};

use crate::row::{ROW_ID_BYTES, RowId};

/// Most rows of a leaf.
pub(super) const LEAF_ROWS_MAX: u64 = 32;
/// Children of a branch.
pub(super) const CHILDREN: usize = 16;
/// Longest path: the nibbles of a row id.
pub(super) const PATH_MAX: usize = 2 * ROW_ID_BYTES;

/// A hash of a row or a node.
type Hash = [u8; HASH_BYTES];

/// What the tree knows of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: RowId,
    /// Generation in which the row was written.
    pub(crate) generation: u64,
    pub(crate) hash: Hash,
}

impl Entry {
    pub(crate) fn new(id: RowId, generation: u64, sealed: &[u8]) -> Self {
        Self {
            id,
            generation,
            hash: sha384(sealed),
        }
    }
}

/// A subtree: how many rows it has, and the hash of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subtree {
    pub(crate) rows: u64,
    pub(crate) hash: Hash,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Leaf(Vec<Entry>),
    Branch(Box<[Option<Subtree>; CHILDREN]>),
}

impl Node {
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Leaf(entries) => entries.len() as u64,
            Self::Branch(children) => children
                .iter()
                .flatten()
                .fold(0, |sum, child| sum.saturating_add(child.rows)),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(|e| {
            match self {
                Self::Leaf(entries) => {
                    e.array(entries.len() as u64)?;
                    for entry in entries {
                        e.array(3)?
                            .bytes(&entry.id.to_bytes())?
                            .u64(entry.generation)?
                            .bytes(&entry.hash)?;
                    }
                }
                Self::Branch(children) => {
                    e.array(CHILDREN as u64)?;
                    for child in children.iter() {
                        match child {
                            None => e.null()?,
                            Some(child) => e.array(2)?.u64(child.rows)?.bytes(&child.hash)?,
                        };
                    }
                }
            }
            Ok(())
        })
    }

    /// Returns the subtree of a node with this encoding.
    pub(super) fn subtree(&self, encoded: &[u8]) -> Subtree {
        let purpose = match self {
            Self::Leaf(_) => Purpose::STORE_LEAF,
            Self::Branch(_) => Purpose::STORE_BRANCH,
        };
        Subtree {
            rows: self.rows(),
            hash: sha384(&purpose.with(encoded)),
        }
    }

    /// Reads the node of a subtree: its number of rows says whether it is a leaf. Returns `None`
    /// unless it is the one that the subtree names, at this path.
    pub(super) fn read(encoded: &[u8], path: &[u8], subtree: &Subtree) -> Option<Self> {
        let node = if subtree.rows > LEAF_ROWS_MAX {
            Self::read_branch(encoded)
        } else {
            Self::read_leaf(encoded)
        };
        // The hash covers the encoding, and the encoding was made by someone with the root key.
        // What else is compared bounds what a mistake of theirs can do.
        node.ok()
            .filter(|node| node.subtree(encoded) == *subtree && node.is_at(path))
    }

    fn is_at(&self, path: &[u8]) -> bool {
        match self {
            Self::Leaf(entries) => entries
                .iter()
                .all(|entry| nibbles(&entry.id).take(path.len()).eq(path.iter().copied())),
            Self::Branch(_) => path.len() < PATH_MAX,
        }
    }

    fn read_leaf(encoded: &[u8]) -> Result<Self, CborError> {
        let d = &mut Reader::new(encoded, "leaf");
        let count = d.array()?;
        if count > LEAF_ROWS_MAX {
            return Err(d.refused());
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            d.array_of(3)?;
            entries.push(Entry {
                id: RowId::from_bytes(d.bytes()?).ok_or_else(|| d.refused())?,
                generation: d.uint()?,
                hash: d.fixed("hash")?,
            });
        }
        d.end()?;
        Ok(Self::Leaf(entries))
    }

    fn read_branch(encoded: &[u8]) -> Result<Self, CborError> {
        let d = &mut Reader::new(encoded, "branch");
        d.array_of(CHILDREN as u64)?;
        let mut children = Box::new([None; CHILDREN]);
        for child in children.iter_mut() {
            *child = d.nullable(|d| {
                d.array_of(2)?;
                Ok::<_, CborError>(Subtree {
                    rows: d.uint()?,
                    hash: d.fixed("hash")?,
                })
            })?;
        }
        d.end()?;
        Ok(Self::Branch(children))
    }
}

/// Returns the path of a row.
pub(super) fn nibbles(id: &RowId) -> impl Iterator<Item = u8> + use<> {
    id.to_bytes()
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
}
