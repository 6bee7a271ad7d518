//! Versions of keys and their states.

use std::num::NonZeroU64;

use casemate_crypto::encoding::PrivateKey;
use casemate_keys::{
    Binding, Due, End, KeyName, KeyStore, MemoryEngine, RotationPolicy, State, Status, StoreError,
    Usage,
};

use crate::keys::new_store;

type Store = KeyStore<MemoryEngine>;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn store(kind: &str) -> Store {
    let mut store = new_store(MemoryEngine::default());
    store.generate(name("key"), kind, 10).unwrap();
    store
}

fn states(store: &Store) -> Vec<(u32, State)> {
    let versions = store.versions(&name("key")).unwrap().unwrap().versions;
    versions
        .iter()
        .map(|version| (version.number, version.state))
        .collect()
}

#[test]
fn a_rotated_key_opens_what_it_sealed_and_its_name_means_the_new_one() {
    let mut store = store("mlkem768-x25519");
    let rotated = store.rotate(&name("key"), None, 20, false).unwrap();
    let old = rotated.old.unwrap();
    assert_eq!(
        (old.version, old.state, old.status),
        (1, State::DecryptOnly, Status::default())
    );
    assert_eq!(
        (rotated.new.version, rotated.new.suite),
        (2, "mlkem768-x25519")
    );
    assert_eq!(
        states(&store),
        [(1, State::DecryptOnly), (2, State::Active)]
    );
    let current = store.by_name(&name("key")).unwrap().unwrap();
    assert_eq!(current.id, rotated.new.id);
    let first = store.by_version(&name("key"), 1).unwrap().unwrap();
    assert_eq!(first.id, old.id);
    store.private_key(&first).unwrap();
    let stronger = store
        .rotate(&name("key"), Some("mlkem1024-p384"), 30, false)
        .unwrap();
    assert_eq!(stronger.new.suite, "mlkem1024-p384");
    assert_eq!(
        store.by_id(old.id).unwrap().unwrap().state,
        State::DecryptOnly
    );
    assert_eq!(store.list().unwrap().keys.len(), 3);
    let refused = store
        .rotate(&name("key"), Some("mldsa87"), 40, false)
        .unwrap_err();
    assert!(matches!(refused, StoreError::OtherKind(_)), "{refused}");
    let refused = store.rotate(&name("none"), None, 40, false).unwrap_err();
    assert!(matches!(refused, StoreError::NoKey(_)), "{refused}");
}

#[test]
fn a_rotated_signing_key_is_superseded_and_names_its_successor() {
    let mut store = store("mldsa65-ed25519");
    let rotated = store.rotate(&name("key"), None, 20, false).unwrap();
    let old = rotated.old.unwrap();
    assert_eq!(old.status.end, Some(End::Superseded { at: 20 }));
    assert_eq!(rotated.new.status.successor_of, Some(old.id));
}

#[test]
fn a_staged_version_is_used_for_nothing_before_it_is_activated() {
    for kind in ["mlkem768-x25519", "mldsa65-ed25519"] {
        let mut store = store(kind);
        let first = store.by_name(&name("key")).unwrap().unwrap();
        let staged = store.rotate(&name("key"), None, 20, true).unwrap();
        assert_eq!(staged.new.state, State::PreActive);
        assert_eq!(states(&store), [(1, State::Active), (2, State::PreActive)]);
        let current = store.by_name(&name("key")).unwrap().unwrap();
        assert_eq!((current.id, current.status.end), (first.id, None));
        store.set_state(&name("key"), 2, State::Active, 30).unwrap();
        assert_eq!(
            states(&store),
            [(1, State::DecryptOnly), (2, State::Active)]
        );
        let before = store.by_id(first.id).unwrap().unwrap();
        let superseded = (kind == "mldsa65-ed25519").then_some(End::Superseded { at: 30 });
        assert_eq!(before.status.end, superseded);
        let again = store
            .set_state(&name("key"), 2, State::Active, 30)
            .unwrap_err();
        assert!(matches!(again, StoreError::Transition { .. }));
    }
}

#[test]
fn states_go_forward_and_a_destroyed_key_is_gone() {
    use State::{Active, DecryptOnly, Destroyed, Disabled, PreActive};
    let allowed = [
        (PreActive, Active),
        (PreActive, Destroyed),
        (Active, Destroyed),
        (DecryptOnly, Disabled),
        (DecryptOnly, Destroyed),
        (Disabled, DecryptOnly),
        (Disabled, Destroyed),
    ];
    for from in State::ALL {
        for to in State::ALL {
            let mut store = store("mlkem768-x25519");
            store
                .rotate(&name("key"), None, 20, from == PreActive)
                .unwrap();
            if matches!(from, DecryptOnly | Disabled) {
                store.rotate(&name("key"), None, 25, false).unwrap();
            }
            if matches!(from, Disabled | Destroyed) {
                store.set_state(&name("key"), 2, from, 30).unwrap();
            }
            let moved = store.set_state(&name("key"), 2, to, 40);
            assert_eq!(
                moved.is_ok(),
                allowed.contains(&(from, to)),
                "{from} to {to}"
            );
        }
    }
    let mut store = store("mlkem768-x25519");
    let rotated = store.rotate(&name("key"), None, 20, false).unwrap();
    let old = rotated.old.unwrap().id;
    store.set_state(&name("key"), 1, Destroyed, 30).unwrap();
    assert!(store.by_id(old).unwrap().is_none());
    assert_eq!(states(&store), [(1, Destroyed), (2, Active)]);
    let gone = store.by_version(&name("key"), 1).unwrap_err();
    assert!(matches!(gone, StoreError::NoVersion { version: 1, .. }));
    let listing = store.list().unwrap();
    assert_eq!((listing.keys.len(), listing.damage.len()), (1, 0));
    // Its number is not used again, and its name goes with the last version.
    assert_eq!(
        store
            .rotate(&name("key"), None, 40, false)
            .unwrap()
            .new
            .version,
        3
    );
    store.remove(&name("key")).unwrap();
    assert!(store.by_name(&name("key")).unwrap().is_none());
    assert!(store.by_id(rotated.new.id).unwrap().is_none());
}

