use super::*;
use casemate_crypto::SecretBytes;

use crate::{PassphraseCost, StoreError, StoreKey, StoreSecret, header::Header, slot::Slot};

/// A slot for a random key.
fn key_slot() -> Vec<u8> {
    array(&[uint(2), bytes(&[4; 12]), bytes(&[5; 48])])
}

/// A slot for a passphrase at this cost.
fn passphrase_slot(memory_kib: u64, passes: u64, lanes: u64) -> Vec<u8> {
    array(&[
        uint(1),
        bytes(&[3; 16]),
        uint(memory_kib),
        uint(passes),
        uint(lanes),
        bytes(&[4; 12]),
        bytes(&[5; 48]),
    ])
}

fn entries(slots: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, uint(1)),
        (1, bytes(&[1; 16])),
        (2, uint(1_700_000_000)),
        (3, array(slots)),
        (4, bytes(&[6; 32])),
    ]
}

fn with(key: usize, value: Vec<u8>) -> Result<Header, StoreError> {
    let mut entries = entries(&[key_slot()]);
    entries[key].1 = value;
    Header::decode(&map(&entries))
}

#[track_caller]
fn assert_damaged(refused: Result<Header, StoreError>, rule: &str) {
    match refused {
        Err(StoreError::Header(found)) => assert_eq!(found, rule),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted, but {rule}"),
    }
}

const STRUCTURE: &str = "not the expected CBOR structure";

#[test]
fn a_header_is_read_and_written_back_without_a_change() {
    for slots in [
        vec![key_slot()],
        vec![passphrase_slot(65_536, 3, 4)],
        vec![passphrase_slot(8, 1, 1), key_slot(), key_slot()],
        vec![key_slot(); 16],
    ] {
        let encoded = map(&entries(&slots));
        let header = Header::decode(&encoded).unwrap();
        assert_eq!((header.store_id, header.commitment), ([1; 16], [6; 32]));
        assert_eq!(header.encode(), encoded);
    }
}

#[test]
fn another_version_is_named_before_the_rest_is_read() {
    for version in [0, 2, u64::MAX] {
        let refused = Header::decode(&map(&[(0, uint(version)), (9, text("unknown"))]));
        assert!(matches!(refused, Err(StoreError::Version(found)) if found == version));
    }
}

#[test]
fn entries_that_are_missing_more_or_out_of_order_are_refused() {
    for missing in 0..5 {
        let mut left = entries(&[key_slot()]);
        left.remove(missing);
        assert_damaged(Header::decode(&map(&left)), STRUCTURE);
    }
    let mut more = entries(&[key_slot()]);
    more.push((5, uint(0)));
    assert_damaged(Header::decode(&map(&more)), STRUCTURE);
    for first in 0..4 {
        let mut swapped = entries(&[key_slot()]);
        swapped.swap(first, first + 1);
        assert_damaged(Header::decode(&map(&swapped)), STRUCTURE);
    }
    let good = map(&entries(&[key_slot()]));
    let trailing = [&good[..], &[0]].concat();
    assert_damaged(Header::decode(&trailing), "not in deterministic encoding");
    for len in 0..good.len() {
        assert_damaged(Header::decode(&good[..len]), STRUCTURE);
    }
}

#[test]
fn values_of_another_type_or_length_are_refused() {
    for key in 0..5 {
        for value in [NULL.to_vec(), text("x"), map(&[])] {
            assert_damaged(with(key, value), STRUCTURE);
        }
    }
    for len in [0, 15, 17] {
        assert_damaged(with(1, bytes(&vec![0; len])), STRUCTURE);
    }
    for len in [0, 31, 33] {
        assert_damaged(with(4, bytes(&vec![0; len])), STRUCTURE);
    }
    assert_damaged(with(2, vec![0x18, 0]), "not in deterministic encoding");
}

#[test]
fn a_store_has_one_to_sixteen_slots() {
    let range = "there must be 1 to 16 slots";
    assert_damaged(with(3, array(&[])), range);
    assert_damaged(with(3, array(&vec![key_slot(); 17])), range);
    let absurd = encode(|e| e.array(u64::MAX).map(drop));
    assert_damaged(with(3, absurd), range);
}

