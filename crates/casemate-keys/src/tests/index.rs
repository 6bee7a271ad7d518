use super::*;
use crate::{
    StoreError,
    engine::{RecordId, Role},
    index::{Index, IndexEntry, RECORDS_MAX},
};
use casemate_crypto::encoding::KeyId;

const HEADER: &[u8] = b"header";

fn id(byte: u8, role: Role) -> RecordId {
    RecordId {
        key: KeyId::from_bytes([byte; 32]),
        role,
    }
}

/// An index of generation 3 with two records.
fn index() -> Index {
    let entries = [
        (id(1, Role::Private), IndexEntry::new(3, b"first")),
        (id(2, Role::Public), IndexEntry::new(1, b"second")),
    ];
    Index {
        generation: 3,
        entries: entries.into(),
    }
}

fn open(bytes: &[u8]) -> Result<Index, StoreError> {
    Index::open(HEADER, bytes, 3, &root(7))
}

/// Tags the bytes of an index that no writer would make.
fn tagged(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let tag = root(7).tag(HEADER, &map(entries)).unwrap();
    let all = [entries, &[(2, bytes(&tag))]].concat();
    map(&all)
}

fn row(id: &[u8], generation: u64, hash: usize) -> Vec<u8> {
    array(&[bytes(id), uint(generation), bytes(&vec![9; hash])])
}

#[test]
fn an_index_opens_under_its_root_key_its_header_and_its_generation_only() {
    let sealed = index().seal(HEADER, &root(7)).unwrap();
    assert_eq!(open(&sealed).unwrap(), index());
    let refused = |opened: Result<Index, StoreError>| matches!(opened, Err(StoreError::Index));
    assert!(
        refused(Index::open(HEADER, &sealed, 3, &root(8))),
        "root key"
    );
    assert!(
        refused(Index::open(b"other", &sealed, 3, &root(7))),
        "header"
    );
    for generation in [0, 2, 4] {
        let opened = Index::open(HEADER, &sealed, generation, &root(7));
        assert!(refused(opened), "generation {generation}");
    }
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        assert!(refused(open(&flipped)), "byte {at}");
        assert!(refused(open(&sealed[..at])), "{at} bytes");
    }
    assert!(refused(open(&[&sealed[..], &[0]].concat())), "trailing");
}

#[test]
fn a_record_matches_the_bytes_it_was_made_from_only() {
    let entry = IndexEntry::new(1, b"sealed");
    assert!(entry.matches(b"sealed"));
    assert!(!entry.matches(b"Sealed"));
    assert!(!entry.matches(b""));
}

#[test]
fn an_index_in_another_form_is_refused_even_with_a_valid_tag() {
    let private = id(1, Role::Private).to_bytes();
    let public = id(1, Role::Public).to_bytes();
    let list = |rows: &[Vec<u8>]| tagged(&[(0, uint(3)), (1, array(rows))]);
    let good = list(&[row(&private, 3, 48), row(&public, 0, 48)]);
    assert_eq!(open(&good).unwrap().entries.len(), 2);
    let mut unknown_role = private.clone();
    unknown_role[32] = 3;
    for (case, bytes) in [
        (
            "a record of a later generation",
            list(&[row(&private, 4, 48)]),
        ),
        (
            "records out of order",
            list(&[row(&public, 3, 48), row(&private, 3, 48)]),
        ),
        (
            "a record twice",
            list(&[row(&private, 3, 48), row(&private, 3, 48)]),
        ),
        ("an unknown role", list(&[row(&unknown_role, 3, 48)])),
        ("a short id", list(&[row(&private[1..], 3, 48)])),
        ("a short hash", list(&[row(&private, 3, 47)])),
        ("a long hash", list(&[row(&private, 3, 49)])),
        ("two elements", list(&[array(&[bytes(&private), uint(3)])])),
        ("another key", tagged(&[(0, uint(3)), (3, array(&[]))])),
        ("no list", tagged(&[(0, uint(3))])),
        ("text", tagged(&[(0, text("3")), (1, array(&[]))])),
        (
            "a long number",
            tagged(&[(0, vec![0x18, 3]), (1, array(&[]))]),
        ),
    ] {
        assert!(matches!(open(&bytes), Err(StoreError::Index)), "{case}");
    }
}

#[test]
fn an_index_has_a_limit_and_a_count_allocates_nothing() {
    let mut absurd = encode(|e| e.array(u64::MAX).map(drop));
    absurd.extend(row(&id(1, Role::Private).to_bytes(), 3, 48));
    let bytes = tagged(&[(0, uint(3)), (1, absurd)]);
    assert!(matches!(open(&bytes), Err(StoreError::Index)));
    let entry = IndexEntry::new(3, b"");
    let numbered = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let id = RecordId {
            key: KeyId::from_bytes(key),
            role: Role::Private,
        };
        (id, entry.clone())
    };
    let mut full = Index {
        generation: 3,
        entries: (0..RECORDS_MAX).map(numbered).collect(),
    };
    let sealed = full.seal(HEADER, &root(7)).unwrap();
    assert_eq!(open(&sealed).unwrap().entries.len(), RECORDS_MAX);
    full.entries.extend([numbered(RECORDS_MAX)]);
    let sealed = full.seal(HEADER, &root(7)).unwrap();
    assert!(matches!(open(&sealed), Err(StoreError::Index)));
}