#[test]
fn a_key_made_elsewhere_becomes_the_next_version() {
    let mut store = store("mlkem768-x25519");
    let theirs = PrivateKey::generate("mlkem768-x25519").unwrap().unwrap();
    let status = Status::default();
    let added = store
        .append_private(&name("key"), &theirs, 20, status)
        .unwrap();
    assert_eq!(added.new.version, 2);
    let again = store
        .append_private(&name("key"), &theirs, 30, status)
        .unwrap_err();
    assert!(matches!(again, StoreError::KeyTaken(_)), "{again}");
    // A public key cannot follow a private one.
    let public = PrivateKey::generate("mlkem768-x25519").unwrap().unwrap();
    let refused = store
        .append_public(&name("key"), &public.public_key().unwrap(), 30, status)
        .unwrap_err();
    assert!(matches!(refused, StoreError::OtherKind(_)), "{refused}");
    let vendor = name("vendor");
    store
        .add_public(vendor.clone(), &public.public_key().unwrap(), 30, status)
        .unwrap();
    let refused = store.rotate(&vendor, None, 40, false).unwrap_err();
    assert!(matches!(refused, StoreError::NoPrivateKey(_)), "{refused}");
    let next = PrivateKey::generate("mlkem768-x25519").unwrap().unwrap();
    store
        .append_public(&vendor, &next.public_key().unwrap(), 40, status)
        .unwrap();
    assert_eq!(store.by_name(&vendor).unwrap().unwrap().version, 2);
}

#[test]
fn a_policy_says_when_a_key_is_due() {
    let limit = |limit: u64| NonZeroU64::new(limit);
    let mut store = store("mlkem768-x25519");
    let due = |store: &Store, now| {
        let due = store.due(now).unwrap();
        due.first().map(|(_, due)| *due)
    };
    assert_eq!(due(&store, u64::MAX), None);
    let mut policy = RotationPolicy {
        age: limit(100),
        ..RotationPolicy::default()
    };
    store.set_policy(&name("key"), policy).unwrap();
    assert_eq!((due(&store, 109), due(&store, 110)), (None, Some(Due::Age)));
    store.rotate(&name("key"), None, 110, false).unwrap();
    assert_eq!((due(&store, 209), due(&store, 210)), (None, Some(Due::Age)));
    policy = RotationPolicy {
        uses: limit(3),
        bytes: limit(1000),
        deadline: limit(5000),
        ..RotationPolicy::default()
    };
    store.set_policy(&name("key"), policy).unwrap();
    assert_eq!(
        (due(&store, 4999), due(&store, 5000)),
        (None, Some(Due::Deadline))
    );
    let block = Usage { uses: 2, bytes: 10 };
    assert_eq!(store.reserve(&name("key"), block).unwrap(), block);
    assert_eq!(due(&store, 200), None);
    // It would exceed the limit, and is not counted.
    store.reserve(&name("key"), block).unwrap_err();
    let one = Usage { uses: 1, bytes: 10 };
    let three = Usage { uses: 3, bytes: 20 };
    assert_eq!(store.reserve(&name("key"), one).unwrap(), three);
    assert_eq!(due(&store, 200), Some(Due::Uses));
    let spent = store.reserve(&name("key"), block).unwrap_err();
    assert_eq!(spent.to_string(), "key `key` has reached its limit of uses");
    // A new version starts to count anew, by bytes as well.
    let new = store.rotate(&name("key"), None, 300, false).unwrap().new;
    store
        .reserve(
            &name("key"),
            Usage {
                uses: 1,
                bytes: 1000,
            },
        )
        .unwrap();
    assert_eq!(due(&store, 300), Some(Due::Bytes));
    assert_eq!(
        store.usage(new.id).unwrap(),
        Usage {
            uses: 1,
            bytes: 1000
        }
    );
    // Without such limits, nothing is written.
    store
        .set_policy(&name("key"), RotationPolicy::default())
        .unwrap();
    let before = store.generation().unwrap();
    store.reserve(&name("key"), block).unwrap();
    assert_eq!(store.generation().unwrap(), before);
}

