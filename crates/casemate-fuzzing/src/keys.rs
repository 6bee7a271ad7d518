//! Key stores and statements about keys.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use casemate_audit::{Entry, Proof, VerifierKeys, bundle, entries_of};
use casemate_crypto::{Purpose, SecretBytes, encoding::PublicKey, signature::LogSigningKey};
use casemate_keys::{Head, KeyStore, MemoryEngine, Snapshot, StoreError, StoreSecret};
use casemate_statement::{Rotation, Succession};
use serde_json::json;

use crate::SIGNER;

/// The parts of a key store that [`STORE_SECRET`] opens; also used as seeds. The first byte of each
/// says which part it is.
const STORE_HEADER: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/header");
const STORE_INDEX: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/index");
const STORE_NODE: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/node");
const STORE_KEY: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/row-key");
const STORE_NAME: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/row-name");
const STORE_LOG: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/row-log");
const STORE_ENTRIES: [&[u8]; 3] = [
    include_bytes!("../../../fuzz/corpus/key_store/entry-0"),
    include_bytes!("../../../fuzz/corpus/key_store/entry-1"),
    include_bytes!("../../../fuzz/corpus/key_store/entry-2"),
];
const STORE_SECRET: &[u8] = include_bytes!("../../../fuzz/corpus/key_store/secret");
/// Its generation.
const STORE_GENERATION: u64 = 4;

/// Parses one part of a key store among others that are intact, or the secret that opens it.
pub fn key_store(bytes: &[u8]) {
    let secret = |text: &[u8]| StoreSecret::read(SecretBytes::new(text.to_vec()));
    let Some((part, changed)) = bytes.split_first() else {
        return;
    };
    let part_or = |number: u8, intact: &[u8]| {
        let intact = intact.get(1..).unwrap_or_default();
        if *part == number {
            changed.to_vec()
        } else {
            intact.to_vec()
        }
    };
    if *part == 5 {
        _ = secret(changed);
        return;
    }
    // A row begins with its id.
    let row = |number, intact| {
        let row: Vec<u8> = part_or(number, intact);
        let (id, value) = row.split_at_checked(33)?;
        Some((id.to_vec(), value.to_vec()))
    };
    let snapshot = Snapshot {
        head: Head {
            header: part_or(0, STORE_HEADER),
            index: part_or(1, STORE_INDEX),
            generation: STORE_GENERATION,
        },
        nodes: [(Vec::new(), part_or(2, STORE_NODE))].into(),
        rows: [row(3, STORE_KEY), row(4, STORE_NAME), row(6, STORE_LOG)]
            .into_iter()
            .flatten()
            .collect(),
        entries: (0_u64..)
            .zip((7..).zip(STORE_ENTRIES))
            .map(|(at, (number, intact))| (at.to_be_bytes().to_vec(), part_or(number, intact)))
            .collect(),
        version_1: None,
    };
    let secret = secret(STORE_SECRET.get(1..).unwrap_or_default()).unwrap();
    if let Ok(store) = KeyStore::unlock(MemoryEngine::with(snapshot), &secret) {
        let listing = store.list().unwrap();
        // The key is there, or what is wrong with it is said.
        assert!(listing.keys.len() == 1 || !listing.damage.is_empty());
        _ = store.verify_log::<StoreError>(&mut |_, _, _| Ok(()));
        if let Ok(proof) = store.prove(0, 7) {
            let keys = store.log_verifier_keys().unwrap();
            proof.verify(&keys).unwrap();
        }
    }
}

/// The parts of a key store of version 1, with the same first bytes.
const HEADER_1: &[u8] = include_bytes!("../../../fuzz/corpus/key_store_1/header");
const INDEX_1: &[u8] = include_bytes!("../../../fuzz/corpus/key_store_1/index");
const RECORDS_1: [&[u8]; 2] = [
    include_bytes!("../../../fuzz/corpus/key_store_1/record-private"),
    include_bytes!("../../../fuzz/corpus/key_store_1/record-public"),
];
const SECRET_1: &[u8] = b"casemate-store-key-1:_SUhbPgpoy2YNntOdAE2lqPasnTYAmYCFtZcJQtOowQ";
const GENERATION_1: u64 = 3;

