//! Keys and secrets that are withdrawn, and changes by several processes at once.

use std::{sync::Barrier, thread};

use casemate_keys::{
    End, Engine, KeyStore, MemoryEngine, Snapshot, SqliteEngine, Status, StoreError,
};

use crate::keys::{CHEAP, new_store, passphrase, secret};

/// A database with a store of three keys.
fn database() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    for name in ["a", "b", "c"] {
        let name = name.parse().unwrap();
        store.generate(name, "mlkem768-x25519", 0).unwrap();
    }
    (dir, path)
}

fn open(path: &std::path::Path, with: &str) -> Result<KeyStore<SqliteEngine>, StoreError> {
    KeyStore::unlock(SqliteEngine::open(path, false)?, &secret(with))
}

fn snapshot(path: &std::path::Path) -> Snapshot {
    let engine = SqliteEngine::open(path, false).unwrap();
    Snapshot::of(&engine).unwrap().unwrap()
}

fn names<E: Engine>(store: &KeyStore<E>) -> Vec<String> {
    let listing = store.list().unwrap();
    assert!(listing.damage.is_empty(), "{:?}", listing.damage);
    listing
        .keys
        .iter()
        .map(|entry| entry.name.to_string())
        .collect()
}

const OLD: &str = "correct horse";
const NEW: &str = "another horse";

#[test]
fn a_removed_key_is_gone_and_the_others_stay() {
    let (_dir, path) = database();
    let mut store = open(&path, OLD).unwrap();
    let name = "b".parse().unwrap();
    store.remove(&name).unwrap();
    assert_eq!(names(&store), ["a", "c"]);
    assert_eq!(names(&open(&path, OLD).unwrap()), ["a", "c"]);
    let again = store.remove(&name).unwrap_err();
    assert!(matches!(again, StoreError::NoKey(_)));
    // Two keys and three names: the numbers of its versions stay taken.
    assert_eq!(snapshot(&path).rows.len(), 5);
    let next = store.generate(name, "mlkem768-x25519", 9).unwrap();
    assert_eq!(
        (next.version, names(&store)),
        (2, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
    );
}

#[test]
fn what_is_known_of_a_key_is_kept_with_it() {
    let (_dir, path) = database();
    let mut store = open(&path, OLD).unwrap();
    let ids: Vec<_> = store
        .list()
        .unwrap()
        .keys
        .iter()
        .map(|entry| entry.id)
        .collect();
    for status in [
        Status::default(),
        Status {
            valid_from: Some(0),
            ..Status::default()
        },
        Status {
            valid_until: Some(u64::MAX),
            end: Some(End::Superseded { at: 7 }),
            ..Status::default()
        },
        Status {
            valid_from: Some(1),
            valid_until: Some(2),
            end: Some(End::Compromised { at: 3 }),
            successor_of: Some(ids[1]),
        },
        Status::default(),
    ] {
        let changed = store.set_status(ids[0], status).unwrap();
        assert_eq!(changed.status, status);
        let again = open(&path, OLD).unwrap().by_id(ids[0]).unwrap().unwrap();
        assert_eq!((again.status, again.name.as_str()), (status, "a"));
        let private = store.private_key(&again).unwrap();
        assert_eq!(private.public_key().unwrap().id().unwrap(), ids[0]);
    }
}

#[test]
fn a_new_passphrase_opens_the_same_keys_and_the_old_one_only_an_old_copy() {
    let (_dir, path) = database();
    let before = snapshot(&path);
    let mut store = open(&path, OLD).unwrap();
    store.change_secret(&secret(NEW), CHEAP, 5).unwrap();
    assert_eq!(names(&store), ["a", "b", "c"]);
    assert_eq!(names(&open(&path, NEW).unwrap()), ["a", "b", "c"]);
    let refused = open(&path, OLD).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::WrongPassphrase));
    let short = store.change_secret(&secret("short"), CHEAP, 5).unwrap_err();
    assert!(matches!(short, StoreError::PassphraseTooShort { .. }));
    // Without the new secret nobody can make the old slot fit the new index.
    let after = snapshot(&path);
    assert_eq!(before.rows, after.rows);
    let mut put_back = after;
    put_back.head.header.clone_from(&before.head.header);
    let refused = KeyStore::unlock(MemoryEngine::with(put_back), &passphrase());
    assert!(matches!(
        refused.map(|_| ()).unwrap_err(),
        StoreError::Index
    ));
    let copy = KeyStore::unlock(MemoryEngine::with(before), &passphrase()).unwrap();
    assert_eq!(names(&copy), ["a", "b", "c"]);
}

