//! The authenticated tree over the rows (`spec/key-store.md`, section 4.1).
//!
//! The set of rows determines the tree, so a change of one row rewrites the nodes on its path and
//! no other, and a tree whose nodes were lost can be computed again.

mod node;

use std::collections::BTreeMap;

use crate::{
    engine::{EngineError, Table, View},
    row::RowId,
};
use node::{CHILDREN, LEAF_ROWS_MAX, Node, nibbles};
pub(crate) use node::{Entry, Subtree};

/// Why the tree cannot be read.
#[derive(Debug)]
pub(crate) enum TreeError {
    /// The node over this many rows is missing or was changed.
    Damaged(u64),
    /// The engine failed.
    Engine(EngineError),
}

impl From<EngineError> for TreeError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Nodes by path; `None` for one that is removed.
pub(crate) type Nodes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A tree, whose nodes are those of a view unless `nodes` has others.
pub(crate) struct Tree<'a> {
    view: &'a dyn View,
    root: Option<Subtree>,
    nodes: Nodes,
}

impl<'a> Tree<'a> {
    pub(crate) const fn new(view: &'a dyn View, root: Option<Subtree>) -> Self {
        Self {
            view,
            root,
            nodes: Nodes::new(),
        }
    }

    /// As [`Self::new`], with nodes that replace those of the view.
    pub(crate) fn with(view: &'a dyn View, root: Option<Subtree>, nodes: &Nodes) -> Self {
        Self {
            nodes: nodes.clone(),
            ..Self::new(view, root)
        }
    }

    pub(crate) const fn root(&self) -> Option<Subtree> {
        self.root
    }

    /// Returns the nodes that differ from those of the view.
    pub(crate) fn into_nodes(self) -> Nodes {
        self.nodes
    }

    /// Returns what the tree knows of a row.
    pub(crate) fn find(&self, id: RowId) -> Result<Option<Entry>, TreeError> {
        let path: Vec<u8> = nibbles(&id).collect();
        let mut subtree = self.root;
        let mut depth = 0_usize;
        while let Some(found) = subtree {
            let damaged = TreeError::Damaged(found.rows);
            let Some((prefix, rest)) = path.split_at_checked(depth) else {
                return Err(damaged);
            };
            match self.node(prefix, &found)? {
                Node::Leaf(entries) => {
                    return Ok(entries.into_iter().find(|entry| entry.id == id));
                }
                Node::Branch(children) => {
                    let next = rest.first().ok_or(damaged)?;
                    subtree = children.get(usize::from(*next)).copied().flatten();
                    depth = depth.saturating_add(1);
                }
            }
        }
        Ok(None)
    }

    /// Visits every row in ascending order of its id. Subtrees whose node is damaged are counted
    /// and left out.
    pub(crate) fn each(
        &self,
        visit: &mut dyn FnMut(&Entry),
        damaged: &mut u64,
    ) -> Result<(), EngineError> {
        match self.root {
            Some(root) => self.each_below(&mut Vec::new(), &root, visit, damaged),
            None => Ok(()),
        }
    }

    fn each_below(
        &self,
        path: &mut Vec<u8>,
        subtree: &Subtree,
        visit: &mut dyn FnMut(&Entry),
        damaged: &mut u64,
    ) -> Result<(), EngineError> {
        match self.node(path, subtree) {
            Err(TreeError::Engine(error)) => return Err(error),
            Err(TreeError::Damaged(rows)) => *damaged = damaged.saturating_add(rows),
            Ok(Node::Leaf(entries)) => entries.iter().for_each(visit),
            Ok(Node::Branch(children)) => {
                for (child, nibble) in children.iter().zip(0_u8..) {
                    if let Some(child) = child {
                        path.push(nibble);
                        self.each_below(path, child, visit, damaged)?;
                        path.pop();
                    }
                }
            }
        }
        Ok(())
    }

