use casemate_crypto::{
    encoding::KeyId,
    signature::{SigningKey, VerifyingKey},
    suite::MLDSA65_ED25519,
};

use super::*;
use crate::{
    RecipientRecord,
    error::{OwnerError, SealError},
    layout::{Layout, SegmentSize},
    limits::{SIGNATURE_BYTES_MAX, SPKI_BYTES_MAX},
    wire::{ArtifactId, Delegation, Header, ListSigner, RecipientList},
};

fn signing_key() -> SigningKey {
    SigningKey::generate(&MLDSA65_ED25519).unwrap()
}

fn id(key: &VerifyingKey) -> KeyId {
    key.id().unwrap()
}

fn header(owner: Option<KeyId>) -> Header {
    Header {
        id: ArtifactId::from_bytes([1; 16]),
        hash: crate::HashAlgorithm::Blake3,
        layout: Layout::of_content(SegmentSize::default(), 0).unwrap(),
        created: 0,
        content_type: "a/b".to_owned(),
        publisher: None,
        revision: None,
        owner,
        unknown: Vec::new(),
    }
}

fn recipients(byte: u8) -> Vec<RecipientRecord> {
    vec![RecipientRecord {
        suite: &casemate_crypto::suite::MLKEM768_X25519,
        key: KeyId::from_bytes([byte; 32]),
        enc: vec![3; 1120],
        ct: vec![4; 48],
    }]
}

const fn by(key: &SigningKey) -> ListSigner<'_> {
    ListSigner {
        key,
        delegation: None,
        epoch: None,
        now: 1000,
    }
}

#[test]
fn a_list_holds_for_its_artifact_its_recipients_and_its_owner() {
    let owner = signing_key();
    let header = header(Some(id(owner.verifying_key())));
    let list = by(&owner).sign(&header, None, &recipients(1)).unwrap();
    assert_eq!((list.epoch, list.date), (1, 1000));
    assert_eq!(id(&list.owner_key().unwrap()), id(owner.verifying_key()));
    assert_eq!(id(&list.signer().unwrap()), id(owner.verifying_key()));
    let check = |header: &Header, list: &RecipientList, recipients: &[RecipientRecord]| {
        RecipientList::check(Some(list), header, recipients)
    };
    check(&header, &list, &recipients(1)).unwrap();
    let signature = |refused: Result<(), OpenError>| {
        matches!(refused, Err(OpenError::Owner(OwnerError::Signature)))
    };
    assert!(
        signature(check(&header, &list, &recipients(2))),
        "recipients"
    );
    assert!(signature(check(&header, &list, &[])), "no recipients");
    let mut other = header.clone();
    other.id = ArtifactId::from_bytes([2; 16]);
    assert!(signature(check(&other, &list, &recipients(1))), "artifact");
    for (epoch, date) in [(2, 1000), (1, 1001)] {
        let mut changed = list.clone();
        (changed.epoch, changed.date) = (epoch, date);
        assert!(
            signature(check(&header, &changed, &recipients(1))),
            "{epoch} {date}"
        );
    }
    let mut flipped = list.clone();
    flipped.signature[0] ^= 1;
    assert!(
        signature(check(&header, &flipped, &recipients(1))),
        "signature"
    );
    let other = signing_key();
    let refused = check(
        &self::header(Some(id(other.verifying_key()))),
        &list,
        &recipients(1),
    );
    assert!(
        matches!(refused, Err(OpenError::Owner(OwnerError::OtherOwner))),
        "{refused:?}"
    );
    let mut unreadable = list;
    unreadable.owner.pop();
    let refused = check(&header, &unreadable, &recipients(1));
    assert!(
        matches!(refused, Err(OpenError::Owner(OwnerError::Key))),
        "{refused:?}"
    );
}

#[test]
fn an_artifact_has_a_list_if_and_only_if_it_has_an_owner() {
    let owner = signing_key();
    let owned = header(Some(id(owner.verifying_key())));
    let list = by(&owner).sign(&owned, None, &recipients(1)).unwrap();
    RecipientList::check(None, &header(None), &recipients(1)).unwrap();
    let refused = RecipientList::check(Some(&list), &header(None), &recipients(1));
    assert_malformed(refused, Malformed::ListWithoutOwner, "without an owner");
    let refused = RecipientList::check(None, &owned, &recipients(1));
    assert!(
        matches!(refused, Err(OpenError::Owner(OwnerError::Missing))),
        "{refused:?}"
    );
}

