//! Lost responses, interrupted copies and new recipients.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use casemate_crypto::kem::KemPrivateKey;
use casemate_seal::{
    Artifact, NewTail, OpenError, Origin, ReadAt as _, WriteAt as _, file::Existing, new_tail,
};
use object_store::ObjectStoreExt as _;

use super::{ALICE, BOB, RUNTIME, artifact, faulty::Faulty, object};
use crate::{Location, RemoteObject, Sent, Upload, replace_tail, send, send::journal_name};

/// Longer than two parts.
const LONG: usize = 20 << 20;
const SHORT: usize = 1 << 20;
/// Number of parts that a copy sends at once.
const PART: u64 = 8 << 20;

fn stored(at: &Location) -> Vec<u8> {
    let object = RemoteObject::open(at).unwrap();
    let mut bytes = vec![0; object.byte_len().unwrap() as usize];
    object.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

struct Copy {
    store: Arc<Faulty>,
    to: Location,
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let store = Arc::new(Faulty::new());
        Self {
            to: object(&store, "model.sealed"),
            store,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join(journal_name(&self.to))
    }

    fn send(&self, bytes: &[u8], existing: Existing) -> io::Result<Sent> {
        send(
            &bytes.to_vec(),
            &self.to,
            existing,
            &self.journal(),
            &|_| (),
        )
    }
}

#[test]
fn a_lost_answer_is_a_success_if_the_object_is_there() {
    for len in [SHORT, LONG] {
        let copy = Copy::new();
        let bytes = artifact(len);
        copy.store.loses_answer.store(true, Ordering::SeqCst);
        let sent = copy.send(&bytes, Existing::Keep).unwrap();
        assert_eq!((sent.len, sent.resumed), (bytes.len() as u64, 0));
        assert!(stored(&copy.to) == bytes);
        assert!(!copy.journal().exists());
    }
}

#[test]
fn a_failure_is_one_if_the_object_is_not_there() {
    let copy = Copy::new();
    copy.store.fails_completion.store(true, Ordering::SeqCst);
    let failed = copy.send(&artifact(LONG), Existing::Keep).unwrap_err();
    assert!(
        failed.to_string().contains("the answer was lost"),
        "{failed}"
    );
    let missing = RemoteObject::open(&copy.to).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_interrupted_copy_goes_on_and_sends_no_part_twice() {
    let copy = Copy::new();
    let bytes = artifact(LONG);
    copy.store.parts_left.store(2, Ordering::SeqCst);
    copy.send(&bytes, Existing::Keep).unwrap_err();
    assert!(copy.journal().exists());
    copy.store.parts_left.store(usize::MAX, Ordering::SeqCst);
    let sent = copy.send(&bytes, Existing::Keep).unwrap();
    assert_eq!(sent.resumed, 2 * PART);
    assert_eq!(copy.store.parts_taken.load(Ordering::SeqCst), 3);
    assert!(stored(&copy.to) == bytes);
    // Again: it is already there.
    let again = copy.send(&bytes, Existing::Keep).unwrap();
    assert_eq!(again.resumed, again.len);
}

#[test]
fn another_file_does_not_go_on_with_the_parts_of_the_first() {
    let copy = Copy::new();
    copy.store.parts_left.store(2, Ordering::SeqCst);
    copy.send(&artifact(LONG), Existing::Keep).unwrap_err();
    copy.store.parts_left.store(usize::MAX, Ordering::SeqCst);
    let other = artifact(LONG);
    assert_eq!(copy.send(&other, Existing::Keep).unwrap().resumed, 0);
    assert!(stored(&copy.to) == other);
}

#[test]
fn a_journal_that_is_none_is_written_anew() {
    let copy = Copy::new();
    let bytes = artifact(LONG);
    fs::write(copy.journal(), b"{").unwrap();
    assert_eq!(copy.send(&bytes, Existing::Keep).unwrap().resumed, 0);
    assert!(stored(&copy.to) == bytes);
}

#[test]
fn nothing_is_put_in_the_place_of_something_else_unasked() {
    let copy = Copy::new();
    let (first, second) = (artifact(SHORT), artifact(LONG));
    copy.send(&first, Existing::Keep).unwrap();
    let refused = copy.send(&second, Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert!(stored(&copy.to) == first);
    copy.send(&second, Existing::Replace).unwrap();
    assert!(stored(&copy.to) == second);
}

#[test]
fn an_upload_that_is_dropped_leaves_no_object() {
    let copy = Copy::new();
    let upload = Upload::create(&copy.to, LONG as u64, Existing::Keep).unwrap();
    upload.write_all_at(&vec![7; 9 << 20], 0).unwrap();
    drop(upload);
    let missing = RemoteObject::open(&copy.to).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_upload_with_a_hole_is_refused() {
    let copy = Copy::new();
    let upload = Upload::create(&copy.to, LONG as u64, Existing::Keep).unwrap();
    upload.write_all_at(&vec![7; 8 << 20], 0).unwrap();
    upload.write_all_at(&[7], 17 << 20).unwrap();
    let refused = upload.commit().unwrap_err();
    assert!(
        refused.to_string().contains("was never written"),
        "{refused}"
    );
}

fn for_bob(object: &RemoteObject) -> NewTail {
    let artifact = Artifact::read(object).unwrap();
    let recipients = [BOB.public_key()];
    new_tail(
        &artifact,
        &ALICE,
        Origin::Unchecked,
        &|_| false,
        &recipients,
        None,
    )
    .unwrap()
}

#[test]
fn new_recipients_open_the_same_content_and_the_old_ones_do_not() {
    for len in [SHORT, LONG] {
        let copy = Copy::new();
        let before = artifact(len);
        copy.send(&before, Existing::Keep).unwrap();
        let opened = RemoteObject::open(&copy.to).unwrap();
        replace_tail(&opened, &for_bob(&opened)).unwrap();
        let after = stored(&copy.to);
        let body = Artifact::read(&before).unwrap().header().body_len() as usize;
        assert!(after[..body] == before[..body]);
        let content = |bytes: &Vec<u8>, key: &KemPrivateKey| -> Result<Vec<u8>, OpenError> {
            let opened = Artifact::read(bytes.clone())?.open(key, Origin::Unchecked)?;
            opened
                .read_all(u64::MAX, &|_| ())
                .map(|content| content.to_vec())
        };
        assert!(content(&after, &BOB).unwrap() == content(&before, &ALICE).unwrap());
        content(&after, &ALICE).unwrap_err();
    }
}

#[test]
fn an_object_that_somebody_else_replaced_keeps_their_content() {
    for len in [SHORT, LONG] {
        let copy = Copy::new();
        copy.send(&artifact(len), Existing::Keep).unwrap();
        let opened = RemoteObject::open(&copy.to).unwrap();
        let tail = for_bob(&opened);
        let theirs = artifact(len);
        RUNTIME
            .block_on(copy.store.inner.put(&copy.to.path, theirs.clone().into()))
            .unwrap();
        let refused = replace_tail(&opened, &tail).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy, "{refused}");
        assert!(stored(&copy.to) == theirs);
    }
}
