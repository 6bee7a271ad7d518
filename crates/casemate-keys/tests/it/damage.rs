//! Bytes changed behind the store's back are noticed, and named where a single row is concerned.

use casemate_keys::{
    End, Head, KeyStore, MemoryEngine, RowId, RowKind, Snapshot, SqliteEngine, StoreError,
    StoreKey, StoreSecret,
};
use proptest::prelude::*;

use crate::keys::{CHEAP, new_store, passphrase};

fn stored(path: &std::path::Path) -> Snapshot {
    let engine = SqliteEngine::open(path, false).unwrap();
    Snapshot::of(&engine).unwrap().unwrap()
}

/// A store with three keys, as the engine keeps it.
fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    for name in ["a", "b", "c"] {
        store
            .generate(name.parse().unwrap(), "mlkem768-x25519", 0)
            .unwrap();
    }
    drop(store);
    stored(&path)
}

/// An empty store that a random key opens, and the key.
fn with_random_key() -> (Snapshot, StoreSecret) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    let engine = SqliteEngine::open(&path, true).unwrap();
    KeyStore::create(engine, &key, CHEAP, 100).unwrap();
    (stored(&path), key)
}

fn unlock(snapshot: &Snapshot) -> Result<KeyStore<MemoryEngine>, StoreError> {
    KeyStore::unlock(MemoryEngine::with(snapshot.clone()), &passphrase())
}

#[test]
fn a_flipped_bit_in_any_row_names_it_and_leaves_the_others() {
    let good = snapshot();
    assert!(unlock(&good).unwrap().list().unwrap().damage.is_empty());
    for id in good.rows.keys() {
        let len = good.rows[id].len();
        for at in [0, 7, 8, 19, 20, len / 2, len - 1] {
            let mut bad = good.clone();
            bad.rows.get_mut(id).unwrap()[at] ^= 1;
            let store = unlock(&bad).unwrap();
            let listing = store.list().unwrap();
            assert_eq!(listing.keys.len(), 2);
            let [StoreError::DamagedRow(named)] = listing.damage.as_slice() else {
                panic!("{:?}", listing.damage);
            };
            assert_eq!(named.to_bytes().as_slice(), id);
            for key in &listing.keys {
                let entry = store.by_name(&key.name).unwrap().unwrap();
                store.private_key(&entry).unwrap();
            }
        }
    }
}

/// The ids of the keys, without those of the names.
fn keys(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let is_key = |id: &&Vec<u8>| RowId::from_bytes(id).unwrap().kind() == RowKind::Private;
    snapshot.rows.keys().filter(is_key).cloned().collect()
}

#[test]
fn swapped_removed_added_and_rolled_back_rows_are_named() {
    let good = snapshot();
    let ids = keys(&good);
    let mut swapped = good.clone();
    let (first, second) = (good.rows[&ids[0]].clone(), good.rows[&ids[1]].clone());
    swapped.rows.insert(ids[0].clone(), second);
    swapped.rows.insert(ids[1].clone(), first.clone());
    let listing = unlock(&swapped).unwrap().list().unwrap();
    assert_eq!((listing.keys.len(), listing.damage.len()), (1, 2));

    let mut removed = good.clone();
    removed.rows.remove(&ids[2]);
    let listing = unlock(&removed).unwrap().list().unwrap();
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::MissingRow(_)]
    ));

    let mut added = good.clone();
    let mut foreign = ids[0].clone();
    foreign[0] ^= 1;
    added.rows.insert(foreign, first);
    let listing = unlock(&added).unwrap().list().unwrap();
    assert_eq!(listing.keys.len(), 3);
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::ForeignRow(_)]
    ));

    // Another store's row under the same id was sealed under another root key.
    let other = snapshot();
    let mut transplanted = good.clone();
    let theirs = other.rows[&keys(&other)[0]].clone();
    transplanted.rows.insert(ids[0].clone(), theirs);
    let listing = unlock(&transplanted).unwrap().list().unwrap();
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::DamagedRow(_)]
    ));
}

#[test]
fn validity_is_not_judged_by_what_is_left_of_a_damaged_store() {
    let good = snapshot();
    unlock(&good).unwrap().statuses().unwrap();
    for id in good.rows.keys() {
        let mut flipped = good.clone();
        *flipped.rows.get_mut(id).unwrap().last_mut().unwrap() ^= 1;
        unlock(&flipped).unwrap().statuses().unwrap_err();
        let mut removed = good.clone();
        removed.rows.remove(id);
        unlock(&removed).unwrap().statuses().unwrap_err();
    }
}

