use super::*;
use crate::{
    HashAlgorithm, SegmentSize,
    limits::{CONTENT_TYPE_BYTES_MAX, HEADER_KEY_IGNORED_MIN},
    wire::{ArtifactId, Header},
};
use casemate_cbor::Value;
use casemate_crypto::encoding::KeyId;

type Entries = Vec<(u64, Vec<u8>)>;

/// Returns the seven entries that every header has: one segment of 64 KiB with 5 bytes of content.
fn entries() -> Entries {
    vec![
        (0, uint(1)),
        (1, bytes(&[7; 16])),
        (2, uint(65_536)),
        (3, uint(1)),
        (4, uint(74 + 5 + 32)),
        (5, uint(1_700_000_000)),
        (6, text("text/plain")),
    ]
}

fn with(key: u64, value: Vec<u8>) -> Vec<u8> {
    let mut entries = entries();
    match entries.iter_mut().find(|(found, _)| *found == key) {
        Some(entry) => entry.1 = value,
        None => entries.push((key, value)),
    }
    map(&entries)
}

#[test]
fn a_header_is_read_as_the_specification_says() {
    let header = Header::decode(&map(&entries())).unwrap();
    assert_eq!(header.id(), ArtifactId::from_bytes([7; 16]));
    assert_eq!(header.id().to_string(), "07".repeat(16));
    assert_eq!(header.segment_size(), SegmentSize::new(65_536).unwrap());
    assert_eq!(header.hash(), HashAlgorithm::Blake3);
    assert_eq!((header.content_len(), header.segments()), (5, 1));
    assert_eq!(header.body_len(), 111);
    assert_eq!(header.created(), 1_700_000_000);
    assert_eq!(header.content_type(), "text/plain");
    assert_eq!(
        (header.publisher(), header.revision(), header.owner()),
        (None, None, None)
    );
    // The encoding, byte by byte.
    let expected = "a7000101500707070707070707070707070707070702 1a00010000 0301 04186f 05 1a6553f100 06 6a746578742f706c61696e";
    assert_eq!(hex::encode(header.encode()), expected.replace(' ', ""));
}

#[test]
fn optional_entries_are_read_and_kept() {
    let mut entries = entries();
    entries.extend([
        (7, bytes(&[1; 32])),
        (8, uint(3)),
        (9, bytes(&[2; 32])),
        (64, uint(5)),
        (65, bytes(b"kept")),
        (1 << 40, text("kept too")),
    ]);
    let encoded = map(&entries);
    let header = Header::decode(&encoded).unwrap();
    assert_eq!(header.publisher(), Some(KeyId::from_bytes([1; 32])));
    assert_eq!(header.revision(), Some(3));
    assert_eq!(header.owner(), Some(KeyId::from_bytes([2; 32])));
    let kept = [
        (64, Value::Uint(5)),
        (65, Value::Bytes(b"kept".to_vec())),
        (1 << 40, Value::Text("kept too".to_owned())),
    ];
    assert_eq!(header.unknown, kept);
    assert_eq!(header.encode(), encoded);
}

#[test]
fn the_digest_is_that_of_the_whole_header() {
    let header = Header::decode(&map(&entries())).unwrap();
    // `printf a7000101... | xxd -r -p | sha384sum`
    assert_eq!(
        hex::encode(header.digest()),
        "ed2342c3291df52a4c5e96c33933c45165221e31620376c6d8cfa7515705c44b0a38e259f1945e140cb877d73688bc8b"
    );
    let other = Header::decode(&with(64, uint(0))).unwrap();
    assert_ne!(header.digest(), other.digest());
}

#[test]
fn another_version_is_named_before_anything_else_is_read() {
    for version in [0, 2, u64::MAX] {
        let bytes = map(&[(0, uint(version)), (99, text("unknown"))]);
        let refused = Header::decode(&bytes).unwrap_err();
        assert!(
            matches!(refused, OpenError::Version { found } if found == version),
            "{refused}"
        );
    }
}

#[test]
fn entries_that_are_missing_or_out_of_order_are_refused() {
    for missing in 0..7 {
        let mut left = entries();
        left.remove(missing);
        let case = format!("without entry {missing}");
        assert_malformed(Header::decode(&map(&left)), structure("header"), &case);
    }
    for first in 0..6 {
        let mut swapped = entries();
        swapped.swap(first, first + 1);
        let refused = Header::decode(&map(&swapped)).unwrap_err();
        assert!(
            matches!(refused, OpenError::Malformed(_)),
            "{first}: {refused}"
        );
    }
    let mut twice = entries();
    twice.extend([(64, uint(1)), (64, uint(1))]);
    assert_malformed(Header::decode(&map(&twice)), structure("header"), "twice");
    let mut backwards = entries();
    backwards.extend([(65, uint(1)), (64, uint(1))]);
    assert_malformed(
        Header::decode(&map(&backwards)),
        structure("header"),
        "backwards",
    );
}

#[test]
fn values_of_another_type_are_refused() {
    for key in 0..7 {
        for value in [NULL.to_vec(), array(&[]), vec![0xf5], vec![0x20]] {
            let case = format!("entry {key} as {value:02x?}");
            assert_malformed(
                Header::decode(&with(key, value)),
                structure("header"),
                &case,
            );
        }
    }
    // Only numbers, bytes and text can be ignored.
    for value in [
        NULL.to_vec(),
        array(&[]),
        map(&[]),
        vec![0x20],
        vec![0xf9, 0, 0],
    ] {
        let case = format!("{value:02x?}");
        assert_malformed(Header::decode(&with(64, value)), structure("header"), &case);
    }
}

