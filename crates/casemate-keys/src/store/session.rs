//! One state of the key store, while it is read or changed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use casemate_audit::Frontier;
use casemate_crypto::{SecretBytes, encoding::KeyId};

use crate::{
    KeyName, StoreError, Usage, Versions,
    engine::{Change, Head, Put, Table, View, each},
    header::Header,
    index::{Index, ROWS_MAX},
    log::{self, Actor, Event},
    record::Record,
    root::RootKey,
    row::{Role, RowId, RowKind},
    sealed,
    tree::{Entry, Nodes, Tree, TreeError},
};

/// Visits the value of an entry by its number.
pub(super) type VisitEntry<'v> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'v;

/// A verified head.
pub(super) struct State {
    pub(super) head: Head,
    pub(super) header: Header,
    pub(super) index: Index,
    /// Nodes that were computed again because stored ones are damaged.
    rebuilt: Nodes,
}

impl State {
    /// Verifies header and index, and that there are rows if there should be.
    pub(super) fn open(view: &dyn View, head: Head, root: &RootKey) -> Result<Self, StoreError> {
        let state = Self::verify(head, root)?;
        let rows = state.index.rows();
        // One error for each row would hide what happened.
        if rows > 0 && view.scan(Table::Rows, None, 1)?.is_empty() {
            return Err(StoreError::Emptied(rows));
        }
        Ok(state)
    }

    /// Verifies header and index.
    pub(super) fn verify(head: Head, root: &RootKey) -> Result<Self, StoreError> {
        let header = Header::decode(&head.header)?;
        if header.commitment != root.commitment()? {
            return Err(StoreError::Replaced);
        }
        let index = Index::open(&head.header, &head.index, head.generation, root)?;
        Ok(Self {
            head,
            header,
            index,
            rebuilt: Nodes::new(),
        })
    }
}

/// What a change does.
#[derive(Default)]
pub(super) struct Edit {
    pub(super) header: Option<Header>,
    /// Plaintexts of rows to write; `None` removes one.
    pub(super) rows: BTreeMap<RowId, Option<SecretBytes>>,
    /// What the log is told.
    pub(super) events: Vec<Event>,
    /// Whether the log begins with this change.
    pub(super) begins_log: bool,
}

impl Edit {
    /// Returns whether nothing is changed and nothing is told.
    pub(super) fn is_empty(&self) -> bool {
        self.header.is_none() && self.rows.is_empty() && self.events.is_empty()
    }

    /// Tells the log of something.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// Reads one state.
pub(super) struct Session<'a> {
    view: Box<dyn View + 'a>,
    root: &'a RootKey,
    state: RefCell<Arc<State>>,
    shared: &'a RefCell<Arc<State>>,
}

