//! Slots and groups: what opens a key store, what does not, and what is said then.

use std::cell::Cell;

use casemate_crypto::{Secret, kem::KemPrivateKey, suite::MLKEM768_X25519};
use casemate_keys::{
    KeeperError, KeeperKind, KeyStore, MemoryEngine, NewSlot, Offline, Openers, SlotKeeper,
    SlotName, Snapshot, StoreError, StoreKey, StoreSecret,
};

use crate::keys::{CHEAP, new_store, secret};

fn name(text: &str) -> SlotName {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> Vec<SlotName> {
    texts.iter().map(|text| name(text)).collect()
}

type Store = KeyStore<MemoryEngine>;

/// A service that holds a key and can be switched off or lie.
struct Service {
    kind: KeeperKind,
    key: u8,
    answers: Cell<Answers>,
}

#[derive(Clone, Copy)]
enum Answers {
    Right,
    Wrong,
    Not,
}

impl Service {
    const fn new(key: u8) -> Self {
        Self {
            kind: KeeperKind::AwsKms,
            key,
            answers: Cell::new(Answers::Right),
        }
    }

    fn mask(&self, from: &[u8]) -> Vec<u8> {
        from.iter().map(|byte| byte ^ self.key).collect()
    }
}

impl SlotKeeper for Service {
    fn kind(&self) -> KeeperKind {
        self.kind
    }

    fn wrap(&self, _: &str, context: &[u8], key: &Secret<32>) -> Result<Vec<u8>, KeeperError> {
        Ok([&self.mask(key.expose())[..], context].concat())
    }

    fn unwrap(&self, _: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret<32>, KeeperError> {
        let failed = |text: &str| KeeperError::Failed(text.into());
        match self.answers.get() {
            Answers::Not => Err(failed("the service does not answer")),
            Answers::Wrong => {
                Secret::copy_from("key", &[9; 32]).map_err(|error| failed(&error.to_string()))
            }
            Answers::Right if wrapped.get(32..) != Some(context) => Err(failed("wrong context")),
            Answers::Right => {
                let key = wrapped
                    .get(..32)
                    .map(|key| self.mask(key))
                    .unwrap_or_default();
                Secret::copy_from("key", &key).map_err(|error| failed(&error.to_string()))
            }
        }
    }
}

fn with_passphrase(store: &mut Store, slot: &str, text: &str) {
    let secret = secret(text);
    store
        .add_slot(&name(slot), NewSlot::Secret(&secret, CHEAP), None, 7)
        .unwrap();
}

fn snapshot(store: &Store) -> Snapshot {
    Snapshot::of(store.engine()).unwrap().unwrap()
}

fn reopen<'a>(store: &Store, openers: impl Into<Openers<'a>>) -> Result<Store, StoreError> {
    KeyStore::unlock(MemoryEngine::with(snapshot(store)), openers)
}

fn opened(store: &Store, with: &StoreSecret) -> Vec<String> {
    let store = reopen(store, with).unwrap();
    let through = store.opened_through().iter();
    through.map(|name| name.as_str().to_owned()).collect()
}

fn store() -> Store {
    let mut store = new_store(MemoryEngine::default());
    let key = "a".parse().unwrap();
    store.generate(key, "mlkem768-x25519", 0).unwrap();
    store
}

#[test]
fn any_of_several_slots_opens_the_same_keys() {
    let mut store = store();
    let recovery = KemPrivateKey::generate(&MLKEM768_X25519).unwrap();
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    let service = Service::new(0x55);
    for (slot, new) in [
        ("disk", NewSlot::Secret(&key, CHEAP)),
        ("paper", NewSlot::Recipient(recovery.public_key())),
        ("cloud", NewSlot::Keeper(&service, "arn:aws:kms:eu:1:key/2")),
    ] {
        store.add_slot(&name(slot), new, None, 7).unwrap();
    }
    assert_eq!(opened(&store, &secret("correct horse")), ["main"]);
    assert_eq!(opened(&store, &key), ["disk"]);
    assert_eq!(opened(&store, &StoreSecret::Recipient(recovery)), ["paper"]);
    let keepers: [&dyn SlotKeeper; 1] = [&service];
    let openers = Openers {
        keepers: &keepers,
        secrets: &[],
    };
    let again = reopen(&store, openers).unwrap();
    assert_eq!(again.opened_through(), names(&["cloud"]));
    assert_eq!(again.list().unwrap().keys.len(), 1);
    let listed = store.slots().unwrap();
    let kinds: Vec<_> = listed
        .slots
        .iter()
        .map(|slot| (slot.name.as_str(), slot.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("cloud", "AWS KMS"),
            ("disk", "key file"),
            ("main", "passphrase"),
            ("paper", "recipient")
        ]
    );
}

#[test]
fn a_removed_slot_opens_old_copies_only() {
    let mut store = store();
    with_passphrase(&mut store, "second", "another horse");
    let before = snapshot(&store);
    store
        .remove_slot(&name("second"), Offline::Required)
        .unwrap();
    let locked = reopen(&store, &secret("another horse")).unwrap_err();
    assert!(matches!(locked, StoreError::WrongPassphrase));
    KeyStore::unlock(MemoryEngine::with(before.clone()), &secret("another horse")).unwrap();
    // Putting the old slot back does not fit the index.
    let mut restored = snapshot(&store);
    restored.head.header = before.head.header;
    let refused = KeyStore::unlock(MemoryEngine::with(restored), &secret("correct horse"));
    assert!(matches!(refused.unwrap_err(), StoreError::Index));
    let last = store.remove_slot(&name("main"), Offline::Any).unwrap_err();
    assert!(matches!(last, StoreError::LastSlot));
    let missing = store.remove_slot(&name("none"), Offline::Any).unwrap_err();
    assert!(matches!(missing, StoreError::NoSlot(_)));
}

/// A store that two of the three zones open, or `main`.
fn zones() -> Store {
    let mut store = store();
    for zone in ["asia", "eu", "us"] {
        with_passphrase(&mut store, zone, &format!("horse of {zone}"));
    }
    store
        .set_group(
            &name("zones"),
            2,
            &names(&["asia", "eu", "us"]),
            Offline::Required,
        )
        .unwrap();
    store
}

fn secrets(zones: &[&str]) -> Vec<StoreSecret> {
    zones
        .iter()
        .map(|zone| secret(&format!("horse of {zone}")))
        .collect()
}

fn with_secrets(store: &Store, zones: &[&str]) -> Result<Store, StoreError> {
    let secrets = secrets(zones);
    reopen(
        store,
        Openers {
            secrets: &secrets,
            keepers: &[],
        },
    )
}

#[test]
fn any_two_of_three_zones_open_and_one_says_what_is_missing() {
    let store = zones();
    for pair in [["asia", "eu"], ["us", "asia"], ["eu", "us"]] {
        let opened = with_secrets(&store, &pair).unwrap();
        let mut expected = names(&pair);
        expected.sort();
        assert_eq!(opened.opened_through(), expected);
        assert_eq!(opened.list().unwrap().keys.len(), 1);
    }
    with_secrets(&store, &["asia", "eu", "us"]).unwrap();
    let locked = with_secrets(&store, &["eu"]).unwrap_err();
    let StoreError::Locked(locked) = locked else {
        panic!("{locked}");
    };
    assert_eq!(
        locked.lines(),
        [
            "`main` (passphrase): wrong passphrase",
            "`asia` (passphrase): wrong passphrase",
            "`eu` (passphrase): opened",
            "`us` (passphrase): wrong passphrase",
            "group `zones` needs 2 of its 3 slots, and 1 opened",
        ]
    );
    let locked = reopen(&store, Openers::default()).unwrap_err().to_string();
    assert!(
        locked.contains("`eu` (passphrase): no secret for it was given"),
        "{locked}"
    );
}

#[test]
fn a_member_that_leaves_takes_no_share_along() {
    let mut store = zones();
    let before = snapshot(&store);
    with_passphrase(&mut store, "africa", "horse of africa");
    let members = names(&["africa", "asia", "eu"]);
    store
        .set_group(&name("zones"), 2, &members, Offline::Required)
        .unwrap();
    with_secrets(&store, &["africa", "eu"]).unwrap();
    // It is gone, and did not become a slot that opens alone.
    with_secrets(&store, &["us"]).unwrap_err();
    let gone = store.remove_slot(&name("us"), Offline::Required);
    assert!(matches!(gone.unwrap_err(), StoreError::NoSlot(_)));
    with_secrets(&store, &["us", "eu"]).unwrap_err();
    // A slot of the old sharing in the new header does not open, and is named.
    let mut mixed = snapshot(&store);
    let (old, new) = (&before.head.header, &store);
    assert_ne!(old, &snapshot(new).head.header);
    mixed.head.header = old.clone();
    let refused = {
        let secrets = secrets(&["eu", "us"]);
        let openers = Openers {
            secrets: &secrets,
            keepers: &[],
        };
        KeyStore::unlock(MemoryEngine::with(mixed), openers)
    };
    assert!(matches!(refused.unwrap_err(), StoreError::Index));
    // Too few members would be left.
    store
        .remove_slot(&name("africa"), Offline::Required)
        .unwrap();
    let small = store
        .remove_slot(&name("asia"), Offline::Required)
        .unwrap_err();
    assert!(matches!(
        small,
        StoreError::GroupTooSmall { threshold: 2, .. }
    ));
    store.remove_group(&name("zones")).unwrap();
    with_secrets(&store, &["asia"]).unwrap();
}

#[test]
fn a_group_takes_new_members_and_refuses_wrong_ones() {
    let mut store = zones();
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    store
        .add_slot(
            &name("disk"),
            NewSlot::Secret(&key, CHEAP),
            Some(&name("zones")),
            7,
        )
        .unwrap();
    let mut secrets = secrets(&["eu"]);
    secrets.push(key);
    let openers = Openers {
        secrets: &secrets,
        keepers: &[],
    };
    reopen(&store, openers).unwrap();
    for (members, threshold) in [
        (vec!["eu"], 2),
        (vec!["eu", "us"], 1),
        (vec!["eu", "us"], 3),
    ] {
        let refused = store
            .set_group(&name("other"), threshold, &names(&members), Offline::Any)
            .unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Crypto(_) | StoreError::InOtherGroup { .. }
            ),
            "{refused}"
        );
    }
    let twice = store.set_group(&name("zones"), 2, &names(&["eu", "eu"]), Offline::Any);
    assert!(matches!(twice.unwrap_err(), StoreError::SlotTaken(_)));
    let none = store.set_group(&name("zones"), 2, &names(&["eu", "mars"]), Offline::Any);
    assert!(matches!(none.unwrap_err(), StoreError::NoSlot(_)));
    let taken = store.add_slot(&name("eu"), NewSlot::Secret(&secrets[0], CHEAP), None, 7);
    assert!(matches!(taken.unwrap_err(), StoreError::SlotTaken(_)));
    let nowhere = store.add_slot(
        &name("x"),
        NewSlot::Secret(&secrets[0], CHEAP),
        Some(&name("nowhere")),
        7,
    );
    assert!(matches!(nowhere.unwrap_err(), StoreError::NoGroup(_)));
}

