//! The key store, with a secret root key.

use casemate_crypto::{SecretBytes, encoding::PrivateKey, suite::MLKEM768_X25519};
use casemate_keys::{Engine, KeyStore, MemoryEngine, PassphraseCost, Snapshot, StoreSecret, Table};

use crate::{
    case::{Case, Outcome, same},
    mark::{self, reveal, reveal_in_place},
};

/// Public in these cases: by design, Argon2id reads memory at addresses that depend on the
/// passphrase (RFC 9106, section 9.1).
const PASSPHRASE: &[u8] = b"correct horse";
const COST: PassphraseCost = PassphraseCost {
    memory_kib: 32,
    passes: 1,
    lanes: 1,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::clean("root key commitment", compare_commitment),
        Case::clean("key store written", write),
    ]
}

fn passphrase() -> StoreSecret {
    StoreSecret::Passphrase(SecretBytes::new(PASSPHRASE.to_vec()))
}

fn new_store() -> Result<KeyStore<MemoryEngine>, casemate_keys::StoreError> {
    KeyStore::create(MemoryEngine::default(), &passphrase(), COST, 1)
}

/// Compares the commitment with the correct root key and with a wrong one.
fn compare_commitment() -> Outcome {
    let (store, other) = (new_store()?, new_store()?);
    for (root, right) in [(store.root_secret(), true), (other.root_secret(), false)] {
        mark::secret_in_place(root.expose());
        // The result of the comparison is public.
        let mut verdict = [u8::from(store.is_committed_to(root)?)];
        reveal("the verdict", &mut verdict)?;
        same("the verdict", &verdict, &[u8::from(right)])?;
    }
    Ok(())
}

/// Seals a record and the index with a secret root key; the index ends with the tag.
fn write() -> Outcome {
    let (store, key) = (new_store()?, PrivateKey::generate(MLKEM768_X25519.name)?);
    let key = key.ok_or("no such suite")?;
    let mark = || mark::secret_in_place(store.root_secret().expose());
    let change = store.change_adding(&"key".parse()?, &key, 2, &mark)?;
    mark::public_in_place(store.root_secret().expose());
    let tag = change.index.len() - 48;
    reveal_in_place("the index tag", change.index.get(tag..).unwrap_or_default())?;
    // Index and nodes contain hashes of rows, which were computed before the rows were revealed and
    // are still marked.
    mark::public_in_place(&change.index);
    for (table, _, value) in &change.put {
        let value = value.as_deref().unwrap_or_default();
        if *table == Table::Nodes {
            mark::public_in_place(value);
        } else {
            // A public generation and nonce precede the ciphertext.
            reveal_in_place("the row", value.get(20..).unwrap_or_default())?;
        }
    }
    // A store without marked secrets must be able to read what was sealed with them.
    let before = Snapshot::of(store.engine())?.ok_or("no store")?;
    let generation = before.head.generation;
    let engine = MemoryEngine::with(before);
    engine.commit(generation, &change)?;
    let store = KeyStore::unlock(engine, &passphrase())?;
    let again = store.private_key(&store.by_name(&"key".parse()?)?.ok_or("no such key")?)?;
    for (found, expected) in again.secret_parts().iter().zip(key.secret_parts()) {
        same("the stored key", found, expected)?;
    }
    Ok(())
}
