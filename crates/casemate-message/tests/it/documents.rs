//! Key lists and key documents: what a client believes of a gateway.

use casemate_crypto::{kem::KemPrivateKey, signature::HttpSigningKey, suite::MLKEM1024_P384};
use casemate_message::{
    RecordId,
    keydoc::{self, KeyDocumentError, Statement, Succession, VerifiedKeys},
    ohttp::{GatewayKey, KeyConfig, OhttpError},
};
use serde_json::{Value, json};

use crate::protected::{NOW, gateway};

const RECORD: RecordId = RecordId([4; 16]);

/// A document that is valid from `NOW` for ten seconds.
fn document(
    list: &[u8],
    serial: u64,
    succession: Option<&Succession>,
    signer: &HttpSigningKey,
) -> Vec<u8> {
    let statement = Statement {
        key_configs: list,
        not_before: NOW,
        not_after: NOW + 10,
        record: RECORD,
        serial,
        succession,
    };
    keydoc::create(&statement, signer).unwrap()
}

fn verify(document: &[u8], pinned: &HttpSigningKey) -> Result<VerifiedKeys, KeyDocumentError> {
    keydoc::verify(document, pinned.verifying_key(), NOW)
}

fn list() -> Vec<u8> {
    gateway().config().unwrap().encode_list()
}

#[test]
fn classical_and_malformed_key_lists_are_refused() {
    let x25519 = [&[0, 41, 0, 0x00, 0x20][..], &[9; 32], &[0, 4, 0, 1, 0, 1]].concat();
    assert_eq!(
        KeyConfig::decode_list(&x25519).unwrap_err(),
        OhttpError::NoSuite
    );
    let good = list();
    KeyConfig::decode_list(&[x25519, good.clone()].concat()).unwrap();
    for len in 0..good.len() {
        assert_eq!(
            KeyConfig::decode_list(&good[..len]).unwrap_err(),
            OhttpError::KeyConfig
        );
    }
    let other = KemPrivateKey::generate(&MLKEM1024_P384).unwrap();
    assert_eq!(GatewayKey::new(1, other).unwrap_err(), OhttpError::NoSuite);
}

#[test]
fn a_key_document_holds_for_its_signer_and_its_dates() {
    let signer = HttpSigningKey::generate().unwrap();
    let document = document(&list(), 1, None, &signer);
    let pinned = signer.verifying_key();
    let keys = keydoc::verify(&document, pinned, NOW + 10).unwrap();
    assert_eq!(
        (keys.not_after, keys.serial, keys.record),
        (NOW + 10, 1, RECORD)
    );
    assert_eq!(keys.signer_id, pinned.id().unwrap());
    for now in [NOW - 1, NOW + 11] {
        let refused = keydoc::verify(&document, pinned, now).unwrap_err();
        assert!(
            matches!(refused, KeyDocumentError::Expired { .. }),
            "{refused}"
        );
    }
    let other = HttpSigningKey::generate().unwrap();
    let refused = verify(&document, &other).unwrap_err();
    assert_eq!(refused, KeyDocumentError::BadSignature);
    for at in (0..document.len()).step_by(5) {
        let mut bent = document.clone();
        bent[at] ^= 1;
        let refused = keydoc::verify(&bent, pinned, NOW).unwrap_err();
        assert!(
            !matches!(refused, KeyDocumentError::Crypto(_)),
            "byte {at}: {refused}"
        );
    }
    let long = Statement {
        key_configs: &list(),
        not_before: NOW,
        not_after: NOW + 3601,
        record: RECORD,
        serial: 1,
        succession: None,
    };
    let long = keydoc::create(&long, &signer).unwrap();
    let refused = verify(&long, &signer).unwrap_err();
    assert_eq!(refused, KeyDocumentError::TooLong { seconds: 3601 });
}

#[test]
fn a_key_set_goes_forward_within_one_record() {
    let signer = HttpSigningKey::generate().unwrap();
    let (first, second) = (list(), list());
    let read =
        |list: &[u8], serial| verify(&document(list, serial, None, &signer), &signer).unwrap();
    let seen = read(&first, 2);
    assert_eq!(read(&first, 2).follow(&seen), Ok(()));
    assert_eq!(read(&second, 3).follow(&seen), Ok(()));
    for stale in [read(&second, 2), read(&first, 1)] {
        let refused = stale.follow(&seen).unwrap_err();
        assert!(matches!(refused, KeyDocumentError::Stale { seen: 2, .. }));
    }
    let mut restarted = read(&second, 1);
    restarted.record = RecordId([5; 16]);
    assert_eq!(restarted.follow(&seen), Ok(()));
}