#[test]
fn a_service_that_fails_or_lies_is_named_and_the_offline_slot_opens_a_backup() {
    let mut store = store();
    let service = Service::new(0x33);
    let location = "arn:aws:kms:eu:1:key/2";
    store
        .add_slot(&name("cloud"), NewSlot::Keeper(&service, location), None, 7)
        .unwrap();
    let backup = snapshot(&store);
    let keepers: [&dyn SlotKeeper; 1] = [&service];
    let openers = Openers {
        keepers: &keepers,
        secrets: &[],
    };
    let locked = |answers| {
        service.answers.set(answers);
        reopen(&store, openers).unwrap_err().to_string()
    };
    let text = locked(Answers::Not);
    assert!(
        text.contains("`cloud` (AWS KMS): the service does not answer"),
        "{text}"
    );
    let text = locked(Answers::Wrong);
    assert!(
        text.contains("`cloud` (AWS KMS): what its service returned does not open it"),
        "{text}"
    );
    // The key in the cloud is gone for good: the passphrase still opens the backup.
    let kept = KeyStore::unlock(MemoryEngine::with(backup), &secret("correct horse")).unwrap();
    assert_eq!(kept.list().unwrap().keys.len(), 1);
}

#[test]
fn a_store_keeps_an_offline_slot_unless_told_otherwise() {
    let mut store = store();
    let service = Service::new(0x33);
    for slot in ["east", "west"] {
        let new = NewSlot::Keeper(&service, "arn:aws:kms:eu:1:key/2");
        store.add_slot(&name(slot), new, None, 7).unwrap();
    }
    let refused = store
        .remove_slot(&name("main"), Offline::Required)
        .unwrap_err();
    assert!(matches!(refused, StoreError::NoOfflineSlot));
    // As a member of a group that needs a cloud as well, it opens nothing alone.
    let members = names(&["main", "east"]);
    let refused = store
        .set_group(&name("both"), 2, &members, Offline::Required)
        .unwrap_err();
    assert!(matches!(refused, StoreError::NoOfflineSlot));
    store
        .set_group(&name("both"), 2, &members, Offline::Any)
        .unwrap();
    assert!(!store.opens_offline().unwrap());
    store.remove_slot(&name("west"), Offline::Required).unwrap();
    let keepers: [&dyn SlotKeeper; 1] = [&service];
    let with = |secrets: &[StoreSecret]| {
        reopen(
            &store,
            Openers {
                keepers: &keepers,
                secrets,
            },
        )
        .map(|_| ())
    };
    with(&[]).unwrap_err();
    with(&[secret("correct horse")]).unwrap();
}

