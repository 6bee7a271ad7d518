//! Bytes changed behind the store's back are noticed, and named where a single record is concerned.

use casemate_keys::{Engine, KeyStore, MemoryEngine, Snapshot, StoreError, StoreKey, StoreSecret};
use proptest::prelude::*;

use crate::keys::{CHEAP, new_store, passphrase};

/// A store with three keys, as the engine keeps it.
fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(casemate_keys::SqliteEngine::open(&path, true).unwrap());
    for name in ["a", "b", "c"] {
        store
            .generate(name.parse().unwrap(), "mlkem768-x25519", 0)
            .unwrap();
    }
    drop(store);
    casemate_keys::SqliteEngine::open(&path, false)
        .unwrap()
        .load()
        .unwrap()
        .unwrap()
}

/// An empty store that a random key opens, and the key.
fn with_random_key() -> (Snapshot, StoreSecret) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    let engine = casemate_keys::SqliteEngine::open(&path, true).unwrap();
    KeyStore::create(engine, &key, CHEAP, 100).unwrap();
    let engine = casemate_keys::SqliteEngine::open(&path, false).unwrap();
    (engine.load().unwrap().unwrap(), key)
}

fn unlock(snapshot: &Snapshot) -> Result<KeyStore<MemoryEngine>, StoreError> {
    KeyStore::unlock(MemoryEngine::with(snapshot.clone()), &passphrase())
}

#[test]
fn a_flipped_bit_in_any_record_names_it_and_leaves_the_others() {
    let good = snapshot();
    assert!(unlock(&good).unwrap().list().unwrap().damage.is_empty());
    for id in good.records.keys() {
        let len = good.records[id].len();
        for at in [0, 11, 12, len / 2, len - 1] {
            let mut bad = good.clone();
            bad.records.get_mut(id).unwrap()[at] ^= 1;
            let listing = unlock(&bad).unwrap().list().unwrap();
            assert_eq!(listing.keys.len(), 2);
            let [StoreError::DamagedRecord(named)] = listing.damage.as_slice() else {
                panic!("{:?}", listing.damage);
            };
            assert_eq!(&named.to_bytes(), id);
        }
    }
}

#[test]
fn swapped_removed_added_and_rolled_back_records_are_named() {
    let good = snapshot();
    let ids: Vec<_> = good.records.keys().cloned().collect();
    let mut swapped = good.clone();
    swapped
        .records
        .insert(ids[0].clone(), good.records[&ids[1]].clone());
    swapped
        .records
        .insert(ids[1].clone(), good.records[&ids[0]].clone());
    let listing = unlock(&swapped).unwrap().list().unwrap();
    assert_eq!((listing.keys.len(), listing.damage.len()), (1, 2));

    let mut removed = good.clone();
    removed.records.remove(&ids[2]);
    let listing = unlock(&removed).unwrap().list().unwrap();
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::MissingRecord(_)]
    ));

    let mut added = good.clone();
    let mut foreign = ids[0].clone();
    foreign[0] ^= 1;
    added.records.insert(foreign, good.records[&ids[0]].clone());
    let listing = unlock(&added).unwrap().list().unwrap();
    assert_eq!(listing.keys.len(), 3);
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::ForeignRecord(_)]
    ));

    // Another store's record under the same id was sealed under another root key.
    let other = snapshot();
    let mut transplanted = good.clone();
    let theirs = other.records.values().next().unwrap().clone();
    transplanted.records.insert(ids[0].clone(), theirs);
    let listing = unlock(&transplanted).unwrap().list().unwrap();
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::DamagedRecord(_)]
    ));
}

#[test]
fn every_flipped_byte_of_index_and_header_is_refused() {
    let good = snapshot();
    for at in 0..good.index.len() {
        let mut bad = good.clone();
        bad.index[at] ^= 0x40;
        let refused = unlock(&bad).unwrap_err();
        assert!(
            matches!(refused, StoreError::Index),
            "index byte {at}: {refused}"
        );
    }
    for at in 0..good.header.len() {
        let mut bad = good.clone();
        bad.header[at] ^= 0x40;
        assert!(unlock(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn every_flipped_byte_of_a_header_with_a_random_key_is_refused() {
    let (good, key) = with_random_key();
    let unlock = |snapshot: &Snapshot| KeyStore::unlock(MemoryEngine::with(snapshot.clone()), &key);
    unlock(&good).unwrap();
    for at in 0..good.header.len() {
        let mut bad = good.clone();
        bad.header[at] ^= 0x40;
        assert!(unlock(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn an_older_index_with_newer_records_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(casemate_keys::SqliteEngine::open(&path, true).unwrap());
    store
        .generate("a".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap();
    let load = || {
        casemate_keys::SqliteEngine::open(&path, false)
            .unwrap()
            .load()
            .unwrap()
            .unwrap()
    };
    let before = load();
    store
        .generate("b".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap();
    let mut rolled_back = load();
    rolled_back.index.clone_from(&before.index);
    let refused = unlock(&rolled_back).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::Index));
    // With the counter rolled back as well, it is the records that do not fit.
    rolled_back.generation = before.generation;
    let listing = unlock(&rolled_back).unwrap().list().unwrap();
    assert!(matches!(
        listing.damage.as_slice(),
        [StoreError::ForeignRecord(_)]
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_header_or_index_makes_it_panic(header: Vec<u8>, index: Vec<u8>) {
        let snapshot = Snapshot { header, index, ..Snapshot::default() };
        prop_assert!(unlock(&snapshot).is_err());
    }
}
