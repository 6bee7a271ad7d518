//! The key store under a secret root key.

use casemate_crypto::{SecretBytes, encoding::PrivateKey, suite::MLKEM768_X25519};
use casemate_keys::{Engine, KeyStore, MemoryEngine, PassphraseCost, StoreSecret};

use crate::{
    case::{Case, Outcome, same},
    mark::{self, reveal, reveal_in_place},
};

/// Public in these cases: Argon2id reads memory at places that depend on the passphrase, by design (RFC 9106, section 9.1).
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

/// The right root key, and another one.
fn compare_commitment() -> Outcome {
    let (store, other) = (new_store()?, new_store()?);
    for (root, right) in [(store.root_secret(), true), (other.root_secret(), false)] {
        mark::secret_in_place(root.expose());
        // Whether the root key is the right one is what the caller asks for.
        let mut verdict = [u8::from(store.is_committed_to(root)?)];
        reveal("the verdict", &mut verdict)?;
        same("the verdict", &verdict, &[u8::from(right)])?;
    }
    Ok(())
}

/// A record and the index sealed under a secret root key; the tag ends the index.
fn write() -> Outcome {
    let (store, key) = (new_store()?, PrivateKey::generate(MLKEM768_X25519.name)?);
    let key = key.ok_or("no such suite")?;
    mark::secret_in_place(store.root_secret().expose());
    let change = store.change_adding("key".parse()?, &key, 2)?;
    mark::public_in_place(store.root_secret().expose());
    let tag = change.index.len() - 48;
    reveal_in_place("the index tag", change.index.get(tag..).unwrap_or_default())?;
    // The hash of the record in it was computed from the record, not from what the record is now known to be.
    mark::public_in_place(&change.index);
    for (_, record) in &change.put {
        // A nonce, which is public already, stands before the ciphertext.
        reveal_in_place("the record", record.get(12..).unwrap_or_default())?;
    }
    // What was sealed under the mark must be what a store that never saw one can read.
    let mut engine = MemoryEngine::with(store.snapshot().clone());
    engine.commit(store.snapshot().generation, &change)?;
    let store = KeyStore::unlock(engine, &passphrase())?;
    let again = store.private_key(&store.by_name(&"key".parse()?)?.ok_or("no such key")?)?;
    for (found, expected) in again.secret_parts().iter().zip(key.secret_parts()) {
        same("the key that was stored", found, expected)?;
    }
    Ok(())
}
