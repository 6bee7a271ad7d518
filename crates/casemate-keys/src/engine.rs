//! The storage engine interface: an engine stores bytes and changes them atomically.

mod memory;

pub use memory::{MemoryEngine, Snapshot};

/// The tables of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Sealed rows by row id.
    Rows,
    /// Nodes of the tree over the rows, by path.
    Nodes,
    /// Entries of the audit log, by number.
    Entries,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Rows, Self::Nodes, Self::Entries];
}

/// What is read before anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The header.
    pub header: Vec<u8>,
    /// The index.
    pub index: Vec<u8>,
    /// The number of changes so far.
    pub generation: u64,
}

/// A value to write, by table and key; `None` removes it.
pub type Put = (Table, Vec<u8>, Option<Vec<u8>>);

/// One change, applied atomically.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The header, to be written when the key store is created or a slot changes.
    pub header: Option<Vec<u8>>,
    /// The new index.
    pub index: Vec<u8>,
    /// Values to write, by table and key; `None` removes one.
    pub put: Vec<Put>,
}

impl Change {
    /// Returns whether something is replaced that must not stay behind.
    pub fn removes(&self) -> bool {
        let removed = |(table, _, value): &Put| *table == Table::Rows && value.is_none();
        self.header.is_some() || self.put.iter().any(removed)
    }
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
    /// The storage can only be read.
    #[error("the key store is read-only here")]
    ReadOnly,
    /// The key store's file was moved or replaced.
    #[error("the file of the key store was replaced or removed while it was open")]
    Moved,
    /// It is not known whether the change was made.
    #[error("no answer from the storage: the change may have been made")]
    Unknown,
    /// There is no space left. Nothing was changed.
    #[error("the disk of the key store is full")]
    Full,
    /// The storage failed.
    #[error("cannot read or write the key store")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One state of an engine, which no change affects while it is read.
pub trait View {
    /// Returns the head; `None` if there is no key store.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`], [`EngineError::Foreign`].
    fn head(&self) -> Result<Option<Head>, EngineError>;

    /// Returns a value.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Returns at most `limit` keys and values in ascending order of the keys, which come after
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Page, EngineError>;
}

/// Keys and values.
pub type Page = Vec<(Vec<u8>, Vec<u8>)>;

/// Stores the bytes of a key store.
pub trait Engine {
    /// Begins to read the newest state.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn view(&self) -> Result<Box<dyn View + '_>, EngineError>;

    /// Applies `change` if the generation is still `expected`, and increments the generation.
    /// Returns once the change is on stable storage.
    ///
    /// # Errors
    ///
    /// [`EngineError::Conflict`] if the generation differs, in which case nothing changed;
    /// [`EngineError::Unknown`]; [`EngineError::Storage`].
    fn commit(&self, expected: u64, change: &Change) -> Result<(), EngineError>;

    /// Fills an empty engine with everything that a view shows, including its generation.
    ///
    /// # Errors
    ///
    /// [`EngineError::Conflict`] if the engine is not empty; [`EngineError::Storage`].
    fn fill(&self, view: &dyn View) -> Result<(), EngineError>;

    /// Returns the records of a key store of version 1, by their ids. The next change replaces
    /// them.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn version_1(&self) -> Result<Option<Page>, EngineError> {
        Ok(None)
    }
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn view(&self) -> Result<Box<dyn View + '_>, EngineError> {
        (**self).view()
    }

    fn commit(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        (**self).commit(expected, change)
    }

    fn fill(&self, view: &dyn View) -> Result<(), EngineError> {
        (**self).fill(view)
    }

    fn version_1(&self) -> Result<Option<Page>, EngineError> {
        (**self).version_1()
    }
}

/// Any engine, which a thread may own.
pub type AnyEngine = Box<dyn Engine + Send>;

/// Values that are read at once.
const PAGE: usize = 1024;

/// Visits every key and value of a table, in ascending order of the keys.
///
/// # Errors
///
/// The engine's error, and those of `visit`.
pub fn each<E: From<EngineError>>(
    view: &dyn View,
    table: Table,
    visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let page = view.scan(table, last.as_deref(), PAGE)?;
        let Some((newest, _)) = page.last() else {
            return Ok(());
        };
        last = Some(newest.clone());
        for (key, value) in &page {
            visit(key, value)?;
        }
    }
}
