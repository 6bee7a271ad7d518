use casemate_crypto::suite::{MLDSA65_ED25519, MLKEM768_X25519};

use super::*;
use crate::{
    limits::{
        HEADER_BYTES_MAX, PRIVATE_BYTES_MAX, RECIPIENT_PART_BYTES_MAX, RECIPIENTS_MAX,
        SIGNATURE_BYTES_MAX,
    },
    wire::{Tail, encode_recipients},
};

/// Returns a recipient record of `mlkem768-x25519` for the key id that repeats `byte`.
fn recipient(byte: u8) -> Vec<u8> {
    array(&[
        uint(0x647a),
        uint(1),
        uint(2),
        bytes(&[byte; 32]),
        bytes(&[3; 1120]),
        bytes(&[4; 48]),
    ])
}

fn signature() -> Vec<u8> {
    array(&[
        text(&MLDSA65_ED25519.oid.to_string()),
        bytes(&[5; 32]),
        bytes(b"signature"),
    ])
}

fn entries() -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, bytes(b"header")),
        (1, array(&[recipient(1), recipient(2)])),
        (2, bytes(b"publisher part")),
        (3, bytes(b"hashes")),
        (4, signature()),
        (5, bytes(b"recipient part")),
        (6, NULL.to_vec()),
        (7, bytes(b"public part")),
    ]
}

fn with(key: usize, value: Vec<u8>) -> Result<Tail, OpenError> {
    let mut entries = entries();
    entries[key].1 = value;
    Tail::decode(&map(&entries))
}

#[test]
fn a_tail_is_read_as_the_specification_says_and_written_back() {
    let encoded = map(&entries());
    let tail = Tail::decode(&encoded).unwrap();
    assert_eq!(tail.header, b"header");
    assert_eq!(tail.publisher_part, b"publisher part");
    assert_eq!(tail.hashes, b"hashes");
    assert_eq!(tail.recipient_part, b"recipient part");
    assert_eq!(tail.public_part, b"public part");
    assert_eq!(tail.list, None);
    let record = tail.signature.as_ref().unwrap();
    assert_eq!(record.suite, &MLDSA65_ED25519);
    assert_eq!(record.key.as_bytes(), &[5; 32]);
    assert_eq!(record.signature, b"signature");
    let keys: Vec<_> = tail
        .recipients
        .iter()
        .map(|one| one.key.as_bytes()[0])
        .collect();
    assert_eq!(keys, [1, 2]);
    assert_eq!(tail.recipients[0].suite, &MLKEM768_X25519);
    assert_eq!(tail.recipients[0].enc, [3; 1120]);
    assert_eq!(tail.recipients[0].ct, [4; 48]);
    assert_eq!(tail.encode(), encoded);
    let recipients = encode_recipients(&tail.recipients);
    assert_eq!(recipients, array(&[recipient(1), recipient(2)]));
    assert_eq!(with(4, NULL.to_vec()).unwrap().signature, None);
}

#[test]
fn entries_that_are_missing_more_or_out_of_order_are_refused() {
    for missing in 0..8 {
        let mut left = entries();
        left.remove(missing);
        let case = format!("without entry {missing}");
        assert_malformed(Tail::decode(&map(&left)), structure("tail"), &case);
    }
    let mut more = entries();
    more.push((8, uint(0)));
    assert_malformed(Tail::decode(&map(&more)), structure("tail"), "one more");
    for first in 0..7 {
        let mut swapped = entries();
        swapped.swap(first, first + 1);
        let case = format!("entries {first} and {} swapped", first + 1);
        assert_malformed(Tail::decode(&map(&swapped)), structure("tail"), &case);
    }
    let good = map(&entries());
    let trailing = [&good[..], &[0]].concat();
    assert_malformed(
        Tail::decode(&trailing),
        not_deterministic("tail"),
        "trailing",
    );
    for len in 0..good.len() {
        assert!(Tail::decode(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn parts_of_another_type_are_refused() {
    for (key, part) in [
        (0, "tail"),
        (1, "recipients"),
        (2, "tail"),
        (3, "tail"),
        (4, "signature"),
        (5, "tail"),
        (6, "recipient list"),
        (7, "tail"),
    ] {
        for value in [uint(1), text("x"), map(&[])] {
            let case = format!("entry {key} as {value:02x?}");
            assert_malformed(with(key, value), structure(part), &case);
        }
    }
}

#[test]
fn parts_longer_than_their_limits_are_refused() {
    for (key, name, limit) in [
        (0, "header", HEADER_BYTES_MAX),
        (2, "publisher part", PRIVATE_BYTES_MAX),
        (5, "recipient part", RECIPIENT_PART_BYTES_MAX),
    ] {
        with(key, bytes(&vec![0; limit])).unwrap();
        let refused = with(key, bytes(&vec![0; limit + 1])).unwrap_err();
        assert!(
            matches!(refused, OpenError::Limit { what, actual, limit: most }
                if what == name && actual == limit as u64 + 1 && most == limit as u64),
            "{refused}"
        );
    }
}

#[test]
fn recipients_are_between_one_and_the_limit_and_all_different() {
    assert_malformed(with(1, array(&[])), structure("recipients"), "none");
    let all: Vec<_> = (0..=RECIPIENTS_MAX)
        .map(|number| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(number as u64).to_be_bytes());
            array(&[
                uint(0x647a),
                uint(1),
                uint(2),
                bytes(&id),
                bytes(&[3; 1120]),
                bytes(&[4; 48]),
            ])
        })
        .collect();
    with(1, array(&all[..RECIPIENTS_MAX])).unwrap();
    let refused = with(1, array(&all)).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Limit {
                what: "number of recipients",
                actual: 1025,
                limit: 1024
            }
        ),
        "{refused}"
    );
    let twice = with(1, array(&[recipient(1), recipient(2), recipient(1)])).unwrap_err();
    assert!(
        matches!(&twice, OpenError::Malformed(Malformed::DuplicateRecipient(key)) if key.as_bytes() == &[1; 32]),
        "{twice}"
    );
    // A count without its records allocates nothing.
    let mut absurd = encode(|e| e.array(1024).map(drop));
    absurd.extend(recipient(1));
    assert_malformed(with(1, absurd), structure("recipients"), "too few");
}