#[test]
fn epochs_only_grow() {
    let owner = signing_key();
    let next = |epoch, before| {
        ListSigner {
            epoch,
            ..by(&owner)
        }
        .next_epoch(before)
    };
    assert_eq!(next(None, None).unwrap(), 1);
    assert_eq!(next(None, Some(7)).unwrap(), 8);
    assert_eq!(next(Some(8), Some(7)).unwrap(), 8);
    assert_eq!(next(Some(100), Some(7)).unwrap(), 100);
    for epoch in [0, 1, 7] {
        let refused = next(Some(epoch), Some(7)).unwrap_err();
        assert!(
            matches!(refused, SealError::Epoch { epoch: found, next: 8 } if found == epoch),
            "{refused}"
        );
    }
    assert!(matches!(
        next(None, Some(u64::MAX)),
        Err(SealError::LastEpoch)
    ));
    assert_eq!(next(None, Some(u64::MAX - 1)).unwrap(), u64::MAX);
}

/// An owner, a delegate, and a delegation until 2000 and epoch 5.
fn delegated() -> (SigningKey, SigningKey, Delegation) {
    let (owner, delegate) = (signing_key(), signing_key());
    let delegation = Delegation::sign(&owner, delegate.verifying_key(), 2000, 5).unwrap();
    (owner, delegate, delegation)
}

#[test]
fn a_delegate_signs_until_its_date_and_its_last_epoch() {
    let (owner, delegate, delegation) = delegated();
    let header = header(Some(id(owner.verifying_key())));
    let signer = |now, epoch| ListSigner {
        key: &delegate,
        delegation: Some((owner.verifying_key(), &delegation)),
        epoch,
        now,
    };
    assert_eq!(signer(0, None).owner().unwrap(), id(owner.verifying_key()));
    for (now, epoch) in [(0, None), (2000, None), (2000, Some(5))] {
        let list = signer(now, epoch)
            .sign(&header, None, &recipients(1))
            .unwrap();
        RecipientList::check(Some(&list), &header, &recipients(1)).unwrap();
        assert_eq!(id(&list.signer().unwrap()), id(delegate.verifying_key()));
        assert_eq!(id(&list.owner_key().unwrap()), id(owner.verifying_key()));
    }
    let refused = |signer: ListSigner<'_>| {
        let refused = signer.sign(&header, None, &recipients(1));
        matches!(refused, Err(SealError::Owner(OwnerError::Delegation)))
    };
    assert!(refused(signer(2001, None)), "late");
    assert!(refused(signer(0, Some(6))), "an epoch too far");
    let stranger = signing_key();
    assert!(
        refused(ListSigner {
            key: &stranger,
            ..signer(0, None)
        }),
        "another key"
    );
    let other = signing_key();
    let by_another_owner = ListSigner {
        delegation: Some((other.verifying_key(), &delegation)),
        ..signer(0, None)
    };
    assert!(refused(by_another_owner), "another owner");
}

#[test]
fn a_reader_checks_a_delegation_as_the_signer_does() {
    let (owner, delegate, delegation) = delegated();
    let header = header(Some(id(owner.verifying_key())));
    let signer = ListSigner {
        key: &delegate,
        delegation: Some((owner.verifying_key(), &delegation)),
        epoch: Some(5),
        now: 2000,
    };
    let list = signer.sign(&header, None, &recipients(1)).unwrap();
    let check = |list: &RecipientList| RecipientList::check(Some(list), &header, &recipients(1));
    check(&list).unwrap();
    let refused =
        |list: &RecipientList| matches!(check(list), Err(OpenError::Owner(OwnerError::Delegation)));
    let mut late = list.clone();
    late.date = 2001;
    assert!(refused(&late), "late");
    let mut far = list.clone();
    far.epoch = 6;
    assert!(refused(&far), "an epoch too far");
    // A delegation that was stretched is not the owner's.
    for stretched in [(3000, 5), (2000, 6)] {
        let mut changed = list.clone();
        let delegation = changed.delegation.as_mut().unwrap();
        (delegation.until, delegation.last_epoch) = stretched;
        assert!(refused(&changed), "{stretched:?}");
    }
    let mut own = list.clone();
    own.delegation = Some(Delegation::sign(&delegate, delegate.verifying_key(), 2000, 5).unwrap());
    assert!(refused(&own), "delegated by the delegate");
    let mut direct = list;
    direct.delegation = None;
    let refused = check(&direct);
    assert!(
        matches!(refused, Err(OpenError::Owner(OwnerError::Signature))),
        "{refused:?}"
    );
}