#[test]
fn a_new_root_key_leaves_nothing_that_the_old_one_opens() {
    let (_dir, path) = database();
    let before = snapshot(&path);
    let mut store = open(&path, OLD).unwrap();
    let ids: Vec<_> = store
        .list()
        .unwrap()
        .keys
        .iter()
        .map(|entry| entry.id)
        .collect();
    store.replace_root(&secret(NEW), CHEAP, 5).unwrap();
    assert_eq!(names(&store), ["a", "b", "c"]);
    let again = open(&path, NEW).unwrap();
    assert_eq!(names(&again), ["a", "b", "c"]);
    let now: Vec<_> = again
        .list()
        .unwrap()
        .keys
        .iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(now, ids);
    let after = snapshot(&path);
    for (id, sealed) in &before.rows {
        assert_ne!(after.rows.get(id), Some(sealed));
    }
    assert_eq!(before.rows.len(), after.rows.len());
    // Parts of the old store do not open in the new one, nor the other way round.
    let mixed = |change: &dyn Fn(&mut Snapshot)| {
        let mut mixed = after.clone();
        change(&mut mixed);
        mixed
    };
    for mixed in [
        mixed(&|all| {
            all.head.header.clone_from(&before.head.header);
            all.head.index.clone_from(&before.head.index);
        }),
        mixed(&|all| all.head.header.clone_from(&before.head.header)),
        mixed(&|all| all.head.index.clone_from(&before.head.index)),
    ] {
        for secret in [secret(OLD), secret(NEW)] {
            let engine = MemoryEngine::with(mixed.clone());
            KeyStore::unlock(engine, &secret).unwrap_err();
        }
    }
    let old_rows = mixed(&|all| all.rows.clone_from(&before.rows));
    let store = KeyStore::unlock(MemoryEngine::with(old_rows), &secret(NEW)).unwrap();
    let listing = store.list().unwrap();
    // Three keys were changed; three names are missing, and three are not listed.
    assert_eq!((listing.keys.len(), listing.damage.len()), (0, 9));
    // What was replaced is not left in the file, in free pages or in the log.
    for name in ["keys.db", "keys.db-wal"] {
        let file = std::fs::read(path.with_file_name(name)).unwrap_or_default();
        let found = file
            .windows(32)
            .any(|part| part == &before.head.header[before.head.header.len() - 32..]);
        assert!(!found, "{name} holds the old commitment");
    }
}

#[test]
fn a_store_with_damage_gets_no_new_root_key_that_would_lose_it() {
    let (_dir, path) = database();
    let mut bad = snapshot(&path);
    let id = bad.rows.keys().next().unwrap().clone();
    bad.rows.get_mut(&id).unwrap()[20] ^= 1;
    let mut store = KeyStore::unlock(MemoryEngine::with(bad), &passphrase()).unwrap();
    let refused = store.replace_root(&secret(NEW), CHEAP, 5).unwrap_err();
    assert!(matches!(refused, StoreError::DamagedRow(_)));
}

#[test]
fn changes_at_once_are_all_made() {
    let (_dir, path) = database();
    let writers = 6;
    let start = Barrier::new(writers);
    thread::scope(|scope| {
        for writer in 0..writers {
            let (start, path) = (&start, &path);
            scope.spawn(move || {
                let mut store = open(path, OLD).unwrap();
                start.wait();
                for round in 0..4 {
                    let name = format!("k{writer}-{round}").parse().unwrap();
                    store.generate(name, "mlkem768-x25519", 0).unwrap();
                }
            });
        }
    });
    assert_eq!(names(&open(&path, OLD).unwrap()).len(), 3 + writers * 4);
}

#[test]
fn a_change_under_a_root_key_that_was_replaced_meanwhile_is_refused() {
    let (_dir, path) = database();
    let mut slow = open(&path, OLD).unwrap();
    open(&path, OLD)
        .unwrap()
        .replace_root(&secret(NEW), CHEAP, 5)
        .unwrap();
    let name = "late".parse().unwrap();
    let refused = slow.generate(name, "mlkem768-x25519", 0).unwrap_err();
    assert!(matches!(refused, StoreError::Replaced), "{refused}");
    assert_eq!(names(&open(&path, NEW).unwrap()), ["a", "b", "c"]);
}