#[test]
fn a_record_has_a_registered_suite_and_its_lengths() {
    let record = |kem, kdf, aead, id: &[u8], enc: usize, ct: usize| {
        let parts = [
            uint(kem),
            uint(kdf),
            uint(aead),
            bytes(id),
            bytes(&vec![3; enc]),
            bytes(&vec![4; ct]),
        ];
        with(1, array(&[array(&parts)]))
    };
    let id = [1; 32];
    record(0x647a, 1, 2, &id, 1120, 48).unwrap();
    for (kem, kdf, aead, name) in [
        (0x647b, 1, 2, "HPKE 647b,0001,0002"),
        (0x647a, 2, 2, "HPKE 647a,0002,0002"),
        (0x647a, 1, 1, "HPKE 647a,0001,0001"),
        (0x1_0000_647a, 1, 2, "HPKE 10000647a,0001,0002"),
    ] {
        let refused = record(kem, kdf, aead, &id, 1120, 48).unwrap_err();
        assert!(
            matches!(&refused, OpenError::UnknownSuite(found) if found == name),
            "{refused}"
        );
    }
    let refused = record(0x647a, 1, 2, &id[..31], 1120, 48);
    assert_malformed(refused, length("key id", 31, 32), "key id");
    for len in [0, 1119, 1121] {
        let refused = record(0x647a, 1, 2, &id, len, 48);
        assert_malformed(refused, length("encapsulated key", len, 1120), "enc");
    }
    for len in [0, 47, 49] {
        let refused = record(0x647a, 1, 2, &id, 1120, len);
        assert_malformed(refused, length("wrapped artifact key", len, 48), "ct");
    }
    let five = array(&[
        uint(0x647a),
        uint(1),
        uint(2),
        bytes(&id),
        bytes(&[3; 1120]),
    ]);
    assert_malformed(
        with(1, array(&[five])),
        structure("recipients"),
        "five elements",
    );
}

#[test]
fn a_signature_names_its_suite_and_key() {
    let record = |parts: &[Vec<u8>]| with(4, array(parts));
    let oid = || text(&MLDSA65_ED25519.oid.to_string());
    let (id, signature) = (|| bytes(&[5; 32]), || bytes(b"s"));
    record(&[oid(), id(), signature()]).unwrap();
    let refused = record(&[text("1.2.3"), id(), signature()]).unwrap_err();
    assert!(matches!(&refused, OpenError::UnknownSuite(found) if found == "1.2.3"));
    // The name of an unknown suite is shown, so it is short and printable.
    let refused = record(&[text(&"\u{1b}[2J\u{202e}x".repeat(50)), id(), signature()]);
    let Err(OpenError::UnknownSuite(shown)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        shown.len() <= 64 && shown.chars().all(|c| c.is_ascii_graphic()),
        "{shown}"
    );
    let refused = record(&[oid(), bytes(&[5; 31]), signature()]);
    assert_malformed(refused, length("key id", 31, 32), "key id");
    for parts in [&[oid(), id()][..], &[oid(), id(), signature(), uint(0)]] {
        assert_malformed(record(parts), structure("signature"), "elements");
    }
    record(&[oid(), id(), bytes(&vec![0; SIGNATURE_BYTES_MAX])]).unwrap();
    let refused = record(&[oid(), id(), bytes(&vec![0; SIGNATURE_BYTES_MAX + 1])]).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Limit {
                what: "signature",
                ..
            }
        ),
        "{refused}"
    );
}
