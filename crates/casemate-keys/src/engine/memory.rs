//! An engine in memory.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use super::{Change, Engine, EngineError, Head, Page, Table, View, each};

/// Everything that an engine stores.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Header, index and generation, once the store exists.
    pub head: Head,
    /// Sealed rows by encoded id.
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Nodes by path.
    pub nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries of the audit log by number.
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records of version 1, if the key store has that version.
    pub version_1: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Snapshot {
    /// Copies everything that an engine stores; `None` if there is no key store.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn of(engine: &impl Engine) -> Result<Option<Self>, EngineError> {
        let view = engine.view()?;
        let Some(mut snapshot) = Self::of_view(&*view)? else {
            return Ok(None);
        };
        drop(view);
        let version_1 = engine.version_1()?;
        snapshot.version_1 = version_1.map(|page| page.into_iter().collect());
        Ok(Some(snapshot))
    }

    fn of_view(view: &dyn View) -> Result<Option<Self>, EngineError> {
        let Some(head) = view.head()? else {
            return Ok(None);
        };
        let all = |table| {
            let mut found = BTreeMap::new();
            each(view, table, &mut |key, value| {
                found.insert(key.to_vec(), value.to_vec());
                Ok::<(), EngineError>(())
            })?;
            Ok::<_, EngineError>(found)
        };
        let (rows, nodes) = (all(Table::Rows)?, all(Table::Nodes)?);
        let entries = all(Table::Entries)?;
        Ok(Some(Self {
            head,
            rows,
            nodes,
            entries,
            version_1: None,
        }))
    }

    const fn table(&self, table: Table) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        match table {
            Table::Rows => &self.rows,
            Table::Nodes => &self.nodes,
            Table::Entries => &self.entries,
        }
    }
}

/// An engine in memory, for programs that bring their own keys, such as demonstrations and tests.
#[derive(Debug, Default)]
pub struct MemoryEngine(RefCell<Option<Snapshot>>);

impl MemoryEngine {
    /// Returns an engine with these bytes.
    pub const fn with(snapshot: Snapshot) -> Self {
        Self(RefCell::new(Some(snapshot)))
    }
}

impl View for std::cell::Ref<'_, Option<Snapshot>> {
    fn head(&self) -> Result<Option<Head>, EngineError> {
        Ok(self.as_ref().map(|snapshot| snapshot.head.clone()))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let found = self.as_ref().and_then(|all| all.table(table).get(key));
        Ok(found.cloned())
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Page, EngineError> {
        let Some(snapshot) = self.as_ref() else {
            return Ok(Page::new());
        };
        let from = after.map_or(Unbounded, Excluded);
        let found = snapshot.table(table).range::<[u8], _>((from, Unbounded));
        let copied = found.map(|(key, value)| (key.clone(), value.clone()));
        Ok(copied.take(limit).collect())
    }
}

impl Engine for MemoryEngine {
    fn view(&self) -> Result<Box<dyn View + '_>, EngineError> {
        Ok(Box::new(self.0.borrow()))
    }

    fn commit(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        let mut content = self.0.borrow_mut();
        let snapshot = content.get_or_insert_default();
        if snapshot.head.generation != expected {
            return Err(EngineError::Conflict);
        }
        if let Some(header) = &change.header {
            snapshot.head.header.clone_from(header);
        }
        snapshot.head.index.clone_from(&change.index);
        for (table, key, value) in &change.put {
            let table = match table {
                Table::Rows => &mut snapshot.rows,
                Table::Nodes => &mut snapshot.nodes,
                Table::Entries => &mut snapshot.entries,
            };
            match value {
                Some(value) => table.insert(key.clone(), value.clone()),
                None => table.remove(key),
            };
        }
        snapshot.version_1 = None;
        snapshot.head.generation = expected.saturating_add(1);
        Ok(())
    }

    fn fill(&self, view: &dyn View) -> Result<(), EngineError> {
        let mut content = self.0.borrow_mut();
        if content.is_some() {
            return Err(EngineError::Conflict);
        }
        *content = Snapshot::of_view(view)?;
        Ok(())
    }

    fn version_1(&self) -> Result<Option<Page>, EngineError> {
        let content = self.0.borrow();
        let records = content.as_ref().and_then(|all| all.version_1.clone());
        Ok(records.map(|records| records.into_iter().collect()))
    }
}
