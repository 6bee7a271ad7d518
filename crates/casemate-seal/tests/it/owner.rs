//! Who may change recipients, and what a reader demands of revisions and lists.

use std::{
    io::{self, Read as _, Seek as _, Write as _},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use casemate_crypto::signature::SigningKey;
use casemate_seal::{
    Artifact, Delegation, ListSigner, OpenError, Origin, OwnerError, ReadAt, RewrapError,
    SealError, SealOptions, WriteAt as _, change_recipients, new_tail, seal,
};

use crate::support::{
    KEM, OTHER_KEM, OTHER_SIGNER, SEGMENT, SIGNER, content, options, seal_in_memory,
};

const NOW: u64 = 1_700_000_000;

const fn list_signer(key: &SigningKey) -> ListSigner<'_> {
    ListSigner {
        key,
        delegation: None,
        epoch: None,
        now: NOW,
    }
}

/// Seals to `KEM`, signed by `SIGNER`.
fn sealed(owner: Option<ListSigner<'_>>, revision: Option<u64>, plain: &[u8]) -> Vec<u8> {
    let recipients = [KEM.public_key()];
    let options = SealOptions {
        revision,
        owner,
        ..options(&recipients)
    };
    seal_in_memory(plain, &options).unwrap()
}

/// Adds a recipient, as whoever `owner` is.
fn add(artifact: &[u8], owner: Option<ListSigner<'_>>) -> Result<Vec<u8>, RewrapError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(artifact).unwrap();
    let added = [OTHER_KEM.public_key()];
    change_recipients(&file, &KEM, Origin::Unchecked, &|_| true, &added, owner)?;
    file.rewind().unwrap();
    let mut changed = Vec::new();
    file.read_to_end(&mut changed).unwrap();
    Ok(changed)
}

#[test]
fn only_the_owner_and_its_delegate_change_the_recipients() {
    let (owner, delegate) = (&*SIGNER, &*OTHER_SIGNER);
    let artifact = sealed(Some(list_signer(owner)), None, b"weights");
    let refused = |signer: Option<ListSigner<'_>>| match add(&artifact, signer).unwrap_err() {
        RewrapError::Seal(error) => error,
        RewrapError::Open(error) => panic!("{error}"),
    };
    assert!(
        matches!(refused(None), SealError::OwnerNeeded(id) if id == owner.verifying_key().id().unwrap())
    );
    let other = refused(Some(list_signer(delegate)));
    assert!(
        matches!(other, SealError::Owner(OwnerError::OtherOwner)),
        "{other}"
    );
    let by = |delegator: &SigningKey| {
        Delegation::sign(delegator, delegate.verifying_key(), NOW + 10, NOW).unwrap()
    };
    let as_delegate = |named: &SigningKey, delegation: &Delegation| {
        let signer = ListSigner {
            delegation: Some((named.verifying_key(), delegation)),
            ..list_signer(delegate)
        };
        add(&artifact, Some(signer))
    };
    as_delegate(delegate, &by(delegate)).unwrap_err();
    for changed in [
        add(&artifact, Some(list_signer(owner))).unwrap(),
        as_delegate(owner, &by(owner)).unwrap(),
    ] {
        let read = Artifact::read(&changed).unwrap();
        assert_eq!(read.recipients().len(), 2);
        assert_eq!(read.recipient_list().unwrap().epoch, 2);
        read.require_epoch(2).unwrap();
        let opened = read
            .open(&OTHER_KEM, Origin::SignedBy(owner.verifying_key()))
            .unwrap();
        assert_eq!(
            opened.read_all(u64::MAX, &|_| ()).unwrap().to_vec(),
            b"weights"
        );
    }
    // Without an owner, nobody signs the list.
    let free = sealed(None, None, b"weights");
    let error = add(&free, Some(list_signer(owner))).unwrap_err();
    assert!(
        matches!(error, RewrapError::Seal(SealError::NoOwner)),
        "{error:?}"
    );
    add(&free, None).unwrap();
}

