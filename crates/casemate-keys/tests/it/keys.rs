//! Keys go in and come back, over both engines.

use casemate_crypto::{
    SecretBytes,
    encoding::{KeyId, PrivateKey},
};
use casemate_keys::{
    Engine, KeyStore, MemoryEngine, PassphraseCost, Role, SqliteEngine, Status, StoreError,
    StoreKey, StoreSecret,
};

pub(crate) const CHEAP: PassphraseCost = PassphraseCost {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};

pub(crate) fn passphrase() -> StoreSecret {
    secret("correct horse")
}

pub(crate) fn secret(text: &str) -> StoreSecret {
    StoreSecret::read(SecretBytes::new(text.into())).unwrap()
}

pub(crate) fn new_store<E: Engine>(engine: E) -> KeyStore<E> {
    KeyStore::create(engine, &passphrase(), CHEAP, 100).unwrap()
}

fn names<E: Engine>(store: &KeyStore<E>) -> Vec<String> {
    store
        .list()
        .unwrap()
        .keys
        .iter()
        .map(|entry| entry.name.to_string())
        .collect()
}

#[test]
fn every_kind_of_key_survives_closing_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let suites = [
        "mlkem1024-p384",
        "mldsa87-p384",
        "http-ed25519-mldsa65",
        "mlkem1024",
        "mldsa87",
    ];
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    let ids: Vec<_> = suites
        .iter()
        .map(|suite| {
            store
                .generate(suite.parse().unwrap(), suite, 200)
                .unwrap()
                .id
        })
        .collect();
    drop(store);

    let store = KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), &passphrase()).unwrap();
    assert!(store.list().unwrap().damage.is_empty());
    for (suite, id) in suites.into_iter().zip(ids) {
        let by_name = store.by_name(&suite.parse().unwrap()).unwrap();
        for entry in [by_name, store.by_id(id).unwrap()] {
            let entry = entry.unwrap();
            assert_eq!((entry.id, entry.suite, entry.created), (id, suite, 200));
            let private = store.private_key(&entry).unwrap();
            assert_eq!(private.public_key().unwrap().id().unwrap(), id);
        }
    }
    assert!(store.by_name(&"other".parse().unwrap()).unwrap().is_none());
    assert!(store.by_id(KeyId::from_bytes([7; 32])).unwrap().is_none());
}

#[test]
fn the_database_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    new_store(SqliteEngine::open(&path, true).unwrap());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_wrong_passphrase_is_refused_and_a_short_new_one_too() {
    let engine = MemoryEngine::default();
    let short = secret("1234567");
    let refused = KeyStore::create(engine, &short, CHEAP, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "passphrase of 7 bytes is shorter than 8"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    new_store(SqliteEngine::open(&path, true).unwrap());
    let wrong = secret("incorrect horse");
    let refused = KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), &wrong).unwrap_err();
    assert!(matches!(refused, StoreError::WrongPassphrase), "{refused}");
}

#[test]
fn a_random_key_opens_its_store_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let key = StoreKey::generate().unwrap();
    let line = key.to_line().unwrap();
    let engine = SqliteEngine::open(&path, true).unwrap();
    let mut store = KeyStore::create(engine, &StoreSecret::Key(key), CHEAP, 100).unwrap();
    store
        .generate("a".parse().unwrap(), "mldsa87", 200)
        .unwrap();
    let unlock =
        |secret: &StoreSecret| KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), secret);
    let text = line.expose().strip_suffix(b"\n").unwrap();
    let again = StoreSecret::read(SecretBytes::new(text.to_vec())).unwrap();
    assert_eq!(names(&unlock(&again).unwrap()), ["a"]);

    let other = StoreSecret::Key(StoreKey::generate().unwrap());
    let refused = unlock(&other).unwrap_err();
    assert!(matches!(refused, StoreError::WrongKey), "{refused}");
    let refused = unlock(&passphrase()).unwrap_err();
    assert!(matches!(refused, StoreError::NeedsKey), "{refused}");
    let store = new_store(SqliteEngine::open(&dir.path().join("other.db"), true).unwrap());
    drop(store);
    let engine = SqliteEngine::open(&dir.path().join("other.db"), false).unwrap();
    let refused = KeyStore::unlock(engine, &again).unwrap_err();
    assert!(matches!(refused, StoreError::NeedsPassphrase), "{refused}");
}

#[test]
fn names_and_keys_are_stored_once_and_a_second_store_is_refused() {
    let mut store = new_store(MemoryEngine::default());
    store
        .generate("a".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap();
    let refused = store
        .generate("a".parse().unwrap(), "mlkem768-x25519", 0)
        .unwrap_err();
    assert!(matches!(refused, StoreError::NameTaken(_)), "{refused}");
    let key = PrivateKey::generate("mldsa65-ed25519").unwrap().unwrap();
    store
        .add_private("b".parse().unwrap(), &key, 0, Status::default())
        .unwrap();
    let public = key.public_key().unwrap();
    let refused = store
        .add_public("c".parse().unwrap(), &public, 0, Status::default())
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::KeyTaken(ref name) if name == "b"),
        "{refused}"
    );
    let refused = store
        .generate("d".parse().unwrap(), "kyber1024", 0)
        .unwrap_err();
    assert_eq!(refused.to_string(), "no suite is named `kyber1024`");
    assert_eq!(names(&store), ["a", "b"]);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    new_store(SqliteEngine::open(&path, true).unwrap());
    let again = SqliteEngine::open(&path, true).unwrap();
    let refused = KeyStore::create(again, &passphrase(), CHEAP, 0).unwrap_err();
    assert!(matches!(refused, StoreError::Exists), "{refused}");
}

#[test]
fn somebody_elses_key_has_no_private_half_here() {
    let mut store = new_store(MemoryEngine::default());
    let key = PrivateKey::generate("mldsa87-p384").unwrap().unwrap();
    let entry = store
        .add_public(
            "vendor".parse().unwrap(),
            &key.public_key().unwrap(),
            0,
            Status::default(),
        )
        .unwrap();
    assert_eq!(entry.role, Role::Public);
    let refused = store.private_key(&entry).unwrap_err();
    assert!(matches!(refused, StoreError::NoPrivateKey(_)), "{refused}");
}

#[test]
fn of_two_writers_with_the_same_view_both_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut first = new_store(SqliteEngine::open(&path, true).unwrap());
    let open =
        || KeyStore::unlock(SqliteEngine::open(&path, false).unwrap(), &passphrase()).unwrap();
    let mut second = open();
    first
        .generate("first".parse().unwrap(), "mlkem1024", 0)
        .unwrap();
    second
        .generate("second".parse().unwrap(), "mlkem1024", 0)
        .unwrap();
    assert_eq!(names(&open()), ["first", "second"]);
    let taken = first.generate("second".parse().unwrap(), "mlkem1024", 0);
    assert!(matches!(taken.unwrap_err(), StoreError::NameTaken(_)));
}

#[test]
fn keys_made_together_are_all_there_or_none() {
    let mut store = new_store(MemoryEngine::default());
    let all =
        |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    store
        .generate_all(&all(&["a", "b", "c"]), "mlkem768-x25519", 7)
        .unwrap();
    assert_eq!(names(&store), ["a", "b", "c"]);
    for taken in [["d", "a"], ["d", "d"]] {
        let refused = store.generate_all(&all(&taken), "mlkem768-x25519", 7);
        assert!(matches!(refused.unwrap_err(), StoreError::NameTaken(_)));
    }
    assert_eq!(names(&store), ["a", "b", "c"]);
}
