//! The audit log: what it tells, and every way of changing it.

use std::cell::Cell;

use casemate_audit::{Entry, What};
use casemate_keys::{
    Actor, Binding, Engine, KeyName, KeyStore, MemoryEngine, NewSlot, Offline, Openers,
    RotationPolicy, SlotName, Snapshot, SqliteEngine, State, Status, StoreError, StoreKey,
    StoreSecret, Usage,
};

use crate::keys::{CHEAP, new_store, passphrase, secret};

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn actor() -> Actor {
    Actor {
        by: "uid 7, test".to_owned(),
        clock: || 1_800_000_000,
    }
}

fn entries<E: Engine>(store: &KeyStore<E>) -> Vec<Entry> {
    let mut found = Vec::new();
    let verified = store.verify_log::<StoreError>(&mut |number, _, entry| {
        assert_eq!(number, found.len() as u64);
        found.push(entry.clone());
        Ok(())
    });
    assert_eq!(verified.unwrap().size, found.len() as u64);
    found
}

fn whats<E: Engine>(store: &KeyStore<E>) -> Vec<What> {
    entries(store).iter().map(|entry| entry.what).collect()
}

/// A store with a log, and a key.
fn store() -> KeyStore<MemoryEngine> {
    let mut store = new_store(MemoryEngine::default());
    store.enable_log("example.com/keys").unwrap();
    store.generate(name("key"), "mlkem768-x25519", 10).unwrap();
    store
}

fn snapshot(store: &KeyStore<MemoryEngine>) -> Snapshot {
    Snapshot::of(store.engine()).unwrap().unwrap()
}

fn reopen(snapshot: Snapshot) -> Result<KeyStore<MemoryEngine>, StoreError> {
    KeyStore::unlock_as(MemoryEngine::with(snapshot), &passphrase(), actor())
}

#[test]
fn every_use_of_a_private_key_and_every_change_of_a_version_is_logged() {
    let mut store = reopen(snapshot(&store())).unwrap();
    let key = name("key");
    let entry = store.by_name(&key).unwrap().unwrap();
    store.private_key(&entry).unwrap();
    let status = Status {
        valid_from: Some(1),
        ..Status::default()
    };
    store.set_status(entry.id, status).unwrap();
    store.rotate(&key, None, 20, false).unwrap();
    store.set_state(&key, 1, State::Disabled, 30).unwrap();
    let policy = RotationPolicy {
        uses: std::num::NonZeroU64::new(9),
        ..RotationPolicy::default()
    };
    store.set_policy(&key, policy).unwrap();
    store.reserve(&key, Usage { uses: 1, bytes: 5 }).unwrap();
    let all = entries(&store);
    let told: Vec<_> = all
        .iter()
        .map(|entry| (entry.what, entry.key.as_deref(), entry.about.as_deref()))
        .collect();
    let (first, second) = (Some("key@1"), Some("key@2"));
    assert_eq!(
        told,
        [
            (What::Enabled, None, Some("example.com/keys")),
            (What::Created, first, Some("active")),
            (What::Opened, None, Some("main")),
            (What::PrivateKey, first, None),
            (What::Status, first, Some("valid from 1")),
            (What::Rotated, second, Some("active")),
            (What::State, first, Some("disabled")),
            (What::Policy, second, Some("uses 9")),
            (What::Reserved, second, Some("1 uses, 5 bytes")),
        ]
    );
    let used = &all[3];
    assert_eq!(
        (used.by.as_str(), used.time),
        ("uid 7, test", 1_800_000_000)
    );
    assert_eq!(used.id.as_deref(), Some(entry.id.to_hex().as_str()));
}

