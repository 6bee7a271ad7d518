//! Uses of private keys that a service records for its clients.

use std::num::NonZeroU64;

use casemate_audit::What;
use casemate_crypto::encoding::KeyId;
use casemate_keys::{
    End, KeyName, KeyStore, KeyUse, MemoryEngine, RotationPolicy, State, Status, StoreError,
};

use crate::keys::new_store;

const NOW: u64 = 1_800_000_000;

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn store() -> KeyStore<MemoryEngine> {
    let mut store = new_store(MemoryEngine::default());
    for (key, suite) in [("open", "mlkem768-x25519"), ("sign", "mldsa65-ed25519")] {
        store.generate(name(key), suite, 10).unwrap();
    }
    store
}

fn key(store: &KeyStore<MemoryEngine>, key: &str) -> KeyId {
    store.by_name(&name(key)).unwrap().unwrap().id
}

fn used(key: KeyId, by: &str) -> KeyUse {
    KeyUse {
        key,
        by: by.to_owned(),
        about: "artifact 00".to_owned(),
        bytes: 3,
    }
}

#[test]
fn uses_of_one_batch_are_entries_of_one_change() {
    let mut store = store();
    store.enable_log("example.com/keys").unwrap();
    let (open, sign) = (key(&store, "open"), key(&store, "sign"));
    let before = store.generation().unwrap();
    let uses = [used(open, "a"), used(sign, "b"), used(open, "c")];
    let results = store.record_uses(&uses, NOW).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(store.generation().unwrap(), before + 1);
    let mut found = Vec::new();
    let visit = &mut |_, _: &[u8], entry: &casemate_audit::Entry| {
        found.push((entry.what, entry.by.clone(), entry.key.clone()));
        Ok::<(), StoreError>(())
    };
    store.verify_log(visit).unwrap();
    let last: Vec<_> = found.iter().rev().take(3).rev().cloned().collect();
    let entry = |what, by: &str, key: &str| (what, by.to_owned(), Some(key.to_owned()));
    assert_eq!(
        last,
        [
            entry(What::Unwrapped, "a", "open@1"),
            entry(What::Signed, "b", "sign@1"),
            entry(What::Unwrapped, "c", "open@1"),
        ]
    );
}

#[test]
fn what_must_not_be_used_is_refused_alone() {
    let mut store = store();
    store.enable_log("example.com/keys").unwrap();
    let (open, sign) = (key(&store, "open"), key(&store, "sign"));
    let public = casemate_crypto::encoding::PrivateKey::generate("mlkem1024")
        .unwrap()
        .unwrap();
    let public = public.public_key().unwrap();
    let theirs = public.id().unwrap();
    store
        .add_public(name("theirs"), &public, 10, Status::default())
        .unwrap();
    store.rotate(&name("open"), None, 20, false).unwrap();
    store
        .set_state(&name("open"), 1, State::Disabled, 30)
        .unwrap();
    let unknown = KeyId::from_bytes([7; 32]);
    let uses: Vec<_> = [open, sign, theirs, unknown]
        .map(|key| used(key, "a"))
        .into();
    let results = store.record_uses(&uses, NOW).unwrap();
    assert!(matches!(
        results[0],
        Err(StoreError::NotInUse { version: 1, .. })
    ));
    results[1].as_ref().unwrap();
    assert!(matches!(results[2], Err(StoreError::NoPrivateKey(_))));
    assert!(matches!(results[3], Err(StoreError::MissingRow(_))));
    // Refusals alone change nothing.
    let before = store.generation().unwrap();
    let refused = store.record_uses(&[used(open, "a"), used(unknown, "b")], NOW);
    assert!(refused.unwrap().iter().all(Result::is_err));
    assert_eq!(store.generation().unwrap(), before);
    // A version that was replaced opens what it sealed; it no longer signs.
    let new = store.rotate(&name("sign"), None, 40, false).unwrap().new.id;
    let again = store
        .record_uses(&[used(sign, "a"), used(new, "a")], NOW)
        .unwrap();
    assert!(matches!(again[0], Err(StoreError::NotInUse { .. })) && again[1].is_ok());
    // Nor does one whose predecessor is compromised.
    let lost = Status {
        end: Some(End::Compromised { at: 50 }),
        ..Status::default()
    };
    store.set_status(sign, lost).unwrap();
    let refused = store.record_uses(&[used(new, "a")], NOW).unwrap();
    assert!(
        matches!(refused[0], Err(StoreError::NotValid { .. })),
        "{refused:?}"
    );
}

#[test]
fn limits_hold_within_a_batch() {
    let mut store = store();
    let policy = RotationPolicy {
        uses: NonZeroU64::new(2),
        ..RotationPolicy::default()
    };
    store.set_policy(&name("sign"), policy).unwrap();
    let sign = key(&store, "sign");
    let uses: Vec<_> = (0..3).map(|_| used(sign, "a")).collect();
    let results = store.record_uses(&uses, NOW).unwrap();
    assert!(results[0].is_ok() && results[1].is_ok());
    assert!(matches!(results[2], Err(StoreError::UsedUp { .. })));
    let usage = store.usage(sign).unwrap();
    assert_eq!((usage.uses, usage.bytes), (2, 6));
    // Without a log and limits, nothing is written.
    let before = store.generation().unwrap();
    let open = key(&store, "open");
    assert!(matches!(
        store.record_uses(&[used(open, "a")], NOW).unwrap()[..],
        [Ok(_)]
    ));
    assert_eq!(store.generation().unwrap(), before);
}