    /// Changes rows: `Some` writes one, `None` removes it.
    pub(crate) fn apply(
        &mut self,
        changes: &BTreeMap<RowId, Option<Entry>>,
    ) -> Result<(), TreeError> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(id, entry)| Step {
                path: nibbles(id).collect(),
                id: *id,
                entry: entry.clone(),
            })
            .collect();
        self.root = self.update(&mut Vec::new(), self.root, &changes)?;
        Ok(())
    }

    fn update(
        &mut self,
        path: &mut Vec<u8>,
        subtree: Option<Subtree>,
        changes: &[Step],
    ) -> Result<Option<Subtree>, TreeError> {
        if changes.is_empty() {
            return Ok(subtree);
        }
        let node = match subtree {
            Some(subtree) => self.node(path, &subtree)?,
            None => Node::Leaf(Vec::new()),
        };
        match node {
            Node::Leaf(entries) => {
                let mut all: BTreeMap<RowId, Entry> =
                    entries.into_iter().map(|entry| (entry.id, entry)).collect();
                for step in changes {
                    match &step.entry {
                        Some(entry) => all.insert(step.id, entry.clone()),
                        None => all.remove(&step.id),
                    };
                }
                Ok(self.place(path, &all.into_values().collect::<Vec<_>>()))
            }
            Node::Branch(mut children) => {
                for (child, nibble) in children.iter_mut().zip(0_u8..) {
                    let is_below = |step: &&Step| step.path.get(path.len()) == Some(&nibble);
                    let below: Vec<Step> = changes.iter().filter(is_below).cloned().collect();
                    path.push(nibble);
                    *child = self.update(path, *child, &below)?;
                    path.pop();
                }
                self.settle(path, &Node::Branch(children))
            }
        }
    }

    /// Writes a branch, or the leaf that takes its place if it has few rows left.
    fn settle(&mut self, path: &mut Vec<u8>, node: &Node) -> Result<Option<Subtree>, TreeError> {
        if node.rows() > LEAF_ROWS_MAX {
            return Ok(Some(self.write(path, node)));
        }
        let Node::Branch(children) = node else {
            return Err(TreeError::Damaged(node.rows()));
        };
        let mut entries = Vec::new();
        for (child, nibble) in children.iter().zip(0_u8..) {
            let Some(child) = child else { continue };
            path.push(nibble);
            // A child of a branch with so few rows is a leaf.
            if let Node::Leaf(below) = self.node(path, child)? {
                entries.extend(below);
            }
            self.nodes.insert(path.clone(), None);
            path.pop();
        }
        Ok(self.place(path, &entries))
    }

    /// Writes the subtree of these rows.
    fn place(&mut self, path: &mut Vec<u8>, entries: &[Entry]) -> Option<Subtree> {
        if entries.is_empty() {
            self.nodes.insert(path.clone(), None);
            return None;
        }
        if entries.len() as u64 <= LEAF_ROWS_MAX {
            return Some(self.write(path, &Node::Leaf(entries.to_vec())));
        }
        let mut children = Box::new([None; CHILDREN]);
        for (child, nibble) in children.iter_mut().zip(0_u8..) {
            let is_below = |entry: &&Entry| nibbles(&entry.id).nth(path.len()) == Some(nibble);
            let below: Vec<Entry> = entries.iter().filter(is_below).cloned().collect();
            if !below.is_empty() {
                path.push(nibble);
                *child = self.place(path, &below);
                path.pop();
            }
        }
        Some(self.write(path, &Node::Branch(children)))
    }

    fn write(&mut self, path: &[u8], node: &Node) -> Subtree {
        let encoded = node.encode();
        let subtree = node.subtree(&encoded);
        self.nodes.insert(path.to_vec(), Some(encoded));
        subtree
    }

    fn node(&self, path: &[u8], subtree: &Subtree) -> Result<Node, TreeError> {
        let encoded = match self.nodes.get(path) {
            Some(known) => known.clone(),
            None => self.view.get(Table::Nodes, path)?,
        };
        encoded
            .and_then(|encoded| Node::read(&encoded, path, subtree))
            .ok_or(TreeError::Damaged(subtree.rows))
    }
}

/// One changed row.
#[derive(Clone)]
struct Step {
    path: Vec<u8>,
    id: RowId,
    entry: Option<Entry>,
}