#[test]
fn imported_bound_and_removed_keys_are_logged() {
    let mut store = store();
    let key = name("key");
    let theirs = casemate_crypto::encoding::PrivateKey::generate("mlkem768-x25519");
    let theirs = theirs.unwrap().unwrap();
    store
        .add_private(name("theirs"), &theirs, 60, Status::default())
        .unwrap();
    store.rotate(&key, None, 70, false).unwrap();
    let binding = Binding {
        place: "/models/a".to_owned(),
        name: key.clone(),
        version: 1,
        seen: 60,
    };
    store.bind(&[binding]).unwrap();
    store.remove(&key).unwrap();
    let all = entries(&store);
    let told: Vec<_> = all[2..]
        .iter()
        .map(|entry| (entry.what, entry.key.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (What::Imported, Some("theirs@1")),
            (What::Rotated, Some("key@2")),
            (What::Bound, None),
            (What::Removed, Some("key@1")),
            (What::Removed, Some("key@2")),
        ]
    );
}

#[test]
fn every_change_of_a_slot_is_logged() {
    let mut store = store();
    store
        .change_secret(&secret("another horse"), CHEAP, 15)
        .unwrap();
    for slot in ["x", "y", "z"] {
        let file = StoreSecret::Key(StoreKey::generate().unwrap());
        let new = NewSlot::Secret(&file, CHEAP);
        store
            .add_slot(&slot.parse().unwrap(), new, None, 70)
            .unwrap();
    }
    let of = |names: &[&str]| -> Vec<SlotName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    let group = "both".parse().unwrap();
    store
        .set_group(&group, 2, &of(&["x", "y", "z"]), Offline::Required)
        .unwrap();
    let left = store.set_group(&group, 2, &of(&["x", "y"]), Offline::Required);
    assert_eq!(left.unwrap(), of(&["z"]));
    store.remove_group(&group).unwrap();
    store
        .remove_slot(&"x".parse().unwrap(), Offline::Required)
        .unwrap();
    let all = entries(&store);
    let told: Vec<_> = all[2..]
        .iter()
        .map(|entry| (entry.what, entry.about.as_deref().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (What::SlotChanged, "main"),
            (What::SlotAdded, "x"),
            (What::SlotAdded, "y"),
            (What::SlotAdded, "z"),
            (What::GroupChanged, "both: 2 of x, y, z"),
            (What::GroupChanged, "both: 2 of x, y"),
            (What::SlotRemoved, "z"),
            (What::GroupChanged, "both: removed"),
            (What::SlotRemoved, "x"),
        ]
    );
}

#[test]
fn a_new_root_key_keeps_the_log() {
    let mut store = reopen(snapshot(&store())).unwrap();
    let before = whats(&store);
    store
        .replace_root(&secret("another horse"), CHEAP, 50)
        .unwrap();
    let after = KeyStore::unlock(
        MemoryEngine::with(snapshot(&store)),
        &secret("another horse"),
    )
    .unwrap();
    let expected = [&before[..], &[What::RootReplaced, What::Opened]].concat();
    assert_eq!(whats(&after), expected);
}

#[test]
fn every_changed_moved_removed_or_added_entry_is_named() {
    let store = store();
    for text in ["b", "c", "d"] {
        store
            .private_key(&store.by_name(&name("key")).unwrap().unwrap())
            .unwrap();
        _ = text;
    }
    let good = snapshot(&store);
    let keys: Vec<_> = good.entries.keys().cloned().collect();
    assert_eq!(keys.len(), 5);
    let verified = |bad: &Snapshot| {
        // Opening appends an entry, which is right in itself.
        let store = reopen(bad.clone()).unwrap();
        let verified = store.verify_log::<StoreError>(&mut |_, _, _| Ok(()));
        verified.map(|_| ()).unwrap_err()
    };
    for (number, key) in keys.iter().enumerate() {
        let is_named = |bad: &Snapshot| {
            let error = verified(bad);
            assert!(
                matches!(error, StoreError::DamagedEntry(named) if named == number as u64),
                "{number}: {error}"
            );
        };
        for at in 0..good.entries[key].len() {
            let mut bad = good.clone();
            bad.entries.get_mut(key).unwrap()[at] ^= 1;
            is_named(&bad);
        }
        let mut bad = good.clone();
        bad.entries.remove(key);
        is_named(&bad);
        if let Some(next) = keys.get(number + 1) {
            let mut bad = good.clone();
            bad.entries.insert(key.clone(), good.entries[next].clone());
            bad.entries.insert(next.clone(), good.entries[key].clone());
            is_named(&bad);
        }
    }
    // An entry too many is where the next one would be.
    let mut more = good.clone();
    more.entries
        .insert(7_u64.to_be_bytes().to_vec(), good.entries[&keys[0]].clone());
    assert!(matches!(verified(&more), StoreError::DamagedEntry(6)));
}

