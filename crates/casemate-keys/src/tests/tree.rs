//! The tree against a plain map, and every damaged node.

use std::collections::BTreeMap;

use casemate_crypto::encoding::KeyId;
use proptest::prelude::*;

use crate::{
    engine::{Change, Engine, MemoryEngine, Snapshot, Table},
    row::{Role, RowId},
    tree::{Entry, Subtree, Tree, TreeError},
};

fn id(number: u64) -> RowId {
    // As key ids are: without order. The high bits are few, so that deep branches occur.
    let hash = casemate_crypto::hash::sha384(&number.to_be_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&hash[..32]);
    bytes[0] &= 0x11;
    RowId::of_key(KeyId::from_bytes(bytes), Role::Private)
}

fn entry(number: u64, generation: u64) -> Entry {
    Entry::new(id(number), generation, &number.to_be_bytes())
}

type Changes = BTreeMap<RowId, Option<Entry>>;

/// An engine that keeps nodes only.
struct Nodes {
    engine: MemoryEngine,
    root: Option<Subtree>,
    generation: u64,
}

impl Nodes {
    fn new() -> Self {
        Self {
            engine: MemoryEngine::default(),
            root: None,
            generation: 0,
        }
    }

    /// Applies changes and returns how many nodes were written.
    fn apply(&mut self, changes: &Changes) -> usize {
        let view = self.engine.view().unwrap();
        let mut tree = Tree::new(&*view, self.root);
        tree.apply(changes).unwrap();
        self.root = tree.root();
        let nodes = tree.into_nodes();
        drop(view);
        let written = nodes.values().flatten().count();
        let put = nodes
            .into_iter()
            .map(|(path, node)| (Table::Nodes, path, node));
        let change = Change {
            put: put.collect(),
            ..Change::default()
        };
        self.engine.commit(self.generation, &change).unwrap();
        self.generation = self.generation.saturating_add(1);
        written
    }

    fn all(&self) -> (Vec<Entry>, u64) {
        let view = self.engine.view().unwrap();
        let (mut found, mut damaged) = (Vec::new(), 0);
        Tree::new(&*view, self.root)
            .each(&mut |entry| found.push(entry.clone()), &mut damaged)
            .unwrap();
        (found, damaged)
    }

    fn find(&self, number: u64) -> Result<Option<Entry>, TreeError> {
        let view = self.engine.view()?;
        Tree::new(&*view, self.root).find(id(number))
    }

    fn stored(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        Snapshot::of(&self.engine)
            .unwrap()
            .map_or_else(BTreeMap::new, |all| all.nodes)
    }
}

fn put(numbers: impl IntoIterator<Item = u64>) -> Changes {
    let entries = numbers.into_iter().map(|number| entry(number, 1));
    entries.map(|entry| (entry.id, Some(entry))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_lists_what_a_map_would_and_depends_on_the_rows_alone(
        batches in prop::collection::vec(
            prop::collection::vec((0_u64..300, prop::bool::weighted(0.6)), 1..120),
            1..8,
        ),
    ) {
        let mut tree = Nodes::new();
        let mut expected = BTreeMap::new();
        for (generation, batch) in (1_u64..).zip(&batches) {
            let mut changes = Changes::new();
            for (number, is_put) in batch {
                let entry = is_put.then(|| entry(*number, generation));
                match &entry {
                    Some(entry) => _ = expected.insert(entry.id, entry.clone()),
                    None => _ = expected.remove(&id(*number)),
                }
                changes.insert(id(*number), entry);
            }
            tree.apply(&changes);
        }
        let (found, damaged) = tree.all();
        prop_assert_eq!(damaged, 0);
        prop_assert_eq!(&found, &expected.values().cloned().collect::<Vec<_>>());
        for number in 0..300 {
            prop_assert_eq!(tree.find(number).unwrap(), expected.get(&id(number)).cloned());
        }
        // The same rows at once give the same nodes, and no other is left behind.
        let mut at_once = Nodes::new();
        at_once.apply(&expected.into_iter().map(|(id, entry)| (id, Some(entry))).collect());
        prop_assert_eq!(tree.root, at_once.root);
        prop_assert_eq!(tree.stored(), at_once.stored());
    }
}

#[test]
fn a_change_of_one_row_writes_the_nodes_on_its_path() {
    let mut tree = Nodes::new();
    tree.apply(&put(0..20_000));
    assert_eq!(tree.root.unwrap().rows, 20_000);
    let written = tree.apply(&put([20_001]));
    assert!((3..=6).contains(&written), "{written} nodes");
    let removed = Changes::from([(id(20_001), None)]);
    let written = tree.apply(&removed);
    assert!((3..=6).contains(&written), "{written} nodes");
}

#[test]
fn a_changed_missing_or_exchanged_node_is_noticed_and_others_still_read() {
    let mut tree = Nodes::new();
    tree.apply(&put(0..400));
    let good = tree.stored();
    let paths: Vec<_> = good.keys().cloned().collect();
    assert!(paths.len() > 10);
    for path in &paths {
        let flipped = |at: usize| {
            let mut node = good[path].clone();
            node[at] ^= 1;
            Some(node)
        };
        let other = paths.iter().find(|other| *other != path).unwrap();
        let middle = good[path].len() / 2;
        for bad in [None, flipped(0), flipped(middle), Some(good[other].clone())] {
            let mut nodes = good.clone();
            match bad {
                Some(node) => _ = nodes.insert(path.clone(), node),
                None => _ = nodes.remove(path),
            }
            let damaged = Nodes {
                engine: MemoryEngine::with(Snapshot {
                    nodes,
                    ..Snapshot::default()
                }),
                ..tree
            };
            let (found, lost) = damaged.all();
            assert!(lost > 0);
            assert_eq!(found.len() as u64 + lost, 400);
            let readable = (0..400).filter(|number| damaged.find(*number).is_ok());
            assert_eq!(readable.count(), found.len());
        }
    }
}