#[test]
fn a_slot_is_of_a_known_kind_with_all_its_elements() {
    let kind = "unknown kind of slot";
    let slot = |elements: &[Vec<u8>]| with(3, array(&[array(elements)]));
    assert_damaged(slot(&[uint(3), bytes(&[4; 12]), bytes(&[5; 48])]), kind);
    assert_damaged(slot(&[uint(0), bytes(&[4; 12]), bytes(&[5; 48])]), kind);
    // A passphrase slot with the elements of a key slot, and the reverse.
    assert_damaged(slot(&[uint(1), bytes(&[4; 12]), bytes(&[5; 48])]), kind);
    assert_damaged(slot(&[uint(2), bytes(&[4; 12])]), kind);
    assert_damaged(
        slot(&[uint(2), bytes(&[4; 12]), bytes(&[5; 48]), uint(0)]),
        kind,
    );
    for (nonce, wrapped) in [(11, 48), (13, 48), (12, 47), (12, 49)] {
        let elements = [uint(2), bytes(&vec![4; nonce]), bytes(&vec![5; wrapped])];
        assert_damaged(slot(&elements), STRUCTURE);
    }
    let long_salt = [
        uint(1),
        bytes(&[3; 17]),
        uint(8),
        uint(1),
        uint(1),
        bytes(&[4; 12]),
        bytes(&[5; 48]),
    ];
    assert_damaged(slot(&long_salt), STRUCTURE);
}

#[test]
fn the_cost_of_a_passphrase_is_bounded_alone_and_in_sum() {
    let one = |memory, passes, lanes| with(3, array(&[passphrase_slot(memory, passes, lanes)]));
    one(1 << 20, 16, 16).unwrap();
    let limit = "passphrase cost exceeds its limit";
    assert_damaged(one((1 << 20) + 1, 1, 1), limit);
    assert_damaged(one(8, 17, 1), limit);
    assert_damaged(one(8, 1, 17), limit);
    assert_damaged(one(1 << 32, 1, 1), STRUCTURE);
    // Two slots at half the limit fit; any more does not.
    let half = || passphrase_slot(1 << 20, 8, 1);
    with(3, array(&[half(), half()])).unwrap();
    with(3, array(&[half(), half(), key_slot()])).unwrap();
    let refused = with(3, array(&[half(), half(), passphrase_slot(1, 1, 1)]));
    assert_damaged(refused, "the total cost of its slots exceeds the limit");
}

#[test]
fn a_root_key_other_than_the_committed_one_is_refused() {
    let cost = PassphraseCost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let passphrase = StoreSecret::Passphrase(SecretBytes::new(b"passphrase".to_vec()));
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    for secret in [&passphrase, &key] {
        let (mut header, root) = Header::create(secret, cost, 0).unwrap();
        let (found, slot) = header.unlock(secret).unwrap();
        assert!(found.secret().ct_eq(root.secret()));
        assert_eq!(slot, 0);
        // The slot opens, but the writer of the header committed to another root key.
        header.commitment[31] ^= 1;
        let refused = header.unlock(secret).err();
        let is_named = match secret {
            StoreSecret::Passphrase(_) => matches!(refused, Some(StoreError::WrongPassphrase)),
            StoreSecret::Key(_) => matches!(refused, Some(StoreError::WrongKey)),
        };
        assert!(is_named, "{refused:?}");
    }
}

#[test]
fn a_slot_opens_in_its_own_store_only() {
    let cost = PassphraseCost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let secret = StoreSecret::Passphrase(SecretBytes::new(b"passphrase".to_vec()));
    let slot = Slot::new(&secret, cost, &root(7), &[1; 16]).unwrap();
    let opened = slot.open(&secret, &[1; 16]).unwrap().unwrap();
    assert!(opened.ct_eq(root(7).secret()));
    // The passphrase and its salt are the same, so only the binding to the store refuses it.
    assert!(slot.open(&secret, &[2; 16]).unwrap().is_none());
    let wrong = StoreSecret::Passphrase(SecretBytes::new(b"Passphrase".to_vec()));
    assert!(slot.open(&wrong, &[1; 16]).unwrap().is_none());
    assert_eq!(slot.work(), 8);
    let key = StoreSecret::Key(StoreKey::generate().unwrap());
    assert!(matches!(
        slot.open(&key, &[1; 16]),
        Err(StoreError::NeedsPassphrase)
    ));
    let slot = Slot::new(&key, cost, &root(7), &[1; 16]).unwrap();
    assert_eq!(slot.work(), 0);
    assert!(slot.open(&key, &[2; 16]).unwrap().is_none());
    assert!(matches!(
        slot.open(&secret, &[1; 16]),
        Err(StoreError::NeedsKey)
    ));
}