/// Migrates a key store of version 1 with one part changed: all of it comes along, or it is
/// refused.
pub fn key_store_1(bytes: &[u8]) {
    let Some((part, changed)) = bytes.split_first() else {
        return;
    };
    let part_or = |number: u8, intact: &[u8]| {
        if *part == number {
            changed.to_vec()
        } else {
            intact.get(1..).unwrap_or_default().to_vec()
        }
    };
    let records = (2..).zip(RECORDS_1).filter_map(|(number, intact)| {
        let record = part_or(number, intact);
        let (id, value) = record.split_at_checked(33)?;
        Some((id.to_vec(), value.to_vec()))
    });
    let snapshot = Snapshot {
        head: Head {
            header: part_or(0, HEADER_1),
            index: part_or(1, INDEX_1),
            generation: GENERATION_1,
        },
        version_1: Some(records.collect()),
        ..Snapshot::default()
    };
    let secret = StoreSecret::read(SecretBytes::new(SECRET_1.to_vec())).unwrap();
    if let Ok(store) = KeyStore::unlock(MemoryEngine::with(snapshot), &secret) {
        let listing = store.list().unwrap();
        assert_eq!((listing.keys.len(), listing.damage.len()), (2, 0));
    }
}

/// Parses a statement: the envelope as it is, and the same bytes as the payload of a signed one.
pub fn key_statement(bytes: &[u8]) {
    let key = SIGNER.verifying_key();
    let read = |file: &[u8]| {
        if let Ok(statement) = Succession::verify(file, key) {
            _ = PublicKey::Sign(
                casemate_crypto::signature::VerifyingKey::new(
                    statement.next().suite(),
                    statement.next().as_bytes(),
                )
                .unwrap(),
            )
            .to_pem()
            .unwrap();
        }
        if let Ok(statement) = Rotation::verify(file, key) {
            let signed = statement.sign(&SIGNER).unwrap();
            assert_eq!(Rotation::verify(&signed, key).unwrap(), statement);
        }
    };
    read(bytes);
    let kind = "application/vnd.in-toto+json";
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), bytes.len());
    let signed = [head.as_bytes(), bytes].concat();
    let signature = SIGNER.sign(Purpose::KEY_STATEMENT, &signed).unwrap();
    let envelope = json!({
        "payloadType": kind,
        "payload": STANDARD.encode(bytes),
        "signatures": [{ "keyid": key.id().unwrap().to_hex(), "sig": STANDARD.encode(signature) }],
    });
    read(envelope.to_string().as_bytes());
}

/// Parses what C2SP defines: checkpoints, verifier keys, bundles, and our proofs and entries.
pub fn audit_log(bytes: &[u8]) {
    let Some((part, rest)) = bytes.split_first() else {
        return;
    };
    let text = str::from_utf8(rest).unwrap_or_default();
    match part {
        0 => _ = LOG.verify(rest),
        1 => {
            if let Ok(keys) = VerifierKeys::from_text(text) {
                assert_eq!(VerifierKeys::from_text(&keys.to_text()).unwrap(), keys);
            }
        }
        2 => {
            if let Ok(entries) = entries_of(rest) {
                assert_eq!(bundle(&entries).unwrap(), rest);
            }
        }
        3 => {
            if let Ok(proof) = Proof::from_text(text) {
                _ = proof.verify(&LOG);
            }
        }
        _ => {
            if let Ok(entry) = Entry::decode(rest) {
                _ = entry.encode();
            }
        }
    }
}

static LOG: LazyLock<VerifierKeys> = LazyLock::new(|| {
    let key = LogSigningKey::from_seeds(&[1; 32], &[2; 32]).unwrap();
    VerifierKeys::new("example.com/log", key.verifying_key().unwrap()).unwrap()
});

/// What a key service, its clients and etcd send.
pub fn key_service(bytes: &[u8]) {
    casemate_service::hazmat::read(bytes);
    casemate_etcd::hazmat::read(bytes);
}
