//! Reading signed models by parts.
#![allow(
    clippy::panic_in_result_fn,
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::{
    fs::{self, File},
    os::unix::{fs::FileExt, fs::symlink},
    path::PathBuf,
};

use casemate_crypto::{algorithm::HashAlgorithm, signature::SigningKey, suite::MLDSA65_ED25519};
use casemate_oms::{
    CheckedFile, ModelSignature, OmsError, SignedFile, SignedModel, Signing, Trusted, sign,
};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

struct Setup {
    home: TempDir,
    key: SigningKey,
}

impl Setup {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        fs::create_dir_all(home.path().join("m/sub")).unwrap();
        let desk = Self {
            home,
            key: SigningKey::generate(&MLDSA65_ED25519).unwrap(),
        };
        fs::write(desk.path("sub/large"), content()).unwrap();
        fs::write(desk.path("small"), "small").unwrap();
        fs::write(desk.path("empty"), "").unwrap();
        desk
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join("m").join(below)
    }

    fn sign(&self, below: &str, segment_hash: HashAlgorithm) -> ModelSignature {
        let signing = Signing {
            signer: Some(&self.key),
            classical: None,
            ignore: &[],
            output: None,
            follow_links: false,
            segment_hash,
        };
        let bytes = sign(&self.path(below), &signing, &|_| ()).unwrap();
        ModelSignature::decode(&bytes).unwrap()
    }

    fn open(&self, signature: &ModelSignature, below: &str) -> Result<SignedModel, OmsError> {
        let trusted = Trusted {
            signer: Some(self.key.verifying_key()),
            classical: None,
        };
        signature.open(&self.path(below), &[], &trusted)
    }

    fn opened(&self) -> SignedModel {
        self.open(&self.sign("", HashAlgorithm::Blake3), "")
            .unwrap()
    }
}

/// Three and a half segments, no two of which are equal.
fn content() -> Vec<u8> {
    let words = (0..u32::try_from(MIB * 7 / 8).unwrap()).map(|n| n.wrapping_mul(2_654_435_761));
    words.flat_map(u32::to_le_bytes).collect()
}

fn read(file: &CheckedFile, offset: usize, len: usize) -> Result<Vec<u8>, OmsError> {
    let mut copied = vec![0; len];
    let copied = file.copy_at(&mut copied, offset as u64).map(|()| copied);
    let mut out = vec![0xaa; len];
    let done = file.read_at(&mut out, offset as u64);
    if done.is_err() {
        assert!(out.iter().all(|byte| *byte == 0), "nothing unchecked stays");
    }
    let done = done.map(|()| out);
    assert_eq!(done.as_ref().ok(), copied.as_ref().ok());
    done
}

#[test]
fn every_range_is_what_was_signed() {
    let (desk, content) = (Setup::new(), content());
    for hash in [HashAlgorithm::Blake3, HashAlgorithm::Sha384] {
        let model = desk.open(&desk.sign("", hash), "").unwrap();
        let names: Vec<_> = model.files().iter().map(SignedFile::name).collect();
        assert_eq!(
            (names, model.name()),
            (vec!["empty", "small", "sub/large"], "m")
        );
        let file = model.find("sub/large").unwrap().open().unwrap();
        assert_eq!(
            (file.content_len(), file.segment_bytes()),
            (content.len() as u64, MIB as u64)
        );
        for (offset, len) in [
            (0, content.len()),
            (0, 8),
            (8, 100),
            (MIB - 1, 2),
            (MIB, MIB),
            (MIB / 2, 2 * MIB),
            (content.len() - 5, 5),
            (content.len(), 0),
        ] {
            assert_eq!(
                read(&file, offset, len).unwrap(),
                content[offset..offset + len]
            );
        }
        assert_eq!(*file.read_segment(3).unwrap(), content[3 * MIB..]);
        assert!(matches!(file.read_segment(4), Err(OmsError::Limit { .. })));
        let past = read(&file, content.len() - 5, 6);
        assert!(matches!(past, Err(OmsError::Limit { .. })), "{past:?}");
        let small = model.find("small").unwrap().open().unwrap();
        assert_eq!(read(&small, 1, 3).unwrap(), b"mal");
        let empty = model.find("empty").unwrap().open().unwrap();
        assert!(
            empty.read_segment(0).unwrap().is_empty() && read(&empty, 0, 0).unwrap().is_empty()
        );
    }
}