#[test]
fn damaged_nodes_are_computed_again_from_intact_rows() {
    let good = snapshot();
    let paths: Vec<_> = good.nodes.keys().cloned().collect();
    assert_eq!(paths, [Vec::<u8>::new()]);
    for damage in [None, Some(vec![0x80]), Some(Vec::new())] {
        let mut bad = good.clone();
        match damage {
            Some(bytes) => _ = bad.nodes.insert(Vec::new(), bytes),
            None => bad.nodes.clear(),
        }
        let mut store = unlock(&bad).unwrap();
        let listing = store.list().unwrap();
        assert_eq!((listing.keys.len(), listing.damage.len()), (3, 0));
        let name = "d".parse().unwrap();
        store.generate(name, "mlkem768-x25519", 0).unwrap();
        let mended = Snapshot::of(store.engine()).unwrap().unwrap();
        assert!(unlock(&mended).unwrap().list().unwrap().damage.is_empty());
        // With a damaged row as well, nothing says which rows there should be.
        let mut both = bad.clone();
        both.rows.get_mut(&keys(&good)[0]).unwrap()[30] ^= 1;
        let listing = unlock(&both).unwrap().list().unwrap();
        let [StoreError::Nodes(6)] = listing.damage.as_slice() else {
            panic!("{:?}", listing.damage);
        };
    }
}

#[test]
fn every_flipped_byte_of_index_and_header_is_refused() {
    let good = snapshot();
    for at in 0..good.head.index.len() {
        let mut bad = good.clone();
        bad.head.index[at] ^= 0x40;
        let refused = unlock(&bad).unwrap_err();
        assert!(
            matches!(refused, StoreError::Index),
            "index byte {at}: {refused}"
        );
    }
    for at in 0..good.head.header.len() {
        let mut bad = good.clone();
        bad.head.header[at] ^= 0x40;
        assert!(unlock(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn every_flipped_byte_of_a_header_with_a_random_key_is_refused() {
    let (good, key) = with_random_key();
    let unlock = |snapshot: &Snapshot| KeyStore::unlock(MemoryEngine::with(snapshot.clone()), &key);
    unlock(&good).unwrap();
    for at in 0..good.head.header.len() {
        let mut bad = good.clone();
        bad.head.header[at] ^= 0x40;
        assert!(unlock(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn an_older_index_with_newer_records_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    store
        .generate("a".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap();
    let load = || stored(&path);
    let before = load();
    store
        .generate("b".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap();
    let mut rolled_back = load();
    rolled_back.head.index.clone_from(&before.head.index);
    let refused = unlock(&rolled_back).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::Index));
    // With the counter rolled back as well, it is the records that do not fit.
    rolled_back.head.generation = before.head.generation;
    let listing = unlock(&rolled_back).unwrap().list().unwrap();
    // The node is the newer one, and so are the rows that it would be computed from.
    let [StoreError::Nodes(2)] = listing.damage.as_slice() else {
        panic!("{:?}", listing.damage);
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_header_or_index_makes_it_panic(header: Vec<u8>, index: Vec<u8>) {
        let head = Head { header, index, generation: 0 };
        let snapshot = Snapshot { head, ..Snapshot::default() };
        prop_assert!(unlock(&snapshot).is_err());
    }
}

#[test]
fn a_key_that_cannot_be_read_can_be_removed_and_counts_as_compromised() {
    let good = snapshot();
    for id in keys(&good) {
        let mut damaged = good.clone();
        damaged.rows.get_mut(&id).unwrap()[20] ^= 1;
        let mut missing = good.clone();
        missing.rows.remove(&id);
        for bad in [damaged, missing] {
            let mut store = unlock(&bad).unwrap();
            let key = unlock(&good).unwrap().list().unwrap().keys;
            let key = key
                .iter()
                .find(|key| id.starts_with(key.id.as_bytes()))
                .unwrap();
            store.statuses().unwrap_err();
            assert_eq!(store.remove(&key.name).unwrap(), [key.id]);
            assert!(store.list().unwrap().damage.is_empty());
            let statuses = store.statuses().unwrap();
            let (_, known, _) = statuses.iter().find(|(id, ..)| *id == key.id).unwrap();
            assert!(matches!(known.end, Some(End::Compromised { .. })));
            assert!(store.is_compromised(key.id).unwrap());
        }
    }
}
