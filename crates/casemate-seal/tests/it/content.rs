//! Content of any length, read in any pieces, and its digest.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use casemate_seal::{
    Artifact, HashAlgorithm, Opened, Origin, Private, SealOptions, SegmentSize, content_digest,
    seal,
};
use proptest::prelude::*;

use crate::support::{KEM, SIGNER};

const SEGMENT: u64 = 65_536;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

fn sealed(content: &[u8], hash: HashAlgorithm) -> (Vec<u8>, Option<Vec<u8>>) {
    let options = SealOptions {
        recipients: &[KEM.public_key()],
        signer: Some(&SIGNER),
        segment_size: SegmentSize::new(SEGMENT).unwrap(),
        hash,
        created: 1_700_000_000,
        content_type: "application/octet-stream",
        private: &Private::default(),
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: true,
    };
    let (sink, told) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let count = |bytes| _ = told.fetch_add(bytes, Ordering::Relaxed);
    let done = seal(&content, &sink, &options, &count).unwrap();
    assert_eq!(told.into_inner(), content.len() as u64);
    (sink.into_inner().unwrap(), done.content)
}

fn opened(bytes: &[u8]) -> Opened<&[u8]> {
    let artifact = Artifact::read(bytes).unwrap();
    artifact
        .open(&KEM, Origin::SignedBy(SIGNER.verifying_key()))
        .unwrap()
}

#[test]
fn the_digest_is_that_of_the_content_whatever_it_is_sealed_to() {
    let size = SegmentSize::new(SEGMENT).unwrap();
    for hash in [HashAlgorithm::Blake3, HashAlgorithm::Sha384] {
        let mut seen = Vec::new();
        for len in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let content = content(len);
            let (_, digest) = sealed(&content, hash);
            let digest = digest.unwrap();
            assert_eq!(digest.len(), hash.bytes());
            let again = content_digest(&content, size, hash, &|_| ()).unwrap();
            assert_eq!(digest, again, "{len}");
            assert!(!seen.contains(&digest), "{len}");
            seen.push(digest);
        }
        // Another segment size gives another tree.
        let other = SegmentSize::new(2 * SEGMENT).unwrap();
        let digest = content_digest(&content(200_000), other, hash, &|_| ()).unwrap();
        assert!(!seen.contains(&digest));
    }
}

#[test]
fn a_reader_past_the_end_gets_an_error_and_no_bytes() {
    let (bytes, _) = sealed(&content(100_000), HashAlgorithm::Blake3);
    let opened = opened(&bytes);
    for (offset, len) in [(100_000, 1), (99_999, 2), (0, 100_001), (u64::MAX, 1)] {
        let mut out = vec![0xee; len];
        opened.read_at(&mut out, offset).unwrap_err();
    }
    opened.read_at(&mut [], 100_000).unwrap();
}

#[test]
fn segments_are_counted_from_zero_to_the_last() {
    let all = content(150_000);
    let (bytes, _) = sealed(&all, HashAlgorithm::Blake3);
    let opened = opened(&bytes);
    assert_eq!(
        (opened.content_len(), opened.segment_bytes()),
        (150_000, SEGMENT)
    );
    let mut read = Vec::new();
    for index in 0..3 {
        read.extend_from_slice(&opened.read_segment(index).unwrap());
    }
    assert!(read == all);
    for index in [3, u64::MAX] {
        assert!(opened.read_segment(index).is_err(), "{index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_content_comes_back_in_any_pieces(
        len in 0..300_000_usize,
        ranges in proptest::collection::vec((0..300_000_usize, 0..300_000_usize), 1..12),
    ) {
        let all = content(len);
        let (bytes, _) = sealed(&all, HashAlgorithm::Blake3);
        let opened = opened(&bytes);
        prop_assert_eq!(opened.content_len(), len as u64);
        for (first, second) in ranges {
            let at = |place: usize| place.min(len);
            let (start, end) = (at(first).min(at(second)), at(first).max(at(second)));
            let mut out = vec![0; end - start];
            opened.read_at(&mut out, start as u64).unwrap();
            prop_assert!(out == all[start..end], "{start}..{end} of {len}");
        }
        let whole = opened.read_all(300_000, &|_| ()).unwrap();
        prop_assert!(*whole == *all);
    }
}
