//! Databases that are not as the engine makes them.

use std::{fs, path::Path};

use casemate_keys::{EngineError, KeyStore, Snapshot, SqliteEngine, StoreError};
use rusqlite::Connection;

use crate::keys::{new_store, passphrase};

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    for name in ["a", "b"] {
        let name = name.parse().unwrap();
        store.generate(name, "mlkem768-x25519", 0).unwrap();
    }
    (dir, path)
}

fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

fn foreign(path: &Path) -> Option<&'static str> {
    let opened = SqliteEngine::open(path, false).and_then(|engine| Snapshot::of(&engine));
    match opened.map(|_| ()) {
        Err(EngineError::Foreign(what)) => Some(what),
        Err(other) => panic!("{other}: {other:?}"),
        Ok(()) => None,
    }
}

#[test]
fn a_schema_that_runs_something_is_refused() {
    for sql in [
        // Tables that are something else under the same name.
        "ALTER TABLE rows RENAME TO old; CREATE VIEW rows AS SELECT id, value FROM old;",
        "ALTER TABLE meta RENAME TO old; CREATE VIEW meta AS SELECT key, value FROM old;",
        "DROP TABLE rows; CREATE TABLE rows (id BLOB PRIMARY KEY, value BLOB NOT NULL DEFAULT (randomblob(9)));",
        // What reads or writes along.
        "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM meta; END;",
        "CREATE INDEX i ON rows (hex(value));",
        "CREATE TABLE more (x);",
        "CREATE TABLE sqliteXautoindexXmore (x);",
        "CREATE VIEW sqlite0autoindex0more AS SELECT 1;",
        "CREATE VIRTUAL TABLE more USING fts5(x);",
    ] {
        let (_dir, path) = store();
        assert_eq!(foreign(&path), None);
        change(&path, sql);
        assert!(foreign(&path).is_some(), "{sql}");
    }
}

#[test]
fn what_was_taken_out_of_a_store_is_named_and_does_not_come_back_empty() {
    for (sql, words) in [
        ("DROP TABLE rows", "table `rows` is missing"),
        ("DROP TABLE nodes", "table `nodes` is missing"),
        ("DROP TABLE entries", "table `entries` is missing"),
        ("DROP TABLE meta", "table `meta` is missing"),
        ("DELETE FROM meta WHERE key = 'header'", "header is missing"),
        ("DELETE FROM meta", "header is missing"),
    ] {
        let (_dir, path) = store();
        change(&path, sql);
        let before = fs::read(&path).unwrap();
        for create in [false, true] {
            let opened = SqliteEngine::open(&path, create).and_then(|engine| Snapshot::of(&engine));
            let error = opened.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words), "{sql}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{sql}");
    }
    let (_dir, path) = store();
    change(&path, "DELETE FROM rows");
    let engine = SqliteEngine::open(&path, false).unwrap();
    let emptied = KeyStore::unlock(engine, &passphrase())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        emptied.to_string(),
        "all 4 rows were removed from the key store"
    );
    assert!(matches!(emptied, StoreError::Emptied(4)));
}

#[test]
fn reading_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("empty", &b""[..]),
        (
            "junk",
            b"not a database, but long enough to be looked at as one\n",
        ),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let opened = SqliteEngine::open(&path, false).and_then(|engine| Snapshot::of(&engine));
        assert!(
            matches!(opened, Ok(None)) == content.is_empty(),
            "{name}: {opened:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let (_dir, path) = store();
    let before = fs::read(&path).unwrap();
    let engine = SqliteEngine::open(&path, false).unwrap();
    KeyStore::unlock(engine, &passphrase())
        .unwrap()
        .list()
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    SqliteEngine::open(&dir.path().join("none"), false).unwrap_err();
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_row_of_absurd_length_is_damaged_and_the_others_are_read() {
    let (_dir, path) = store();
    change(
        &path,
        "UPDATE rows SET value = zeroblob(70000) WHERE id = (SELECT min(id) FROM rows)",
    );
    let open = || KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), &passphrase());
    let damage = open().unwrap().list().unwrap().damage;
    assert!(matches!(*damage, [StoreError::DamagedRow(_)]), "{damage:?}");

    let (_dir, path) = store();
    change(&path, "UPDATE nodes SET value = zeroblob(70000)");
    let open = || KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), &passphrase());
    assert!(open().unwrap().list().unwrap().damage.is_empty());
}

#[test]
fn keys_of_absurd_length_are_not_read() {
    for (table, column) in [("rows", "id"), ("nodes", "path"), ("entries", "seq")] {
        let (_dir, path) = store();
        change(
            &path,
            &format!("INSERT INTO {table} ({column}, value) VALUES (zeroblob(67), x'00')"),
        );
        let engine = SqliteEngine::open(&path, false).unwrap();
        let snapshot = Snapshot::of(&engine).unwrap().unwrap();
        let all = [&snapshot.rows, &snapshot.nodes, &snapshot.entries];
        assert!(
            all.iter()
                .all(|table| table.keys().all(|key| key.len() < 67))
        );
        let store = KeyStore::unlock(engine, &passphrase()).unwrap();
        assert!(store.list().unwrap().damage.is_empty());
    }
}

#[test]
fn values_of_absurd_length_are_not_read() {
    let (_dir, path) = store();
    change(
        &path,
        "UPDATE meta SET value = zeroblob(40000000) WHERE key = 'index'",
    );
    let engine = SqliteEngine::open(&path, false).unwrap();
    assert!(matches!(
        Snapshot::of(&engine).map(|_| ()),
        Err(EngineError::Storage(_))
    ));
}