#[test]
fn a_slot_can_be_tried_without_closing_the_store() {
    let store = zones();
    let all = secrets(&["asia", "eu"]);
    let openers = Openers {
        secrets: &all,
        keepers: &[],
    };
    store.test_slot(&name("asia"), openers).unwrap();
    let wrong = store.test_slot(&name("us"), openers).unwrap_err();
    assert!(matches!(wrong, StoreError::SlotWrong(_)));
    let not_asked = store
        .test_slot(&name("us"), Openers::default())
        .unwrap_err();
    assert!(matches!(not_asked, StoreError::SlotNotAsked(_)));
    let main = secret("correct horse");
    store
        .test_slot(&name("main"), Openers::from(&main))
        .unwrap();
}

#[test]
fn a_slot_of_another_store_or_name_does_not_open() {
    let (one, other) = (store(), store());
    // The same passphrase opens both, each by its own slot only.
    let mut foreign = snapshot(&one);
    foreign.head.header = snapshot(&other).head.header;
    let refused = KeyStore::unlock(MemoryEngine::with(foreign), &secret("correct horse"));
    assert!(matches!(refused.unwrap_err(), StoreError::Index));
    // Renaming a slot in the header breaks what it authenticates.
    let mut renamed = snapshot(&one);
    let at = renamed
        .head
        .header
        .windows(4)
        .position(|part| part == b"main")
        .unwrap();
    renamed.head.header[at] = b'p';
    let refused = KeyStore::unlock(MemoryEngine::with(renamed), &secret("correct horse"));
    assert!(matches!(refused.unwrap_err(), StoreError::WrongPassphrase));
    // So does a lower cost of guessing.
    let mut cheaper = snapshot(&one);
    let salt = cheaper
        .head
        .header
        .windows(2)
        .position(|part| part == [0x18, 64])
        .unwrap();
    cheaper.head.header[salt + 1] = 32;
    let refused = KeyStore::unlock(MemoryEngine::with(cheaper), &secret("correct horse"));
    assert!(matches!(refused.unwrap_err(), StoreError::WrongPassphrase));
}