#[test]
fn older_revisions_and_lists_than_the_least_acceptable_are_refused() {
    let artifact = sealed(Some(list_signer(&SIGNER)), Some(7), b"weights");
    let read = Artifact::read(&artifact).unwrap();
    read.require_revision(6).unwrap();
    read.require_revision(7).unwrap();
    let error = read.require_revision(8).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Revision {
                found: Some(7),
                minimum: 8
            }
        ),
        "{error}"
    );
    read.require_epoch(1).unwrap();
    let error = read.require_epoch(2).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Epoch {
                found: Some(1),
                minimum: 2
            }
        ),
        "{error}"
    );
    let plain = sealed(None, None, b"weights");
    let read = Artifact::read(&plain).unwrap();
    let error = read.require_revision(0).unwrap_err();
    assert!(
        matches!(error, OpenError::Revision { found: None, .. }),
        "{error}"
    );
    let error = read.require_epoch(0).unwrap_err();
    assert!(
        matches!(error, OpenError::Epoch { found: None, .. }),
        "{error}"
    );
}

#[test]
fn what_trust_files_list_an_artifact_by_differs_between_artifacts() {
    let (one, two) = ([1, 2], [3, 4]);
    let digests = |plain: &[u8]| {
        let artifact = sealed(Some(list_signer(&SIGNER)), None, plain);
        let read = Artifact::read(&artifact).unwrap();
        let again = Artifact::read(&artifact).unwrap();
        assert_eq!(read.message_digest(), again.message_digest());
        assert!(read.signature().is_some());
        (read.message_digest(), read.recipients_digest().unwrap())
    };
    let ((one, list_of_one), (two, list_of_two)) = (digests(&one), digests(&two));
    assert_ne!(one, two);
    assert_ne!(list_of_one, list_of_two);
    assert_ne!(one, list_of_one);
}

#[test]
fn a_new_tail_replaces_the_old_one_after_the_body() {
    let artifact = sealed(None, None, &content(SEGMENT + 5));
    let read = Artifact::read(&artifact).unwrap();
    let added = [OTHER_KEM.public_key()];
    let tail = new_tail(&read, &KEM, Origin::Unchecked, &|_| false, &added, None).unwrap();
    let body = usize::try_from(tail.body_len).unwrap();
    let moved = [&artifact[..body], &tail.encode().unwrap()].concat();
    let opened = Artifact::read(&moved).unwrap();
    let opened = opened.open(&OTHER_KEM, Origin::Unchecked).unwrap();
    assert_eq!(opened.segment_bytes(), SEGMENT as u64);
    for (offset, segment) in [(0, 0), (SEGMENT - 1, 0), (SEGMENT, 1), (SEGMENT + 4, 1)] {
        assert_eq!(opened.segment_at(offset as u64), segment, "{offset}");
    }
    assert_eq!(
        opened.read_all(u64::MAX, &|_| ()).unwrap().to_vec(),
        content(SEGMENT + 5)
    );
}

/// Content whose length changes after it was first asked for.
struct Growing {
    bytes: Vec<u8>,
    asked: AtomicU64,
}

impl ReadAt for Growing {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_exact_at(out, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64 + self.asked.fetch_add(1, Ordering::Relaxed).min(1))
    }
}

#[test]
fn content_whose_length_changes_while_it_is_sealed_is_refused() {
    let growing = Growing {
        bytes: content(SEGMENT),
        asked: AtomicU64::new(0),
    };
    let sink = Mutex::new(Vec::new());
    let error = seal(&growing, &sink, &options(&[KEM.public_key()]), &|_| ()).unwrap_err();
    assert!(matches!(error, SealError::Io { .. }), "{error}");
}

#[test]
fn memory_is_written_past_its_end_and_read_without_a_copy() {
    let sink = Mutex::new(vec![1, 2]);
    sink.write_all_at(&[9], 2).unwrap();
    sink.write_all_at(&[8], 0).unwrap();
    sink.write_all_at(&[7], 5).unwrap();
    assert_eq!(sink.into_inner().unwrap(), [8, 2, 9, 0, 0, 7]);
    let bytes = vec![4, 5, 6];
    assert_eq!(bytes.in_memory(0, 3), Some(&[4, 5, 6][..]));
    let borrowed = &bytes;
    let found = <&Vec<u8> as ReadAt>::in_memory(&borrowed, 1, 2);
    assert_eq!(found, Some(&[5, 6][..]));
    assert_eq!(Box::new(bytes).in_memory(2, 1), Some(&[6][..]));
}
