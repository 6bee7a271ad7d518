//! Every rule of manifests and public lists, from bytes that a writer of ours would not produce.

use casemate_testkit::cbor::{array, bytes, encode, map, text, uint};

use super::{FolderError, Manifest, PublicList, RelativePath};
use crate::limits::{FILES_MAX, MANIFEST_BYTES_MAX, RECIPIENTS_MAX};

/// A file sealed to the set of keys `set`.
fn file(path: &str, set: u64) -> Vec<u8> {
    array(&[
        text(path),
        uint(10),
        bytes(&[1; 16]),
        bytes(&[2; 32]),
        bytes(&[3; 32]),
        uint(set),
    ])
}

fn keys(all: &[u8]) -> Vec<u8> {
    let all: Vec<_> = all.iter().map(|byte| bytes(&[*byte; 32])).collect();
    array(&all)
}

fn entries() -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, uint(1)),
        (1, bytes(&[9; 16])),
        (2, uint(7)),
        (3, array(&[file("a", 0), file("b/c", 1), file("d", 0)])),
        (4, array(&[keys(&[1, 2]), keys(&[3])])),
    ]
}

fn with(key: usize, value: Vec<u8>) -> Result<Manifest, FolderError> {
    let mut entries = entries();
    entries[key].1 = value;
    Manifest::decode(&map(&entries))
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(refused: Result<T, FolderError>, rule: &str) {
    match refused {
        Err(FolderError::Manifest(found)) => assert_eq!(found, rule),
        other => panic!("{other:?} instead of: {rule}"),
    }
}

const STRUCTURE: &str = "unexpected CBOR structure";

#[test]
fn a_manifest_is_read_as_the_specification_says_and_written_back() {
    let encoded = map(&entries());
    let manifest = Manifest::decode(&encoded).unwrap();
    assert_eq!((manifest.revision, manifest.expires), (7, None));
    assert_eq!(manifest.id.to_string(), "09".repeat(16));
    assert_eq!(manifest.content_len(), 30);
    let paths: Vec<_> = manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(paths, ["a", "b/c", "d"]);
    let sealed_to = |path: &str| {
        let file = manifest.find(path).unwrap();
        file.sealed_to
            .iter()
            .map(|key| key.as_bytes()[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (sealed_to("a"), sealed_to("b/c"), sealed_to("d")),
        (vec![1, 2], vec![3], vec![1, 2])
    );
    assert!(manifest.find("b").is_none());
    assert_eq!(manifest.encode(), encoded);
    let mut dated = entries();
    dated.push((5, uint(1_800_000_000)));
    let manifest = Manifest::decode(&map(&dated)).unwrap();
    assert_eq!(manifest.expires, Some(1_800_000_000));
    assert_eq!(manifest.encode(), map(&dated));
}

#[test]
fn another_version_is_named_first() {
    for version in [0, 2, u64::MAX] {
        assert_refused(
            Manifest::decode(&map(&[(0, uint(version))])),
            "unknown version",
        );
    }
}

#[test]
fn entries_that_are_missing_more_or_out_of_order_are_refused() {
    for missing in 0..5 {
        let mut left = entries();
        left.remove(missing);
        assert_refused(Manifest::decode(&map(&left)), STRUCTURE);
    }
    for first in 0..4 {
        let mut swapped = entries();
        swapped.swap(first, first + 1);
        assert_refused(Manifest::decode(&map(&swapped)), STRUCTURE);
    }
    let mut more = entries();
    more.extend([(5, uint(1)), (6, uint(1))]);
    assert_refused(Manifest::decode(&map(&more)), STRUCTURE);
    let good = map(&entries());
    for len in 0..good.len() {
        assert_refused(Manifest::decode(&good[..len]), STRUCTURE);
    }
    let trailing = [&good[..], &[0]].concat();
    assert_refused(Manifest::decode(&trailing), "not in deterministic encoding");
}

#[test]
fn ids_revisions_and_hashes_have_their_lengths_and_ranges() {
    for len in [0, 15, 17] {
        assert_refused(with(1, bytes(&vec![9; len])), STRUCTURE);
    }
    assert_refused(with(2, uint(0)), "revisions start at 1");
    let hashed = |id: usize, root: usize, digest: usize| {
        let file = array(&[
            text("a"),
            uint(10),
            bytes(&vec![1; id]),
            bytes(&vec![2; root]),
            bytes(&vec![3; digest]),
            uint(0),
        ]);
        let mut entries = entries();
        entries[3].1 = array(&[file]);
        entries[4].1 = array(&[keys(&[1])]);
        Manifest::decode(&map(&entries))
    };
    hashed(16, 32, 32).unwrap();
    hashed(16, 48, 48).unwrap();
    assert_refused(hashed(15, 32, 32), STRUCTURE);
    for (root, digest) in [(32, 48), (48, 32), (31, 31), (0, 0), (64, 64)] {
        assert_refused(
            hashed(16, root, digest),
            "a root or digest has the wrong length",
        );
    }
}

#[test]
fn files_are_in_order_and_none_is_the_folder_of_another() {
    let files = |paths: &[&str]| {
        let files: Vec<_> = paths.iter().map(|path| file(path, 0)).collect();
        let mut entries = entries();
        entries[3].1 = array(&files);
        entries[4].1 = array(&[keys(&[1])]);
        Manifest::decode(&map(&entries))
    };
    files(&["a", "b"]).unwrap();
    assert_refused(files(&["b", "a"]), "paths are not in ascending order");
    assert_refused(files(&["a", "a"]), "paths are not in ascending order");
    assert_refused(files(&[]), "it lists no files");
    for paths in [
        &["a", "a/b"][..],
        &["a", "a.sealed/b"],
        &["/a"],
        &["../a"],
        &["a\u{202e}"],
    ] {
        let refused = files(paths).unwrap_err();
        assert!(matches!(refused, FolderError::Path { .. }), "{refused}");
    }
}

#[test]
fn sets_of_keys_are_used_and_written_once() {
    let sets = |files: &[Vec<u8>], sets: &[Vec<u8>]| {
        let mut entries = entries();
        entries[3].1 = array(files);
        entries[4].1 = array(sets);
        Manifest::decode(&map(&entries))
    };
    let two = [file("a", 0), file("b", 1)];
    sets(&two, &[keys(&[1]), keys(&[2])]).unwrap();
    // A set that no file has, or an index beyond the sets.
    assert_refused(sets(&[file("a", 1)], &[keys(&[1])]), STRUCTURE);
    assert_refused(sets(&[file("a", u64::MAX)], &[keys(&[1])]), STRUCTURE);
    assert_refused(sets(&[file("a", 0)], &[keys(&[1]), keys(&[2])]), STRUCTURE);
    assert_refused(sets(&[file("a", 0)], &[]), STRUCTURE);
    assert_refused(sets(&[file("a", 0)], &[keys(&[])]), STRUCTURE);
    let unused = [file("a", 0), file("b", 0)];
    assert_refused(
        sets(&unused, &[keys(&[1]), keys(&[2])]),
        "not in deterministic encoding",
    );
    assert_refused(
        sets(&two, &[keys(&[1]), keys(&[1])]),
        "not in deterministic encoding",
    );
    let backwards = [file("a", 1), file("b", 0)];
    assert_refused(
        sets(&backwards, &[keys(&[1]), keys(&[2])]),
        "not in deterministic encoding",
    );
    let short = array(&[bytes(&[1; 31])]);
    assert_refused(sets(&[file("a", 0)], &[short]), STRUCTURE);
    let many = |count: usize| array(&vec![bytes(&[1; 32]); count]);
    sets(&[file("a", 0)], &[many(RECIPIENTS_MAX)]).unwrap();
    assert_refused(
        sets(&[file("a", 0)], &[many(RECIPIENTS_MAX + 1)]),
        STRUCTURE,
    );
}

#[test]
fn counts_and_lengths_have_limits_and_allocate_nothing() {
    for count in [FILES_MAX as u64 + 1, u64::from(u32::MAX), u64::MAX] {
        let mut absurd = encode(|e| e.array(count).map(drop));
        absurd.extend(file("a", 0));
        let refused = with(3, absurd).unwrap_err();
        assert!(
            matches!(refused, FolderError::TooManyFiles { .. }),
            "{refused}"
        );
    }
    let long = vec![0; MANIFEST_BYTES_MAX + 1];
    assert_refused(Manifest::decode(&long), "longer than 64 MiB");
}

fn public(path: &str, header: usize) -> Vec<u8> {
    array(&[text(path), bytes(&vec![1; header]), bytes(&[2; 32])])
}

#[test]
fn a_public_list_breaks_no_rule() {
    let refused = "the public list is not valid";
    let good = array(&[public("a", 48), public("b/c", 48)]);
    let list = PublicList::decode(&good).unwrap();
    assert_eq!(list.encode(), good);
    assert_eq!(list.files().len(), 2);
    assert_eq!(list.find("b/c").unwrap().header, [1; 48]);
    assert!(list.find("b").is_none());
    for bytes in [
        array(&[]),
        array(&[public("a", 47)]),
        array(&[public("a", 49)]),
        array(&[array(&[text("a"), bytes(&[1; 48])])]),
        array(&[text("a")]),
        map(&[]),
        Vec::new(),
        [&good[..], &[0]].concat(),
        good[..good.len() - 1].to_vec(),
    ] {
        assert_refused(PublicList::decode(&bytes), refused);
    }
    let backwards = array(&[public("b", 48), public("a", 48)]);
    assert_refused(
        PublicList::decode(&backwards),
        "paths are not in ascending order",
    );
    let outside = PublicList::decode(&array(&[public("../a", 48)])).unwrap_err();
    assert!(matches!(outside, FolderError::Path { .. }), "{outside}");
    let absurd = encode(|e| e.array(u64::MAX).map(drop));
    let refused = PublicList::decode(&absurd).unwrap_err();
    assert!(
        matches!(refused, FolderError::TooManyFiles { .. }),
        "{refused}"
    );
}

#[test]
fn a_public_list_agrees_with_its_manifest_only() {
    let manifest = Manifest::decode(&map(&entries())).unwrap();
    let same = array(&[public("a", 48), public("b/c", 48), public("d", 48)]);
    assert!(PublicList::decode(&same).unwrap().agrees_with(&manifest));
    let other_root = array(&[text("d"), bytes(&[1; 48]), bytes(&[3; 32])]);
    for list in [
        array(&[public("a", 48), public("b/c", 48)]),
        array(&[public("a", 48), public("b/c", 48), public("e", 48)]),
        array(&[public("a", 48), public("b/c", 48), other_root]),
    ] {
        assert!(!PublicList::decode(&list).unwrap().agrees_with(&manifest));
    }
}

#[test]
fn a_path_has_a_name_and_an_artifact_beside_it() {
    let path = RelativePath::new("a/b.bin").unwrap();
    assert_eq!((path.as_str(), path.file_name()), ("a/b.bin", "b.bin"));
    assert_eq!(path.sealed(), std::path::Path::new("a/b.bin.sealed"));
    assert_eq!(RelativePath::new("b").unwrap().file_name(), "b");
}
