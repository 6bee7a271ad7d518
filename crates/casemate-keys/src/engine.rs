//! What a storage engine must do: keep bytes, and change them together or not at all.

use std::{collections::BTreeMap, fmt};

use casemate_crypto::encoding::KeyId;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A private key with its public half.
    Private,
    /// Somebody else's public key.
    Public,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Private, Self::Public];
}

/// Names a record: key id and role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The key.
    pub key: KeyId,
    /// Which half is held.
    pub role: Role,
}

impl RecordId {
    /// Bytes of an encoded record id.
    pub const BYTES: usize = KeyId::BYTES + 1;

    /// Encodes the id.
    pub fn to_bytes(self) -> Vec<u8> {
        let role = match self.role {
            Role::Private => 1,
            Role::Public => 2,
        };
        [self.key.as_bytes().as_slice(), &[role]].concat()
    }

    /// Decodes an id; `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (role, key) = bytes.split_last()?;
        let key = KeyId::from_bytes(key.try_into().ok()?);
        let role = match role {
            1 => Role::Private,
            2 => Role::Public,
            _ => return None,
        };
        Some(Self { key, role })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Everything an engine keeps.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The header, once the store exists.
    pub header: Vec<u8>,
    /// The index.
    pub index: Vec<u8>,
    /// Sealed records by encoded id.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Counts changes.
    pub generation: u64,
}

/// One change, applied whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Written when the store is created.
    pub header: Option<Vec<u8>>,
    /// The new index.
    pub index: Vec<u8>,
    /// Records to write, by encoded id.
    pub put: Vec<(Vec<u8>, Vec<u8>)>,
    /// Records to remove.
    pub delete: Vec<Vec<u8>>,
}

/// Why an engine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Somebody else changed the store in between; load it again and repeat.
    #[error("the key store was changed by another process in between")]
    Conflict,
    /// What is there is no key store, or one that somebody took something from.
    #[error("the database is not a key store as it was made: {0}")]
    Foreign(&'static str),
    /// The storage failed.
    #[error("the key store's storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Keeps a store's bytes.
pub trait Engine {
    /// Reads everything; `None` if there is no store.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn load(&self) -> Result<Option<Snapshot>, EngineError>;

    /// Applies `change` if the generation is still `expected`, and raises it by one. Returns once the change is on stable storage.
    ///
    /// # Errors
    ///
    /// [`EngineError::Conflict`] if the generation is another one, in which case nothing changed; [`EngineError::Storage`].
    fn commit(&mut self, expected: u64, change: &Change) -> Result<(), EngineError>;
}

/// Keeps a store in memory, for programs that bring their keys with them, such as a demonstration or a test.
#[derive(Debug, Default)]
pub struct MemoryEngine(Option<Snapshot>);

impl MemoryEngine {
    /// An engine with these bytes.
    pub fn with(snapshot: Snapshot) -> Self {
        Self(Some(snapshot))
    }
}

impl Engine for MemoryEngine {
    fn load(&self) -> Result<Option<Snapshot>, EngineError> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, expected: u64, change: &Change) -> Result<(), EngineError> {
        let snapshot = self.0.get_or_insert_default();
        if snapshot.generation != expected {
            return Err(EngineError::Conflict);
        }
        if let Some(header) = &change.header {
            snapshot.header.clone_from(header);
        }
        snapshot.index.clone_from(&change.index);
        change
            .delete
            .iter()
            .for_each(|id| _ = snapshot.records.remove(id));
        snapshot.records.extend(change.put.iter().cloned());
        snapshot.generation = expected.saturating_add(1);
        Ok(())
    }
}