#[test]
fn keys_that_a_reader_must_know_are_not_ignored() {
    for key in [10, 11, HEADER_KEY_IGNORED_MIN - 1] {
        let case = format!("entry {key}");
        assert_malformed(
            Header::decode(&with(key, uint(0))),
            structure("header"),
            &case,
        );
    }
    Header::decode(&with(HEADER_KEY_IGNORED_MIN, uint(0))).unwrap();
}

#[test]
fn ids_of_another_length_are_refused() {
    for len in [0, 15, 17] {
        let refused = Header::decode(&with(1, bytes(&vec![0; len])));
        assert_malformed(refused, length("artifact id", len, 16), "artifact id");
    }
    for key in [7, 9] {
        for len in [0, 31, 33] {
            let refused = Header::decode(&with(key, bytes(&vec![0; len])));
            assert_malformed(refused, length("key id", len, 32), "key id");
        }
    }
}

#[test]
fn sizes_that_no_content_has_are_refused() {
    for size in [0, 65_535, 32_768, 1 << 25, u64::MAX] {
        let refused = Header::decode(&with(2, uint(size)));
        assert_malformed(refused, Malformed::SegmentSize(size), "segment size");
    }
    for len in [0, 73, 105, 74 + 65_536 + 32 + 32] {
        let refused = Header::decode(&with(4, uint(len)));
        assert_malformed(refused, Malformed::BodyLength(len), "body length");
    }
    // One segment more than the limit.
    let segments = crate::limits::SEGMENTS_MAX + 1;
    let long = 74 + segments * (65_536 + 32);
    let refused = Header::decode(&with(4, uint(long))).unwrap_err();
    assert!(
        matches!(refused, OpenError::Limit { what: "number of segments", actual, .. } if actual == segments),
        "{refused}"
    );
    Header::decode(&with(4, uint(long - 65_536 - 32))).unwrap();
}

#[test]
fn an_unknown_hash_is_named() {
    let sha384 = Header::decode(&with(3, uint(2))).unwrap();
    assert_eq!(sha384.hash(), HashAlgorithm::Sha384);
    for id in [0, 3, u64::MAX] {
        let refused = Header::decode(&with(3, uint(id))).unwrap_err();
        assert!(
            matches!(&refused, OpenError::UnknownSuite(name) if *name == format!("hash {id}")),
            "{refused}"
        );
    }
}

#[test]
fn a_content_type_is_printable_and_has_two_parts() {
    for good in ["a/b", "application/vnd.x+json; charset=utf-8", "a/b/c"] {
        let header = Header::decode(&with(6, text(good))).unwrap();
        assert_eq!(header.content_type(), good);
    }
    for bad in [
        "",
        "text",
        "/plain",
        "text/",
        "text/pl\u{e9}in",
        "text/\u{1b}[2J",
        "a/\u{7f}",
    ] {
        let refused = Header::decode(&with(6, text(bad)));
        assert_malformed(refused, Malformed::ContentType, bad);
    }
    let longest = format!("a/{}", "b".repeat(CONTENT_TYPE_BYTES_MAX - 2));
    Header::decode(&with(6, text(&longest))).unwrap();
    let refused = Header::decode(&with(6, text(&format!("{longest}b")))).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Limit {
            what: "content type",
            ..
        }
    ));
}

#[test]
fn a_revision_counts_from_one() {
    assert_malformed(Header::decode(&with(8, uint(0))), Malformed::Revision, "0");
    let header = Header::decode(&with(8, uint(u64::MAX))).unwrap();
    assert_eq!(header.revision(), Some(u64::MAX));
}

#[test]
fn only_the_shortest_encoding_is_accepted() {
    let good = map(&entries());
    let padded = |key: u64, value: &[u8]| with(key, value.to_vec());
    for (case, bytes) in [
        ("a long version", padded(0, &[0x18, 1])),
        ("a long number", padded(3, &[0x19, 0, 1])),
        (
            "a long length",
            padded(1, &[&[0x58, 16][..], &[7; 16]].concat()),
        ),
        ("a trailing byte", [&good[..], &[0]].concat()),
        ("two headers", [&good[..], &good].concat()),
    ] {
        assert_malformed(Header::decode(&bytes), not_deterministic("header"), case);
    }
    let indefinite = [&[0xbf], &good[1..], &[0xff]].concat();
    assert_malformed(
        Header::decode(&indefinite),
        structure("header"),
        "indefinite",
    );
    for len in 0..good.len() {
        let refused = Header::decode(&good[..len]).unwrap_err();
        assert!(
            matches!(refused, OpenError::Malformed(_)),
            "{len}: {refused}"
        );
    }
}

#[test]
fn a_map_of_absurd_length_is_refused_without_memory_for_it() {
    for count in [7 + 513, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = encode(|e| e.map(count).map(drop));
        bytes.extend(&map(&entries())[1..]);
        assert_malformed(Header::decode(&bytes), structure("header"), "entries");
    }
}