#[test]
fn a_delegation_is_read_as_it_was_written_and_in_no_other_form() {
    let (owner, delegate, delegation) = delegated();
    let encoded = delegation.to_bytes();
    let read = Delegation::from_bytes(&encoded).unwrap();
    assert_eq!(read, delegation);
    let verified = read.verify(owner.verifying_key()).unwrap();
    assert_eq!(id(&verified), id(delegate.verifying_key()));
    assert!(matches!(
        read.verify(delegate.verifying_key()),
        Err(OwnerError::Delegation)
    ));
    let trailing = [&encoded[..], &[0]].concat();
    let refused = Delegation::from_bytes(&trailing);
    assert_malformed(refused, not_deterministic("delegation"), "trailing");
    for len in 0..encoded.len() {
        assert!(Delegation::from_bytes(&encoded[..len]).is_err(), "{len}");
    }
    let parts = |spki: usize, signature: usize| {
        array(&[
            bytes(&vec![0; spki]),
            uint(1),
            uint(2),
            bytes(&vec![0; signature]),
        ])
    };
    Delegation::from_bytes(&parts(SPKI_BYTES_MAX, SIGNATURE_BYTES_MAX)).unwrap();
    let refused = Delegation::from_bytes(&parts(SPKI_BYTES_MAX + 1, 1)).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Limit {
            what: "delegate's key",
            ..
        }
    ));
    let refused = Delegation::from_bytes(&parts(1, SIGNATURE_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Limit {
            what: "delegation's signature",
            ..
        }
    ));
    let garbage = Delegation::from_bytes(&parts(1, 1)).unwrap();
    assert!(matches!(
        garbage.verify(owner.verifying_key()),
        Err(OwnerError::Key)
    ));
}

#[test]
fn a_list_is_read_in_one_form_only() {
    let read = |bytes: &[u8]| {
        let mut reader = casemate_cbor::Reader::new(bytes, "recipient list");
        RecipientList::read(&mut reader)
    };
    let parts = |epoch: u64, owner: usize, delegation: Vec<u8>, signature: usize| {
        array(&[
            uint(epoch),
            uint(9),
            bytes(&vec![1; owner]),
            delegation,
            bytes(&vec![2; signature]),
        ])
    };
    let list = read(&parts(1, 3, NULL.to_vec(), 4)).unwrap();
    assert_eq!((list.epoch, list.date, list.delegation), (1, 9, None));
    let delegation = array(&[bytes(b"key"), uint(7), uint(8), bytes(b"signature")]);
    let list = read(&parts(1, 3, delegation, 4)).unwrap();
    let delegation = list.delegation.unwrap();
    assert_eq!((delegation.until, delegation.last_epoch), (7, 8));
    assert_malformed(
        read(&parts(0, 3, NULL.to_vec(), 4)),
        Malformed::Epoch,
        "epoch 0",
    );
    let short = array(&[uint(1), uint(9), bytes(b"o"), NULL.to_vec()]);
    assert_malformed(read(&short), structure("recipient list"), "four elements");
    let three = array(&[bytes(b"key"), uint(7), uint(8)]);
    assert_malformed(
        read(&parts(1, 3, three, 4)),
        structure("delegation"),
        "three",
    );
    let refused = read(&parts(1, SPKI_BYTES_MAX + 1, NULL.to_vec(), 4)).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Limit {
            what: "owner's key",
            ..
        }
    ));
    let refused = read(&parts(1, 3, NULL.to_vec(), SIGNATURE_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Limit {
            what: "recipient list's signature",
            ..
        }
    ));
}
