use casemate_audit::Frontier;

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
        log: None,
    }
}

fn open(bytes: &[u8]) -> Result<Index, StoreError> {
    Index::open(HEADER, bytes, 3, &root(7))
}

/// Tags the bytes of an index that no writer would make.
fn tagged(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let tag = root(7).tag(HEADER, &map(entries)).unwrap();
    let all = [entries, &[(4, bytes(&tag))]].concat();
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
        Index {
            log: Frontier::from_parts(5, vec![[1; 32], [2; 32]]),
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
    let with =
        |hash: Vec<u8>, log: Vec<u8>| tagged(&[(0, uint(3)), (1, uint(2)), (2, hash), (3, log)]);
    let log = |size: u64, roots: usize, len: usize| {
        let roots = vec![bytes(&vec![1; len]); roots];
        array(&[uint(size), array(&roots)])
    };
    open(&with(hash(), NULL.to_vec())).unwrap();
    open(&with(hash(), log(5, 2, 32))).unwrap();
    let null = || NULL.to_vec();
    for (case, bytes) in [
        (
            "a hash of no rows",
            tagged(&[(0, uint(3)), (1, uint(0)), (2, hash()), (3, null())]),
        ),
        ("a short hash", with(bytes(&[9; 47]), null())),
        ("no log", tagged(&[(0, uint(3)), (1, uint(2)), (2, hash())])),
        ("a log of another type", with(hash(), uint(1))),
        ("too few roots", with(hash(), log(5, 1, 32))),
        ("too many roots", with(hash(), log(5, 3, 32))),
        ("a short root", with(hash(), log(5, 2, 31))),
        (
            "no hash",
            tagged(&[(0, uint(3)), (1, uint(2)), (3, null())]),
        ),
        (
            "text",
            tagged(&[(0, text("3")), (1, uint(2)), (2, hash()), (3, null())]),
        ),
        (
            "a long number",
            tagged(&[(0, vec![0x18, 3]), (1, uint(2)), (2, hash()), (3, null())]),
        ),
    ] {
        assert!(matches!(open(&bytes), Err(StoreError::Index)), "{case}");
    }
    let absurd = encode(|e| e.array(2)?.u64(1)?.array(u64::MAX).map(drop));
    assert!(matches!(
        open(&with(hash(), absurd)),
        Err(StoreError::Index)
    ));
}
