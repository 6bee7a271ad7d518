use casemate_crypto::{Secret, hpke::TAG_BYTES};

use super::*;
use crate::{
    error::SealError,
    layout::{Layout, SegmentSize},
    limits::{NAME_BYTES_MAX, PRIVATE_BYTES_MAX},
    wire::{
        ArtifactId, Header, Private, open_publisher_part, open_recipient_part, seal_publisher_part,
        seal_recipient_part,
    },
};

fn header(content_len: u64) -> Header {
    Header {
        id: ArtifactId::from_bytes([1; 16]),
        hash: crate::HashAlgorithm::Blake3,
        layout: Layout::of_content(SegmentSize::default(), content_len).unwrap(),
        created: 0,
        content_type: "a/b".to_owned(),
        publisher: None,
        revision: None,
        owner: None,
        unknown: Vec::new(),
    }
}

fn key(byte: u8) -> Secret<32> {
    Secret::copy_from("key", &[byte; 32]).unwrap()
}

fn private(name: &str, metadata: &[(&str, &str)]) -> Private {
    let metadata = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Private {
        name: name.to_owned(),
        metadata: metadata.collect(),
    }
}

#[test]
fn a_publisher_part_is_opened_with_the_same_key_and_header_only() {
    let sent = private("weights.bin", &[("b", "2"), ("aa", "1"), ("", "empty")]);
    let sealed = seal_publisher_part(&sent, &header(5), &key(1)).unwrap();
    assert_eq!(
        open_publisher_part(&sealed, &header(5), &key(1)).unwrap(),
        sent
    );
    let again = seal_publisher_part(&sent, &header(5), &key(1)).unwrap();
    assert_ne!(sealed, again, "each sealing has its own salt");
    for (case, refused) in [
        (
            "another key",
            open_publisher_part(&sealed, &header(5), &key(2)),
        ),
        (
            "another length",
            open_publisher_part(&sealed, &header(6), &key(1)),
        ),
        ("nothing", open_publisher_part(&[], &header(5), &key(1))),
        (
            "the salt alone",
            open_publisher_part(&sealed[..32], &header(5), &key(1)),
        ),
        (
            "a cut",
            open_publisher_part(&sealed[..sealed.len() - 1], &header(5), &key(1)),
        ),
    ] {
        assert!(
            matches!(refused, Err(OpenError::Rejected)),
            "{case}: {refused:?}"
        );
    }
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        let refused = open_publisher_part(&flipped, &header(5), &key(1));
        assert!(
            matches!(refused, Err(OpenError::Rejected)),
            "byte {at}: {refused:?}"
        );
    }
}

#[test]
fn a_name_and_metadata_have_limits_for_the_writer() {
    let seal = |private: &Private| seal_publisher_part(private, &header(0), &key(1));
    seal(&private(&"n".repeat(NAME_BYTES_MAX), &[])).unwrap();
    let refused = seal(&private(&"n".repeat(NAME_BYTES_MAX + 1), &[])).unwrap_err();
    assert!(
        matches!(
            refused,
            SealError::FieldTooLong {
                field: "name",
                actual: 4097,
                limit: 4096
            }
        ),
        "{refused}"
    );
    // The encoding of this map has 11 bytes beside the value.
    let longest = PRIVATE_BYTES_MAX - 32 - TAG_BYTES - 15;
    let sealed = seal(&private("", &[("k", &"v".repeat(longest))]));
    assert!(sealed.unwrap().len() <= PRIVATE_BYTES_MAX);
    let refused = seal(&private("", &[("k", &"v".repeat(PRIVATE_BYTES_MAX))])).unwrap_err();
    assert!(matches!(
        refused,
        SealError::FieldTooLong {
            field: "metadata",
            ..
        }
    ));
}

fn decoded(bytes: &[u8]) -> Result<Private, OpenError> {
    Private::decode(bytes, 5)
}

#[test]
fn a_publisher_part_breaks_no_rule() {
    let entries = |len: Vec<u8>, metadata: Vec<u8>| map(&[(0, text("n")), (1, len), (2, metadata)]);
    let part = "publisher part";
    let good = entries(uint(5), vec![0xa1, 0x61, b'k', 0x61, b'v']);
    assert_eq!(decoded(&good).unwrap(), private("n", &[("k", "v")]));
    assert_malformed(
        decoded(&entries(uint(4), map(&[]))),
        Malformed::PrivateLength,
        "length",
    );
    for (case, bytes) in [
        ("a number as key", entries(uint(5), map(&[(1, text("v"))]))),
        (
            "a number as value",
            entries(uint(5), vec![0xa1, 0x61, b'k', 1]),
        ),
        ("a list", entries(uint(5), array(&[]))),
        ("two entries", map(&[(0, text("n")), (1, uint(5))])),
        (
            "four entries",
            map(&[(0, text("n")), (1, uint(5)), (2, map(&[])), (3, uint(0))]),
        ),
        ("an indefinite map", entries(uint(5), vec![0xbf, 0xff])),
        ("nothing", Vec::new()),
    ] {
        assert_malformed(decoded(&bytes), structure(part), case);
    }
    for (case, metadata) in [
        (
            "keys out of order",
            vec![0xa2, 0x61, b'b', 0x60, 0x61, b'a', 0x60],
        ),
        (
            "a longer key first",
            vec![0xa2, 0x62, b'a', b'a', 0x60, 0x61, b'b', 0x60],
        ),
        (
            "a key twice",
            vec![0xa2, 0x61, b'a', 0x60, 0x61, b'a', 0x60],
        ),
        ("a long length", vec![0xa1, 0x78, 1, b'a', 0x60]),
    ] {
        assert_malformed(
            decoded(&entries(uint(5), metadata)),
            not_deterministic(part),
            case,
        );
    }
    let trailing = [&good[..], &[0]].concat();
    assert_malformed(decoded(&trailing), not_deterministic(part), "trailing");
    let long = map(&[(0, text(&"n".repeat(4097))), (1, uint(5)), (2, map(&[]))]);
    assert!(matches!(
        decoded(&long),
        Err(OpenError::Limit { what: "name", .. })
    ));
}

#[test]
fn a_recipient_part_binds_the_recipients_to_the_key() {
    let sealed = seal_recipient_part(&key(1), b"recipients").unwrap();
    open_recipient_part(&sealed, &key(1), b"recipients").unwrap();
    for (case, refused) in [
        (
            "other recipients",
            open_recipient_part(&sealed, &key(1), b"recipient"),
        ),
        (
            "another key",
            open_recipient_part(&sealed, &key(2), b"recipients"),
        ),
        (
            "a cut",
            open_recipient_part(&sealed[1..], &key(1), b"recipients"),
        ),
    ] {
        assert!(
            matches!(refused, Err(OpenError::Rejected)),
            "{case}: {refused:?}"
        );
    }
    // One part does not pass for the other, even under the same key and data.
    let header = header(0);
    let publisher = seal_publisher_part(&Private::default(), &header, &key(1)).unwrap();
    let refused = open_recipient_part(&publisher, &key(1), &header.digest());
    assert!(matches!(refused, Err(OpenError::Rejected)), "{refused:?}");
}