#[test]
fn a_new_root_key_drops_the_other_slots_and_says_which() {
    let mut store = zones();
    let lost = store
        .replace_root(&secret("new horse 1"), CHEAP, 9)
        .unwrap();
    assert_eq!(lost, names(&["asia", "eu", "us"]));
    with_secrets(&store, &["asia", "eu"]).unwrap_err();
    assert_eq!(opened(&store, &secret("new horse 1")), ["main"]);
    assert!(store.slots().unwrap().groups.is_empty());
    let through_group = with_secrets(&zones(), &["asia", "eu"]);
    let refused = through_group
        .unwrap()
        .change_secret(&secret("new horse 2"), CHEAP, 9);
    assert!(matches!(refused.unwrap_err(), StoreError::NotASecret(_)));
}

#[test]
fn a_key_file_opens_each_store_in_its_own_way() {
    // What is kept of a slot under the root key of one store must not open the other.
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    let new = NewSlot::Secret(&key, CHEAP);
    let mut stores = [store(), store()];
    for store in &mut stores {
        store.add_slot(&name("disk"), new, None, 7).unwrap();
        store.add_slot(&name("again"), new, None, 7).unwrap();
        assert_eq!(opened(store, &key), ["again"]);
    }
    // The headers differ in every slot key's salt.
    let salts = |store: &Store| {
        let header = snapshot(store).head.header;
        let at = header
            .windows(3)
            .enumerate()
            .filter(|(_, part)| *part == [0x82, 2, 0x50]);
        at.map(|(at, _)| header[at + 3..at + 19].to_vec())
            .collect::<Vec<_>>()
    };
    let all = [salts(&stores[0]), salts(&stores[1])].concat();
    assert_eq!(all.len(), 4);
    for (at, salt) in all.iter().enumerate() {
        assert!(!all[at + 1..].contains(salt));
    }
}
