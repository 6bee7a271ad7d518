use casemate_cbor::Reader;
use casemate_crypto::{
    SecretBytes,
    encoding::{KeyId, PrivateKey},
    kem::KemPrivateKey,
    suite::MLKEM768_X25519,
};

use super::*;
use crate::{
    StoreError,
    engine::{RecordId, Role},
    record::Record,
    status::{End, Status},
};

fn id() -> RecordId {
    RecordId {
        key: KeyId::from_bytes([1; 32]),
        role: Role::Private,
    }
}

fn record(status: Status) -> Record {
    Record {
        name: "model".parse().unwrap(),
        created: 5,
        pem: SecretBytes::new(b"pem".to_vec()),
        status,
    }
}

/// Encrypts any plaintext as the record's.
fn sealed(plaintext: &[u8]) -> Vec<u8> {
    let (key, aad) = root(7).record(id(), 3).unwrap();
    [&[0; 12][..], &key.seal(&[0; 12], &aad, plaintext).unwrap()].concat()
}

fn open(sealed: &[u8]) -> Result<Record, StoreError> {
    Record::open(sealed, &root(7), id(), 3)
}

#[test]
fn a_record_comes_back_with_everything_known_of_it() {
    let status = Status {
        valid_from: Some(1),
        valid_until: Some(9),
        end: Some(End::Superseded { at: 8 }),
        successor_of: Some(KeyId::from_bytes([2; 32])),
    };
    for status in [Status::default(), status] {
        let sealed = record(status).seal(&root(7), id(), 3).unwrap();
        let opened = open(&sealed).unwrap();
        assert_eq!((opened.name.as_str(), opened.created), ("model", 5));
        assert_eq!(opened.pem.expose(), b"pem");
        assert_eq!(opened.status, status);
    }
}

#[test]
fn a_record_opens_under_its_own_root_id_and_generation_only() {
    let sealed = record(Status::default()).seal(&root(7), id(), 3).unwrap();
    let public = RecordId {
        role: Role::Public,
        ..id()
    };
    let other = RecordId {
        key: KeyId::from_bytes([2; 32]),
        ..id()
    };
    for (case, opened) in [
        ("root", Record::open(&sealed, &root(8), id(), 3)),
        ("role", Record::open(&sealed, &root(7), public, 3)),
        ("key", Record::open(&sealed, &root(7), other, 3)),
        ("generation", Record::open(&sealed, &root(7), id(), 2)),
        ("cut", open(&sealed[..sealed.len() - 1])),
        ("nonce alone", open(&sealed[..12])),
        ("empty", open(&[])),
    ] {
        assert!(
            matches!(opened, Err(StoreError::DamagedRecord(_))),
            "{case}"
        );
    }
}

#[test]
fn a_record_in_another_form_is_damaged_even_if_it_decrypts() {
    let good = || vec![(0, text("model")), (1, uint(5)), (2, bytes(b"pem"))];
    open(&sealed(&map(&good()))).unwrap();
    let with = |key: u64, value: Vec<u8>| {
        let mut entries = good();
        match entries.iter_mut().find(|(found, _)| *found == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
        sealed(&map(&entries))
    };
    let empty_status = || array(&[NULL.to_vec(), NULL.to_vec(), NULL.to_vec(), NULL.to_vec()]);
    for (case, bytes) in [
        ("a name with a slash", with(0, text("a/b"))),
        ("no name", with(0, text(""))),
        ("a number as name", with(0, uint(1))),
        ("a negative time", with(1, vec![0x20])),
        ("text as PEM", with(2, text("pem"))),
        ("an empty status", with(3, empty_status())),
        ("another entry", with(4, uint(0))),
        ("two entries", sealed(&map(&good()[..2]))),
        (
            "trailing bytes",
            sealed(&[&map(&good())[..], &[0]].concat()),
        ),
        ("nothing", sealed(&[])),
    ] {
        let opened = open(&bytes);
        assert!(
            matches!(opened, Err(StoreError::DamagedRecord(_))),
            "{case}"
        );
    }
}

fn status(parts: &[Vec<u8>]) -> Option<Status> {
    let bytes = array(parts);
    Status::read(&mut Reader::new(&bytes, "status")).ok()
}

#[test]
fn a_status_has_four_parts_of_their_own_types() {
    let null = || NULL.to_vec();
    let end = |kind: u64| array(&[uint(kind), uint(7)]);
    let read = status(&[uint(1), uint(2), end(2), bytes(&[3; 32])]).unwrap();
    assert_eq!((read.valid_from, read.valid_until), (Some(1), Some(2)));
    assert_eq!(read.end, Some(End::Compromised { at: 7 }));
    assert_eq!(read.successor_of, Some(KeyId::from_bytes([3; 32])));
    let read = status(&[null(), null(), end(1), null()]).unwrap();
    assert_eq!(read.end, Some(End::Superseded { at: 7 }));
    for (case, parts) in [
        ("nothing in it", vec![null(), null(), null(), null()]),
        ("three parts", vec![uint(1), null(), null()]),
        ("five parts", vec![uint(1), null(), null(), null(), null()]),
        ("text", vec![text("1"), null(), null(), null()]),
        ("an unknown end", vec![null(), null(), end(3), null()]),
        (
            "an end of one part",
            vec![null(), null(), array(&[uint(1)]), null()],
        ),
        (
            "a short key id",
            vec![null(), null(), null(), bytes(&[3; 31])],
        ),
    ] {
        assert_eq!(status(&parts), None, "{case}");
    }
}

#[test]
fn a_key_under_the_id_of_another_is_damage() {
    let key = PrivateKey::Kem(KemPrivateKey::generate(&MLKEM768_X25519).unwrap());
    let public = key.public_key().unwrap();
    let private = |pem: SecretBytes| Record {
        pem,
        ..record(Status::default())
    };
    let id = |role| RecordId {
        key: public.id().unwrap(),
        role,
    };
    let stored = private(key.to_pem().unwrap());
    let found = stored.public_key(id(Role::Private)).unwrap();
    assert_eq!(found.id().unwrap(), public.id().unwrap());
    let refused = stored.public_key(self::id());
    assert!(matches!(refused, Err(StoreError::DamagedRecord(_))));
    // A private key is not a public one.
    stored.public_key(id(Role::Public)).unwrap_err();
    let stored = private(SecretBytes::new(public.to_pem().unwrap().into_bytes()));
    stored.public_key(id(Role::Public)).unwrap();
    stored.public_key(id(Role::Private)).unwrap_err();
}
