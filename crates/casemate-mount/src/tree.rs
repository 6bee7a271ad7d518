//! Folders and files by inode number.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

/// Inode number of the mount point; `nodes` starts with it.
pub(crate) const ROOT: u64 = 1;

/// A file or folder with an inode number.
#[derive(Debug)]
pub(crate) enum Node {
    Folder {
        parent: u64,
        entries: BTreeMap<OsString, u64>,
    },
    /// Position in the list of files.
    File(usize),
}

/// All nodes; inode `n` is at `n - 1`.
#[derive(Debug)]
pub(crate) struct Tree(Vec<Node>);

impl Tree {
    /// Builds the tree with the folders that the paths need. No path may be a parent of another.
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut tree = Self(Vec::new());
        tree.push(Node::Folder {
            parent: ROOT,
            entries: BTreeMap::new(),
        });
        for (number, path) in paths.into_iter().enumerate() {
            let mut folder = ROOT;
            let mut components = path.split('/').peekable();
            while let Some(component) = components.next() {
                let known = tree.find(folder, component.as_ref());
                let node = if components.peek().is_none() {
                    Node::File(number)
                } else if let Some(known) = known {
                    folder = known;
                    continue;
                } else {
                    Node::Folder {
                        parent: folder,
                        entries: BTreeMap::new(),
                    }
                };
                let inode = tree.push(node);
                tree.enter(folder, component, inode);
                folder = inode;
            }
        }
        tree
    }

    fn push(&mut self, node: Node) -> u64 {
        self.0.push(node);
        self.0.len() as u64
    }

    fn enter(&mut self, folder: u64, name: &str, inode: u64) {
        let node = index(folder).and_then(|at| self.0.get_mut(at));
        if let Some(Node::Folder { entries, .. }) = node {
            entries.insert(name.into(), inode);
        }
    }

    pub(crate) fn get(&self, inode: u64) -> Option<&Node> {
        index(inode).and_then(|at| self.0.get(at))
    }

    pub(crate) fn find(&self, folder: u64, name: &OsStr) -> Option<u64> {
        match self.get(folder)? {
            Node::Folder { entries, .. } => entries.get(name).copied(),
            Node::File(_) => None,
        }
    }
}

fn index(inode: u64) -> Option<usize> {
    usize::try_from(inode.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_folders_and_files() {
        let paths = ["a/b/c", "a/b/d", "a/e", "f"];
        let tree = Tree::new(paths);
        let walk = |path: &str| {
            path.split('/')
                .try_fold(ROOT, |folder, name| tree.find(folder, name.as_ref()))
        };
        for (number, path) in paths.iter().enumerate() {
            let inode = walk(path).unwrap();
            assert!(matches!(tree.get(inode), Some(Node::File(found)) if *found == number));
        }
        let folder = walk("a/b").unwrap();
        assert!(
            matches!(tree.get(folder), Some(Node::Folder { entries, .. }) if entries.len() == 2)
        );
        assert_eq!((walk("a/x"), walk("f/x")), (None, None));
        assert!(tree.get(0).is_none() && tree.get(99).is_none());
    }
}
