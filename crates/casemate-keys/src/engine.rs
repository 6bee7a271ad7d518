//! The storage engine interface: an engine stores bytes and changes them atomically.

use std::{collections::BTreeMap, fmt};

use casemate_crypto::encoding::KeyId;

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A private key with its public half.
    Private,
    /// A public key of someone else.
    Public,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Private, Self::Public];
}

/// The identity of a record: key id and role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The key.
    pub key: KeyId,
    /// The stored half.
    pub role: Role,
}

impl RecordId {
    /// Encodes the id.
    pub fn to_bytes(self) -> Vec<u8> {
        let role = match self.role {
            Role::Private => 1,
            Role::Public => 2,
        };
        [self.key.as_bytes().as_slice(), &[role]].concat()
    }

    /// Decodes an id; returns `None` if it is not valid.
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

/// Everything that an engine stores.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The header, once the store exists.
    pub header: Vec<u8>,
    /// The index.
    pub index: Vec<u8>,
    /// Sealed records by encoded id.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The number of changes so far.
    pub generation: u64,
}

/// One change, applied atomically.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The header, to be written when the key store is created or its secret changes.
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
pub enum EngineError {
    /// Another process changed the key store. Load it again and retry.
    #[error("another process changed the key store at the same time")]
    Conflict,
    /// The database is not a key store, or parts of it were removed.
    #[error("the database is not a valid key store: {0}")]
    Foreign(&'static str),
    /// The storage failed.
    #[error("cannot read or write the key store")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Stores the bytes of a key store.
pub trait Engine {
    /// Reads everything; returns `None` if there is no key store.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn load(&self) -> Result<Option<Snapshot>, EngineError>;

    /// Applies `change` if the generation is still `expected`, and increments the generation.
    /// Returns once the change is on stable storage.
    ///
    /// # Errors
    ///
    /// [`EngineError::Conflict`] if the generation differs, in which case nothing changed;
    /// [`EngineError::Storage`].
    fn commit(&mut self, expected: u64, change: &Change) -> Result<(), EngineError>;
}

/// An engine in memory, for programs that bring their own keys, such as demonstrations and tests.
#[derive(Debug, Default)]
pub struct MemoryEngine(Option<Snapshot>);

impl MemoryEngine {
    /// Returns an engine with these bytes.
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
