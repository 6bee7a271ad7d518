//! Key stores of version 1, written by the program that made them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use casemate_keys::{
    End, Head, KeyStore, MemoryEngine, Role, Snapshot, SqliteEngine, State, StoreError,
};

use crate::keys::secret;

const PASSPHRASE: (&[u8], &str) = (
    include_bytes!("../data/version-1-passphrase.db"),
    "correct horse",
);
const KEY: (&[u8], &str) = (
    include_bytes!("../data/version-1-key.db"),
    "casemate-store-key-1:_SUhbPgpoy2YNntOdAE2lqPasnTYAmYCFtZcJQtOowQ",
);

fn database(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    fs::write(&path, content).unwrap();
    (dir, path)
}

#[test]
fn every_key_of_version_1_comes_along_as_the_first_version_of_its_name() {
    let expected = [
        (
            PASSPHRASE,
            vec![
                (
                    "gateway",
                    "2b15fef947073fb279ce630452fa9af8acf7b0d5d82321736141a09bb6573703",
                ),
                (
                    "publisher",
                    "6feec5d15bfcc0f15a9e13c1ea6ad945ce94fa1c4b9fbc6ea4e1dcb9bd708721",
                ),
                (
                    "reader",
                    "40e30ba68bf70c77c7c72d2a2ee5560987edc567b47ea5d78bc19a3b48ab0f23",
                ),
            ],
        ),
        (
            KEY,
            vec![
                (
                    "mine",
                    "ecd4339268167edd8a2fb386862324cc5093eb37c4d6b1b76969a5a85b89e850",
                ),
                (
                    "vendor",
                    "6feec5d15bfcc0f15a9e13c1ea6ad945ce94fa1c4b9fbc6ea4e1dcb9bd708721",
                ),
            ],
        ),
    ];
    for ((content, text), keys) in expected {
        let (_dir, path) = database(content);
        // The second time, it has version 2 already.
        for _ in 0..2 {
            let engine = SqliteEngine::open(&path, false).unwrap();
            let store = KeyStore::unlock(engine, &secret(text)).unwrap();
            let listing = store.list().unwrap();
            assert!(listing.damage.is_empty(), "{:?}", listing.damage);
            let found: Vec<_> = listing
                .keys
                .iter()
                .map(|key| (key.name.to_string(), key.id.to_hex()))
                .collect();
            let keys = keys
                .iter()
                .map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
            assert_eq!(found, keys.collect::<Vec<_>>());
            for key in &listing.keys {
                assert_eq!((key.version, key.state), (1, State::Active));
                if key.role == Role::Private {
                    store.private_key(key).unwrap();
                }
                let is_retired = key.name.as_str() == "publisher";
                let at = 1_768_089_600;
                assert_eq!(key.status.end, is_retired.then_some(End::Superseded { at }));
            }
            let slots = store.slots().unwrap();
            assert_eq!(slots.slots.len(), 1);
            assert_eq!(slots.slots[0].name.as_str(), "main");
        }
        let refused = KeyStore::unlock(
            SqliteEngine::open(&path, false).unwrap(),
            &secret("incorrect horse"),
        );
        refused.unwrap_err();
    }
}

#[test]
fn a_wrong_secret_migrates_nothing() {
    for (content, other) in [
        (PASSPHRASE.0, KEY.1),
        (KEY.0, PASSPHRASE.1),
        (PASSPHRASE.0, "incorrect horse"),
    ] {
        let (_dir, path) = database(content);
        let engine = SqliteEngine::open(&path, false).unwrap();
        let refused = KeyStore::unlock(engine, &secret(other)).unwrap_err();
        assert!(matches!(
            refused,
            StoreError::NeedsKey | StoreError::NeedsPassphrase | StoreError::WrongPassphrase
        ));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_read_only_store_of_version_1_is_refused_with_the_reason() {
    let (dir, path) = database(KEY.0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let engine = SqliteEngine::open(&path, false).unwrap();
    let refused = KeyStore::unlock(engine, &secret(KEY.1));
    // Root writes everywhere.
    if let Err(refused) = refused {
        assert!(matches!(refused, StoreError::NotMigrated), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), KEY.0);
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

/// The parts of a store of version 1.
fn parts(content: &[u8]) -> Snapshot {
    let (_dir, path) = database(content);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let meta = |key: &str| -> Vec<u8> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        connection.query_row(sql, [key], |row| row.get(0)).unwrap()
    };
    let mut rows = connection.prepare("SELECT id, value FROM records").unwrap();
    let records = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    Snapshot {
        head: Head {
            header: meta("header"),
            index: meta("index"),
            generation: u64::from_be_bytes(meta("generation").try_into().unwrap()),
        },
        version_1: Some(records),
        ..Snapshot::default()
    }
}

type Records = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

#[test]
fn a_damaged_store_of_version_1_is_refused_rather_than_migrated_in_part() {
    let (content, text) = KEY;
    let good = parts(content);
    let unlock = |parts: Snapshot| KeyStore::unlock(MemoryEngine::with(parts), &secret(text));
    assert_eq!(unlock(good.clone()).unwrap().list().unwrap().keys.len(), 2);
    for at in 0..good.head.header.len() {
        let mut bad = good.clone();
        bad.head.header[at] ^= 0x40;
        assert!(unlock(bad).is_err(), "header byte {at}");
    }
    for at in 0..good.head.index.len() {
        let mut bad = good.clone();
        bad.head.index[at] ^= 0x40;
        assert!(unlock(bad).is_err(), "index byte {at}");
    }
    let ids: Vec<_> = good.version_1.as_ref().unwrap().keys().cloned().collect();
    let changed = |change: &dyn Fn(&mut Records)| {
        let mut bad = good.clone();
        change(bad.version_1.as_mut().unwrap());
        unlock(bad).map(|_| ()).unwrap_err()
    };
    let flipped = changed(&|records| records.get_mut(&ids[0]).unwrap()[40] ^= 1);
    assert!(matches!(flipped, StoreError::DamagedRow(_)), "{flipped}");
    let missing = changed(&|records| _ = records.remove(&ids[1]));
    assert!(matches!(missing, StoreError::MissingRow(_)), "{missing}");
    let foreign = changed(&|records| {
        _ = records.insert([9; 32].iter().copied().chain([1]).collect(), vec![0]);
    });
    assert!(matches!(foreign, StoreError::ForeignRow(_)), "{foreign}");
}