#[test]
fn a_log_that_was_cut_and_put_back_with_its_index_is_an_older_store() {
    let store = store();
    let before = snapshot(&store);
    store
        .private_key(&store.by_name(&name("key")).unwrap().unwrap())
        .unwrap();
    let checkpoint = store.checkpoint(7).unwrap();
    let keys = store.log_verifier_keys().unwrap();
    let known = keys.verify(checkpoint.as_bytes()).unwrap();
    assert_eq!(known.size(), 3);
    let mut cut = snapshot(&store);
    cut.entries = before.entries.clone();
    assert!(matches!(
        reopen(cut)
            .unwrap()
            .verify_log::<StoreError>(&mut |_, _, _| Ok(()))
            .unwrap_err(),
        StoreError::DamagedEntry(2)
    ));
    // The whole of it from before opens, and only the checkpoint from outside shows what is gone.
    let old = reopen(before).unwrap();
    let verified = old.verify_log::<StoreError>(&mut |_, _, _| Ok(())).unwrap();
    assert_eq!(verified.size, 3);
    assert_ne!(verified.root, known.root());
}

#[test]
fn an_entry_can_be_proven_to_whoever_has_the_keys_of_the_log() {
    let store = store();
    let keys = store.log_verifier_keys().unwrap();
    for index in 0..2 {
        let proof = store.prove(index, 7).unwrap();
        assert_eq!(proof.verify(&keys).unwrap().size(), 2);
    }
    let missing = store.prove(2, 7).unwrap_err();
    assert!(matches!(missing, StoreError::NoEntry { index: 2, size: 2 }));
}

#[test]
fn without_a_log_nothing_is_written_and_a_second_log_is_refused() {
    let mut store = new_store(MemoryEngine::default());
    store.generate(name("key"), "mlkem768-x25519", 10).unwrap();
    let before = store.generation().unwrap();
    store
        .private_key(&store.by_name(&name("key")).unwrap().unwrap())
        .unwrap();
    assert_eq!(store.generation().unwrap(), before);
    let none = store.verify_log::<StoreError>(&mut |_, _, _| Ok(()));
    assert!(matches!(none.unwrap_err(), StoreError::NoLog));
    assert!(matches!(
        store.checkpoint(7).unwrap_err(),
        StoreError::NoLog
    ));
    assert!(matches!(
        store.log_verifier_keys().unwrap_err(),
        StoreError::NoLog
    ));
    let bad = store.enable_log("a name").unwrap_err();
    assert!(matches!(bad, StoreError::Audit(_)), "{bad}");
    store.enable_log("log").unwrap();
    let again = store.enable_log("log").unwrap_err();
    assert!(matches!(again, StoreError::LogExists));
    assert_eq!(whats(&store), [What::Enabled]);
}