#[test]
fn an_older_version_does_not_take_over_from_a_newer_one() {
    let mut store = store("mlkem768-x25519");
    store.rotate(&name("key"), None, 20, true).unwrap();
    store.rotate(&name("key"), None, 20, true).unwrap();
    store.set_state(&name("key"), 3, State::Active, 30).unwrap();
    let refused = store
        .set_state(&name("key"), 2, State::Active, 40)
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::Older { version: 2, .. }),
        "{refused}"
    );
}

#[test]
fn a_disabled_version_gives_no_private_key() {
    let mut store = store("mlkem768-x25519");
    let first = store.by_name(&name("key")).unwrap().unwrap();
    store.rotate(&name("key"), None, 20, false).unwrap();
    store.private_key(&first).unwrap();
    store
        .set_state(&name("key"), 1, State::Disabled, 30)
        .unwrap();
    let refused = store.private_key(&first).map(|_| ()).unwrap_err();
    assert!(
        matches!(refused, StoreError::NotInUse { version: 1, .. }),
        "{refused}"
    );
    store
        .set_state(&name("key"), 1, State::DecryptOnly, 40)
        .unwrap();
    store.private_key(&first).unwrap();
}

#[test]
fn what_is_known_of_a_signing_key_outlives_it() {
    let compromised = Status {
        end: Some(End::Compromised { at: 5 }),
        ..Status::default()
    };
    for removes in [false, true] {
        let mut store = store("mldsa65-ed25519");
        let first = store.by_name(&name("key")).unwrap().unwrap().id;
        let second = store.rotate(&name("key"), None, 20, false).unwrap().new.id;
        assert!(!store.is_compromised(second).unwrap());
        store.set_status(first, compromised).unwrap();
        assert!(store.is_compromised(second).unwrap());
        if removes {
            store.remove(&name("key")).unwrap();
        } else {
            store
                .set_state(&name("key"), 1, State::Destroyed, 30)
                .unwrap();
        }
        let statuses = store.statuses().unwrap();
        let known = statuses.iter().find(|(id, ..)| *id == first).unwrap();
        // The state that it had: what a disabled key signed is refused for ever.
        assert_eq!((known.1, known.2), (compromised, State::DecryptOnly));
        assert!(store.is_compromised(second).unwrap());
    }
    // A new version of a compromised key succeeds nothing.
    let mut store = store("mldsa65-ed25519");
    let first = store.by_name(&name("key")).unwrap().unwrap().id;
    store.set_status(first, compromised).unwrap();
    let next = store.rotate(&name("key"), None, 20, false).unwrap().new;
    assert_eq!(next.status.successor_of, None);
}

#[test]
fn a_key_that_was_compromised_is_not_stored_again() {
    let mut store = store("mldsa65-ed25519");
    let entry = store.by_name(&name("key")).unwrap().unwrap();
    let key = store.private_key(&entry).unwrap();
    let superseded = Status {
        end: Some(End::Superseded { at: 5 }),
        ..Status::default()
    };
    store.set_status(entry.id, superseded).unwrap();
    store.remove(&name("key")).unwrap();
    // What was known of it comes back with it.
    let again = store
        .add_private(name("key"), &key, 40, Status::default())
        .unwrap();
    assert_eq!((again.status, again.version), (superseded, 2));
    let statuses = store.statuses().unwrap();
    assert_eq!(statuses, [(entry.id, superseded, State::Active)]);

    let compromised = Status {
        end: Some(End::Compromised { at: 6 }),
        ..Status::default()
    };
    store.set_status(entry.id, compromised).unwrap();
    store.remove(&name("key")).unwrap();
    let refused = store
        .add_private(name("other"), &key, 50, Status::default())
        .unwrap_err();
    assert!(
        matches!(refused, StoreError::WasCompromised(id) if id == entry.id),
        "{refused}"
    );
}

#[test]
fn what_a_disabled_key_signed_stays_refused_when_it_is_destroyed() {
    let mut store = store("mldsa65-ed25519");
    let first = store.by_name(&name("key")).unwrap().unwrap().id;
    store.rotate(&name("key"), None, 20, false).unwrap();
    for state in [State::Disabled, State::Destroyed] {
        store.set_state(&name("key"), 1, state, 30).unwrap();
        let statuses = store.statuses().unwrap();
        let known = statuses.iter().find(|(id, ..)| *id == first).unwrap();
        assert_eq!(known.2, State::Disabled);
    }
}

#[test]
fn removing_a_name_forgets_what_is_sealed_to_it() {
    let mut store = store("mlkem768-x25519");
    let binding = |key: &str| Binding {
        place: "/models/a".to_owned(),
        name: name(key),
        version: 1,
        seen: 5,
    };
    store.generate(name("other"), "mlkem768-x25519", 5).unwrap();
    store.bind(&[binding("key"), binding("other")]).unwrap();
    store.remove(&name("key")).unwrap();
    assert!(store.bindings(&name("key")).unwrap().is_empty());
    assert_eq!(store.bindings(&name("other")).unwrap(), [binding("other")]);
    assert!(store.due(1).unwrap().is_empty());
}
