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
    record::Record,
    row::{Role, RowId},
    sealed,
    status::{End, Status},
    tree::Entry,
};

fn id() -> RowId {
    RowId::of_key(KeyId::from_bytes([1; 32]), Role::Private)
}

fn record(status: Status) -> Record {
    Record {
        name: "model".parse().unwrap(),
        version: 4,
        created: 5,
        public: b"public".to_vec(),
        private: Some(SecretBytes::new(b"private".to_vec())),
        status,
    }
}

fn decode(plaintext: Vec<u8>) -> Result<Record, StoreError> {
    Record::decode(&SecretBytes::new(plaintext), id())
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
        let (entry, row) = sealed::seal(&record(status).encode(), &root(7), id(), 3).unwrap();
        let opened = sealed::open(&row, &root(7), &entry).unwrap();
        let opened = Record::decode(&opened, id()).unwrap();
        assert_eq!((opened.name.as_str(), opened.created), ("model", 5));
        assert_eq!(opened.version, 4);
        assert_eq!(opened.public, b"public");
        assert_eq!(opened.private.unwrap().expose(), b"private");
        assert_eq!(opened.status, status);
    }
}

#[test]
fn a_row_opens_under_its_own_root_id_and_generation_only() {
    let plaintext = record(Status::default()).encode();
    let (entry, row) = sealed::seal(&plaintext, &root(7), id(), 3).unwrap();
    sealed::open(&row, &root(7), &entry).unwrap();
    let another = |id: RowId| Entry {
        id,
        ..entry.clone()
    };
    let public = RowId::of_key(KeyId::from_bytes([1; 32]), Role::Public);
    let other = RowId::of_key(KeyId::from_bytes([2; 32]), Role::Private);
    // A row with another generation in front, and an entry that fits it.
    let mut later = row.clone();
    later[7] = 4;
    let cut = |len: usize| sealed::entry_of(id(), &row[..len]).unwrap();
    for (case, opened) in [
        ("root", sealed::open(&row, &root(8), &entry)),
        ("role", sealed::open(&row, &root(7), &another(public))),
        ("key", sealed::open(&row, &root(7), &another(other))),
        (
            "generation",
            sealed::open(&later, &root(7), &sealed::entry_of(id(), &later).unwrap()),
        ),
        ("hash", sealed::open(&later, &root(7), &entry)),
        (
            "cut",
            sealed::open(&row[..row.len() - 1], &root(7), &cut(row.len() - 1)),
        ),
        ("no nonce", sealed::open(&row[..8], &root(7), &cut(8))),
        ("empty", sealed::open(&[], &root(7), &entry)),
    ] {
        assert!(matches!(opened, Err(StoreError::DamagedRow(_))), "{case}");
    }
    assert_eq!(sealed::entry_of(id(), &row[..7]), None);
    let long = SecretBytes::new(vec![0; 64 * 1024]);
    let refused = sealed::seal(&long, &root(7), id(), 3);
    assert!(matches!(refused, Err(StoreError::RowTooLong(_))));
}

#[test]
fn a_record_in_another_form_is_damaged_even_if_it_decrypts() {
    let good = || {
        vec![
            (0, text("model")),
            (1, uint(1)),
            (2, uint(5)),
            (3, bytes(b"public")),
            (4, bytes(b"private")),
        ]
    };
    decode(map(&good())).unwrap();
    let with = |key: u64, value: Vec<u8>| {
        let mut entries = good();
        match entries.iter_mut().find(|(found, _)| *found == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
        map(&entries)
    };
    let empty_status = || array(&[NULL.to_vec(), NULL.to_vec(), NULL.to_vec(), NULL.to_vec()]);
    for (case, bytes) in [
        ("a name with a slash", with(0, text("a/b"))),
        ("no name", with(0, text(""))),
        ("a number as name", with(0, uint(1))),
        ("a long version", with(1, uint(1 << 32))),
        ("a negative time", with(2, vec![0x20])),
        ("text as PEM", with(4, text("pem"))),
        ("an empty status", with(5, empty_status())),
        ("another entry", with(6, uint(0))),
        ("no private key", map(&good()[..4])),
        ("trailing bytes", [&map(&good())[..], &[0]].concat()),
        ("nothing", Vec::new()),
    ] {
        assert!(
            matches!(decode(bytes), Err(StoreError::DamagedRow(_))),
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
    let [key, other] =
        [(), ()].map(|()| PrivateKey::Kem(KemPrivateKey::generate(&MLKEM768_X25519).unwrap()));
    let name = || "model".parse().unwrap();
    let (record, id) = Record::of_private(name(), 1, &key, 5, Status::default()).unwrap();
    let public = key.public_key().unwrap().id().unwrap();
    assert_eq!(id, RowId::of_key(public, Role::Private));
    assert_eq!(record.public_key(id).unwrap().id().unwrap(), public);
    record.private_key(id).unwrap();
    let refused = record.public_key(self::id());
    assert!(matches!(refused, Err(StoreError::DamagedRow(_))));
    // The halves of two keys.
    let mixed = Record {
        private: Some(other.to_pem().unwrap()),
        ..record
    };
    mixed.public_key(id).unwrap();
    let refused = mixed.private_key(id);
    assert!(matches!(refused, Err(StoreError::DamagedRow(_))));
    let public = key.public_key().unwrap();
    let (theirs, id) = Record::of_public(name(), 1, &public, 5, Status::default()).unwrap();
    assert_eq!(id, RowId::of_key(public.id().unwrap(), Role::Public));
    let refused = theirs.private_key(id);
    assert!(matches!(refused, Err(StoreError::NoPrivateKey(_))));
}
