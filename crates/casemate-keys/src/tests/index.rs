use super::*;
use crate::{StoreError, index::Index, tree::Subtree};

const HEADER: &[u8] = b"header";

/// An index of generation 3 over two rows.
fn index() -> Index {
    Index {
        generation: 3,
        root: Some(Subtree {
            rows: 2,
            hash: [9; 48],
        }),
    }
}

fn open(bytes: &[u8]) -> Result<Index, StoreError> {
    Index::open(HEADER, bytes, 3, &root(7))
}

/// Tags the bytes of an index that no writer would make.
fn tagged(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let tag = root(7).tag(HEADER, &map(entries)).unwrap();
    let all = [entries, &[(3, bytes(&tag))]].concat();
    map(&all)
}

#[test]
fn an_index_opens_under_its_root_key_its_header_and_its_generation_only() {
    for index in [
        index(),
        Index {
            root: None,
            ..index()
        },
    ] {
        let sealed = index.seal(HEADER, &root(7)).unwrap();
        assert_eq!(open(&sealed).unwrap(), index);
        let refused = |opened: Result<Index, StoreError>| matches!(opened, Err(StoreError::Index));
        let others = [
            ("root key", Index::open(HEADER, &sealed, 3, &root(8))),
            ("header", Index::open(b"other", &sealed, 3, &root(7))),
            ("before", Index::open(HEADER, &sealed, 2, &root(7))),
            ("after", Index::open(HEADER, &sealed, 4, &root(7))),
        ];
        for (case, opened) in others {
            assert!(refused(opened), "{case}");
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(refused(open(&flipped)), "byte {at}");
            assert!(refused(open(&sealed[..at])), "{at} bytes");
        }
        assert!(refused(open(&[&sealed[..], &[0]].concat())), "trailing");
    }
}

#[test]
fn an_index_in_another_form_is_refused_even_with_a_valid_tag() {
    let hash = || bytes(&[9; 48]);
    open(&tagged(&[(0, uint(3)), (1, uint(2)), (2, hash())])).unwrap();
    for (case, bytes) in [
        (
            "a hash of no rows",
            tagged(&[(0, uint(3)), (1, uint(0)), (2, hash())]),
        ),
        (
            "a short hash",
            tagged(&[(0, uint(3)), (1, uint(2)), (2, bytes(&[9; 47]))]),
        ),
        ("no hash", tagged(&[(0, uint(3)), (1, uint(2))])),
        (
            "another key",
            tagged(&[(0, uint(3)), (1, uint(2)), (4, hash())]),
        ),
        ("text", tagged(&[(0, text("3")), (1, uint(2)), (2, hash())])),
        (
            "a long number",
            tagged(&[(0, vec![0x18, 3]), (1, uint(2)), (2, hash())]),
        ),
    ] {
        assert!(matches!(open(&bytes), Err(StoreError::Index)), "{case}");
    }
}