#[test]
fn a_changed_segment_is_refused_and_the_others_are_not() {
    let (desk, content) = (Setup::new(), content());
    let model = desk.opened();
    let file = model.find("sub/large").unwrap().open().unwrap();
    assert_eq!(read(&file, MIB, 8).unwrap(), content[MIB..MIB + 8]);
    let target = File::options()
        .write(true)
        .open(desk.path("sub/large"))
        .unwrap();
    target
        .write_all_at(&[!content[2 * MIB + 9]], 2 * MIB as u64 + 9)
        .unwrap();
    for (offset, len) in [
        (2 * MIB, 8),
        (2 * MIB, MIB),
        (MIB, 2 * MIB),
        (0, content.len()),
    ] {
        let refused = read(&file, offset, len).unwrap_err();
        assert!(matches!(refused, OmsError::Changed(_)), "{refused}");
    }
    file.read_segment(2).unwrap_err();
    assert_eq!(
        read(&file, 3 * MIB, 9).unwrap(),
        content[3 * MIB..3 * MIB + 9]
    );
    assert_eq!(read(&file, 0, 2 * MIB).unwrap(), content[..2 * MIB]);
    target
        .write_all_at(&[content[2 * MIB + 9]], 2 * MIB as u64 + 9)
        .unwrap();
    assert_eq!(read(&file, 0, content.len()).unwrap(), content);
    // Segments that changed places are right only where they were.
    target.write_all_at(&content[..MIB], MIB as u64).unwrap();
    read(&file, MIB, MIB).unwrap_err();
    // Cut short behind the back of an open file.
    target.set_len(3 * MIB as u64).unwrap();
    assert!(matches!(file.read_segment(3), Err(OmsError::Changed(_))));
}

#[test]
fn a_small_file_is_checked_whole() {
    let desk = Setup::new();
    let signature = desk.sign("", HashAlgorithm::Blake3);
    // Its length is not signed, so it must not be believed: also not that there is nothing.
    for changed in ["smalL", "smal", "smalls", ""] {
        fs::write(desk.path("small"), changed).unwrap();
        let model = desk.open(&signature, "").unwrap();
        let refused = model.find("small").unwrap().open().unwrap_err();
        assert!(matches!(refused, OmsError::Changed(_)), "{refused}");
    }
    fs::write(desk.path("small"), "small").unwrap();
    fs::write(desk.path("empty"), "x").unwrap();
    let model = desk.open(&signature, "").unwrap();
    model.find("small").unwrap().open().unwrap();
    model.find("empty").unwrap().open().unwrap_err();
}

#[test]
fn other_files_than_the_signed_ones_are_named() {
    let desk = Setup::new();
    let signature = desk.sign("", HashAlgorithm::Blake3);
    let refused = |expected: &str| {
        let found = desk.open(&signature, "").unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    };
    for name in ["a", "sub/a", "z"] {
        fs::write(desk.path(name), "").unwrap();
        refused(&format!("{name} was not signed"));
        fs::remove_file(desk.path(name)).unwrap();
    }
    for (name, content) in [
        ("empty", "".into()),
        ("small", "small".into()),
        ("sub/large", content()),
    ] {
        fs::remove_file(desk.path(name)).unwrap();
        refused(&format!("{name} is missing"));
        fs::write(desk.path(name), [content.as_slice(), b"x"].concat()).unwrap();
        if name == "sub/large" {
            refused("sub/large was changed");
        }
        fs::write(desk.path(name), content).unwrap();
    }
    fs::remove_file(desk.path("small")).unwrap();
    symlink("empty", desk.path("small")).unwrap();
    refused("is a symbolic link");
    fs::remove_file(desk.path("small")).unwrap();
    fs::write(desk.path("small"), "small").unwrap();
    let model = desk.open(&signature, "").unwrap();
    // What takes a file's place later is not waited for.
    fs::remove_file(desk.path("small")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, desk.path("small"), 0o600.into()).unwrap();
    let refused = model.find("small").unwrap().open().unwrap_err();
    assert!(matches!(refused, OmsError::Special(_)), "{refused}");
    // Nor is a link followed, on no part of the way.
    fs::remove_file(desk.path("small")).unwrap();
    fs::write(desk.home.path().join("small"), "small").unwrap();
    symlink(desk.home.path().join("small"), desk.path("small")).unwrap();
    let refused = model.find("small").unwrap().open().unwrap_err();
    assert!(matches!(refused, OmsError::Link(_)), "{refused}");
    fs::rename(desk.path("sub"), desk.home.path().join("sub")).unwrap();
    symlink(desk.home.path().join("sub"), desk.path("sub")).unwrap();
    let refused = model.find("sub/large").unwrap().open().unwrap_err();
    assert!(matches!(refused, OmsError::Link(_)), "{refused}");
}

#[test]
fn a_model_of_one_file_and_another_key() {
    let desk = Setup::new();
    let signature = desk.sign("sub/large", HashAlgorithm::Sha384);
    let model = desk.open(&signature, "sub/large").unwrap();
    let file = model.find(".").unwrap().open().unwrap();
    assert_eq!(read(&file, 0, content().len()).unwrap(), content());
    let other = Setup::new();
    let refused = other.open(&signature, "sub/large").unwrap_err();
    assert!(matches!(refused, OmsError::OtherSigner { .. }), "{refused}");
}