#[test]
fn a_successor_is_proven_by_both_pairs() {
    let [old, new, other] = [(); 3].map(|()| HttpSigningKey::generate().unwrap());
    let id = |key: &HttpSigningKey| key.verifying_key().id().unwrap();
    let succession = Succession::create(&old, &new).unwrap();
    let announced = verify(&document(&list(), 1, Some(&succession), &old), &old).unwrap();
    assert_eq!(announced.successor, Some(id(&new)));
    let followed = document(&list(), 1, Some(&succession), &new);
    let keys = verify(&followed, &old).unwrap();
    assert_eq!((keys.signer_id, keys.successor), (id(&new), None));
    assert_eq!(verify(&followed, &new).unwrap().signer_id, id(&new));
    let bad = |document: &[u8], pinned| verify(document, pinned).unwrap_err();
    assert_eq!(bad(&followed, &other), KeyDocumentError::BadSignature);
    let unproven = document(&list(), 1, None, &new);
    assert_eq!(bad(&unproven, &old), KeyDocumentError::BadSignature);
    // Statements of which one half is by somebody else.
    let text = serde_json::to_value(&succession).unwrap();
    let theirs = serde_json::to_value(Succession::create(&other, &new).unwrap()).unwrap();
    for half in ["from", "to"] {
        let mut forged = text.clone();
        forged["signatures"][half] = theirs["signatures"][half].clone();
        let forged: Succession = serde_json::from_value(forged).unwrap();
        let announced = document(&list(), 1, Some(&forged), &old);
        assert_eq!(
            bad(&announced, &old),
            KeyDocumentError::Succession,
            "{half}"
        );
        let followed = document(&list(), 1, Some(&forged), &new);
        assert_eq!(
            bad(&followed, &old),
            KeyDocumentError::BadSignature,
            "{half}"
        );
    }
}

/// Signs a changed payload.
#[expect(clippy::indexing_slicing, reason = "a test")]
fn signed_payload(change: impl FnOnce(&mut Value), signer: &HttpSigningKey) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let document: Value = serde_json::from_slice(&document(&list(), 1, None, signer)).unwrap();
    let payload = BASE64
        .decode(document["payload"].as_str().unwrap())
        .unwrap();
    let mut payload: Value = serde_json::from_slice(&payload).unwrap();
    change(&mut payload);
    let payload = serde_json::to_vec(&payload).unwrap();
    let signed = casemate_crypto::Purpose::KEY_DOCUMENT.with(&payload);
    let made = signer.sign(&signed, &signed).unwrap();
    let document = json!({
        "schema": "casemate.gateway-keys/1", "payload": BASE64.encode(payload),
        "ed25519": BASE64.encode(made.ed25519), "ml-dsa-65": BASE64.encode(made.mldsa65),
    });
    serde_json::to_vec(&document).unwrap()
}

#[test]
fn unknown_members_are_ignored_unless_they_are_critical() {
    let signer = HttpSigningKey::generate().unwrap();
    let read = |change: fn(&mut Value)| verify(&signed_payload(change, &signer), &signer);
    read(|_| ()).unwrap();
    read(|payload| payload["later"] = json!(1)).unwrap();
    read(|payload| payload["critical"] = json!(["serial"])).unwrap();
    let critical = read(|payload| {
        payload["later"] = json!(1);
        payload["critical"] = json!(["later"]);
    });
    assert_eq!(critical.unwrap_err(), KeyDocumentError::Critical);
    read(|payload| payload["attestation"] = json!({ "type": "x", "evidence": "" })).unwrap();
    for member in ["record", "serial", "features", "signer", "key_configs"] {
        let without = |payload: &mut Value| {
            payload.as_object_mut().unwrap().remove(member);
        };
        let refused = verify(&signed_payload(without, &signer), &signer).unwrap_err();
        assert_eq!(refused, KeyDocumentError::Malformed, "{member}");
    }
}