impl<'a> Session<'a> {
    pub(super) const fn new(
        view: Box<dyn View + 'a>,
        root: &'a RootKey,
        state: Arc<State>,
        shared: &'a RefCell<Arc<State>>,
    ) -> Self {
        Self {
            view,
            root,
            state: RefCell::new(state),
            shared,
        }
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    pub(super) const fn root(&self) -> &RootKey {
        self.root
    }

    fn tree<'t>(&'t self, state: &State) -> Tree<'t> {
        Tree::with(&*self.view, state.index.root, &state.rebuilt)
    }

    /// Returns what the tree knows of a row. If a node is damaged, computes all of them again.
    fn find(&self, id: RowId) -> Result<Option<Entry>, StoreError> {
        let state = self.state();
        match self.tree(&state).find(id) {
            Ok(found) => Ok(found),
            Err(TreeError::Engine(error)) => Err(error.into()),
            Err(TreeError::Damaged(rows)) => {
                if !self.rebuild()? {
                    return Err(StoreError::Nodes(rows));
                }
                let state = self.state();
                self.tree(&state).find(id).map_err(|error| match error {
                    TreeError::Engine(error) => error.into(),
                    TreeError::Damaged(rows) => StoreError::Nodes(rows),
                })
            }
        }
    }

    /// Computes the nodes from the rows. Returns whether their root is the authenticated one.
    fn rebuild(&self) -> Result<bool, StoreError> {
        let state = self.state();
        let mut entries = BTreeMap::new();
        self.each_row(&mut |id, value| {
            if let Some(entry) = sealed::entry_of(id, value) {
                entries.insert(id, Some(entry));
            }
        })?;
        let mut tree = Tree::new(&*self.view, None);
        let built = tree.apply(&entries);
        if built.is_err() || tree.root() != state.index.root {
            return Ok(false);
        }
        let state = Arc::new(State {
            head: state.head.clone(),
            header: state.header.clone(),
            index: state.index.clone(),
            rebuilt: tree.into_nodes(),
        });
        self.state.replace(Arc::clone(&state));
        self.shared.replace(state);
        Ok(true)
    }

    /// Visits every stored row, listed or not. Keys that are no row ids are left out.
    pub(super) fn each_row(&self, visit: &mut dyn FnMut(RowId, &[u8])) -> Result<(), StoreError> {
        let mut seen = 0_u64;
        each(&*self.view, Table::Rows, &mut |key, value| {
            seen = seen.saturating_add(1);
            if seen > ROWS_MAX {
                return Err(StoreError::Full(ROWS_MAX));
            }
            if let Some(id) = RowId::from_bytes(key) {
                visit(id, value);
            }
            Ok(())
        })
    }

    /// Returns the value of an entry of the log.
    pub(super) fn entry(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.view.get(Table::Entries, &number.to_be_bytes())?)
    }

    /// Visits every stored entry of the log.
    pub(super) fn each_entry(&self, visit: &mut VisitEntry<'_>) -> Result<(), StoreError> {
        each(&*self.view, Table::Entries, &mut |key, value| {
            let number = number_of(key).ok_or(StoreError::OtherLog)?;
            visit(number, value)
        })
    }

    /// Returns every listed row, and the number of rows that cannot be checked.
    pub(super) fn listed(&self) -> Result<(BTreeMap<RowId, Entry>, u64), StoreError> {
        let mut damaged = 0;
        let mut entries = BTreeMap::new();
        let state = self.state();
        self.tree(&state).each(
            &mut |entry| _ = entries.insert(entry.id, entry.clone()),
            &mut damaged,
        )?;
        if damaged > 0 && self.rebuild()? {
            return self.listed();
        }
        Ok((entries, damaged))
    }

    /// Decrypts a row; `None` if it is not listed.
    pub(super) fn row(&self, id: RowId) -> Result<Option<SecretBytes>, StoreError> {
        let entry = self.find(id)?;
        entry.map(|entry| self.open(&entry)).transpose()
    }

    /// Decrypts every listed row of a kind.
    pub(super) fn rows_of(&self, kind: RowKind) -> Result<Vec<(RowId, SecretBytes)>, StoreError> {
        let (listed, unchecked) = self.listed()?;
        if unchecked > 0 {
            return Err(StoreError::Nodes(unchecked));
        }
        let entries = listed.into_values().filter(|entry| entry.id.kind() == kind);
        entries
            .map(|entry| {
                let plaintext = self.open(&entry)?;
                Ok((entry.id, plaintext))
            })
            .collect()
    }

    fn open(&self, entry: &Entry) -> Result<SecretBytes, StoreError> {
        let stored = self.view.get(Table::Rows, &entry.id.to_bytes())?;
        let stored = stored.ok_or(StoreError::MissingRow(entry.id))?;
        sealed::open(&stored, self.root, entry)
    }

    pub(super) fn record(&self, id: RowId) -> Result<Record, StoreError> {
        let plaintext = self.row(id)?.ok_or(StoreError::MissingRow(id))?;
        Record::decode(&plaintext, id)
    }

    /// Returns the row of a key, in whichever half it is stored.
    pub(super) fn row_of_key(&self, key: KeyId) -> Result<Option<RowId>, StoreError> {
        for role in Role::ALL {
            let id = RowId::of_key(key, role);
            if self.find(id)?.is_some() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    pub(super) fn versions(&self, name: &KeyName) -> Result<Option<Versions>, StoreError> {
        let id = self.root.name_row(name)?;
        let plaintext = self.row(id)?;
        let versions = plaintext.map(|plaintext| Versions::decode(&plaintext, id));
        let Some(versions) = versions.transpose()? else {
            return Ok(None);
        };
        if versions.name == *name {
            Ok(Some(versions))
        } else {
            Err(StoreError::DamagedRow(id))
        }
    }

    pub(super) fn usage(&self, key: KeyId) -> Result<Usage, StoreError> {
        let id = RowId::new(*key.as_bytes(), RowKind::Usage);
        let plaintext = self.row(id)?;
        plaintext.map_or(Ok(Usage::default()), |plaintext| {
            Usage::decode(&plaintext, id)
        })
    }

    /// Returns the change that an edit makes of this state.
    pub(super) fn change(&self, edit: Edit, actor: &Actor) -> Result<(u64, Change), StoreError> {
        // A damaged node that is on the way of a change is computed again first.
        for id in edit.rows.keys() {
            self.find(*id)?;
        }
        let state = self.state();
        let log = state.index.log.clone();
        change_of(
            edit,
            self.tree(&state),
            self.root,
            &state.head,
            (log, actor),
        )
    }

    /// Returns the change that replaces every row and every node, under a new root key.
    ///
    /// The log goes on: its entries get new tags, and its tree stays. An entry that is damaged is
    /// left as it is, so that it stays damaged, and whatever is not of the log is deleted: whoever
    /// wrote it must not be able to keep the root key from being replaced.
    pub(super) fn replacement(
        &self,
        edit: Edit,
        root: &RootKey,
        actor: &Actor,
    ) -> Result<(u64, Change), StoreError> {
        let tree = Tree::new(&*self.view, None);
        let state = self.state();
        let log = state.index.log.clone();
        let size = log.as_ref().map_or(0, Frontier::size);
        let (expected, mut change) = change_of(edit, tree, root, &state.head, (log, actor))?;
        let written = |wanted: Table| -> BTreeSet<Vec<u8>> {
            let put = change.put.iter();
            put.filter(|(table, ..)| *table == wanted)
                .map(|(_, key, _)| key.clone())
                .collect()
        };
        let (nodes, entries) = (written(Table::Nodes), written(Table::Entries));
        let (old, new) = (self.root.entry_key()?, root.entry_key()?);
        let mut put = Vec::new();
        each(&*self.view, Table::Entries, &mut |key, value| {
            match number_of(key).filter(|number| *number < size) {
                Some(number) => {
                    if let Some(entry) = log::untagged(&old, number, value) {
                        let value = log::tagged(&new, number, entry);
                        put.push((Table::Entries, key.to_vec(), Some(value)));
                    }
                }
                None if entries.contains(key) => {}
                None => put.push((Table::Entries, key.to_vec(), None)),
            }
            Ok::<(), StoreError>(())
        })?;
        each(&*self.view, Table::Nodes, &mut |path, _| {
            if !nodes.contains(path) {
                put.push((Table::Nodes, path.to_vec(), None));
            }
            Ok::<(), StoreError>(())
        })?;
        change.put.extend(put);
        Ok((expected, change))
    }
}

fn number_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Returns the generation that a change expects, and the change that an edit makes of a tree.
pub(super) fn change_of(
    edit: Edit,
    mut tree: Tree<'_>,
    root: &RootKey,
    head: &Head,
    (log, actor): (Option<Frontier>, &Actor),
) -> Result<(u64, Change), StoreError> {
    let generation = head.generation.saturating_add(1);
    let mut put = Vec::new();
    let mut entries = BTreeMap::new();
    for (id, plaintext) in &edit.rows {
        let (entry, sealed) = match plaintext {
            Some(plaintext) => {
                let (entry, sealed) = sealed::seal(plaintext, root, *id, generation)?;
                (Some(entry), Some(sealed))
            }
            None => (None, None),
        };
        entries.insert(*id, entry);
        put.push((Table::Rows, id.to_bytes().to_vec(), sealed));
    }
    tree.apply(&entries).map_err(|error| match error {
        TreeError::Engine(error) => StoreError::from(error),
        TreeError::Damaged(rows) => StoreError::Nodes(rows),
    })?;
    let log = if edit.begins_log {
        Some(Frontier::default())
    } else {
        log
    };
    let log = log.map(|log| append(log, edit.events, root, actor, &mut put));
    let index = Index {
        generation,
        root: tree.root(),
        log: log.transpose()?,
    };
    if index.rows() > ROWS_MAX {
        return Err(StoreError::Full(ROWS_MAX));
    }
    let nodes = tree.into_nodes().into_iter();
    put.extend(nodes.map(|(path, node)| (Table::Nodes, path, node)));
    let header = edit.header.map(|header| header.encode());
    let change = Change {
        index: index.seal(header.as_ref().unwrap_or(&head.header), root)?,
        header,
        put,
    };
    Ok((head.generation, change))
}

/// Appends what happened to the log.
fn append(
    mut log: Frontier,
    events: Vec<Event>,
    root: &RootKey,
    actor: &Actor,
    put: &mut Vec<Put>,
) -> Result<Frontier, StoreError> {
    // A change that tells nothing would leave a gap that nobody sees.
    if events.is_empty() {
        return Err(casemate_crypto::Error::Internal.into());
    }
    let key = root.entry_key()?;
    for event in events {
        let entry = event.encode(actor)?;
        let number = log.size();
        let value = log::tagged(&key, number, &entry);
        put.push((Table::Entries, number.to_be_bytes().to_vec(), Some(value)));
        log.append(log::hash_of(&entry));
    }
    Ok(log)
}