#[test]
fn a_key_store_that_cannot_log_gives_no_key_out() {
    struct Full(MemoryEngine, Cell<bool>);
    impl Engine for Full {
        fn view(&self) -> Result<Box<dyn casemate_keys::View + '_>, casemate_keys::EngineError> {
            self.0.view()
        }
        fn fill(&self, view: &dyn casemate_keys::View) -> Result<(), casemate_keys::EngineError> {
            self.0.fill(view)
        }

        fn commit(
            &self,
            expected: u64,
            change: &casemate_keys::Change,
        ) -> Result<(), casemate_keys::EngineError> {
            if self.1.get() {
                return Err(casemate_keys::EngineError::Storage("disk full".into()));
            }
            self.0.commit(expected, change)
        }
    }
    let engine = Full(MemoryEngine::default(), Cell::new(false));
    let mut store = KeyStore::create(engine, &passphrase(), CHEAP, 1).unwrap();
    store.enable_log("log").unwrap();
    store.generate(name("key"), "mlkem768-x25519", 10).unwrap();
    let entry = store.by_name(&name("key")).unwrap().unwrap();
    store.private_key(&entry).unwrap();
    store.engine().1.set(true);
    let refused = store.private_key(&entry).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::Engine(_)), "{refused}");
}

#[test]
fn two_processes_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let mut store = new_store(SqliteEngine::open(&path, true).unwrap());
    store.enable_log("log").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let engine = SqliteEngine::open(path, false).unwrap();
                let secret = passphrase();
                let openers = Openers::from(&secret);
                let mut store = KeyStore::unlock_as(engine, openers, actor()).unwrap();
                for round in 0..5 {
                    let name = name(&format!("k{writer}-{round}"));
                    store.generate(name, "mlkem768-x25519", 0).unwrap();
                }
            });
        }
    });
    let all = whats(&store);
    assert_eq!(all.len(), 1 + 4 * (1 + 5));
    assert_eq!(
        all.iter().filter(|what| **what == What::Created).count(),
        20
    );
}

#[test]
fn nobody_without_the_root_key_keeps_it_from_being_replaced() {
    let good = snapshot(&store());
    let number = |number: u64| number.to_be_bytes().to_vec();
    // Entries that a copy of the store wrote later have valid tags.
    let copy = reopen(good.clone()).unwrap();
    for _ in 0..3 {
        copy.private_key(&copy.by_name(&name("key")).unwrap().unwrap())
            .unwrap();
    }
    let later = snapshot(&copy).entries;
    let later = later.into_iter().filter(|(key, _)| *key >= number(2));
    let later: Vec<_> = later.collect();
    assert_eq!(later.len(), 4);
    let opened = |planted: Vec<(Vec<u8>, Vec<u8>)>| {
        let mut bad = good.clone();
        bad.entries.extend(planted);
        let mut store = reopen(bad).unwrap();
        store
            .replace_root(&secret("another horse"), CHEAP, 50)
            .unwrap();
        let engine = MemoryEngine::with(snapshot(&store));
        KeyStore::unlock(engine, &secret("another horse")).unwrap()
    };
    let strays = vec![
        (number(1 << 40), vec![7; 90]),
        (vec![7], vec![7]),
        (number(9), Vec::new()),
    ];
    for planted in [later, strays] {
        let store = opened(planted);
        assert_eq!(
            whats(&store),
            [
                What::Enabled,
                What::Created,
                What::Opened,
                What::RootReplaced,
                What::Opened
            ]
        );
    }
    // What was damaged before is not made good.
    let damaged = opened(vec![(number(1), good.entries[&number(0)].clone())]);
    let error = damaged.verify_log::<StoreError>(&mut |_, _, _| Ok(()));
    assert!(
        matches!(error, Err(StoreError::DamagedEntry(1))),
        "{error:?}"
    );
}

#[test]
fn a_copy_with_a_damaged_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let good = snapshot(&store());
    let target = |name: &str| SqliteEngine::open(&dir.path().join(name), true).unwrap();
    reopen(good.clone()).unwrap().copy_to(target("a")).unwrap();
    let mut bad = good;
    *bad.entries.get_mut(&1_u64.to_be_bytes()[..]).unwrap() = vec![7; 90];
    let error = reopen(bad).unwrap().copy_to(target("b")).unwrap_err();
    assert!(matches!(error, StoreError::DamagedEntry(1)), "{error}");
}
