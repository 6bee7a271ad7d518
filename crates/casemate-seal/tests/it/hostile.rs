//! Artifacts changed by somebody without the key, or by a recipient without the signing key.

use std::sync::Mutex;

use casemate_crypto::kem::KemPublicKey;
use casemate_seal::{Artifact, Durable, HashAlgorithm, OpenError, Origin, ReadAt, WriteAt, rewrap};

use crate::support::{
    KEM, OTHER_KEM, SEGMENT, SIGNER, content, read_every_way, sealed, sealed_with,
};

/// Verifies, opens and reads everything.
fn read_everything(bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
    let artifact = Artifact::read(bytes)?;
    let opened = artifact.open(&KEM, Origin::SignedBy(SIGNER.verifying_key()))?;
    read_every_way(&opened)
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let good = sealed(b"small content");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let refused = read_everything(&bytes).unwrap_err();
        assert!(
            !matches!(refused, OpenError::Io { .. }),
            "byte {at}: {refused}"
        );
    }
    assert_eq!(read_everything(&good).unwrap(), b"small content");
}

#[test]
fn every_cut_is_refused() {
    let good = sealed(b"small content");
    for len in 0..good.len() {
        let refused = read_everything(&good[..len]).unwrap_err();
        assert!(
            matches!(refused, OpenError::NoFooter),
            "{len} bytes: {refused}"
        );
    }
}

#[test]
fn a_cut_body_under_a_whole_tail_is_refused() {
    let good = sealed(&content(2 * SEGMENT));
    let body = Artifact::read(&good).unwrap().header().body_len() as usize;
    // The footer still points where the tail was, so it no longer adds up.
    let cut = [&good[..body - 1], &good[body..]].concat();
    assert!(matches!(
        read_everything(&cut).unwrap_err(),
        OpenError::NoFooter
    ));
}

#[test]
fn swapped_segments_and_segments_of_another_artifact_are_named() {
    let good = sealed(&content(3 * SEGMENT));
    let segment = SEGMENT + 32;
    let mut swapped = good.clone();
    swapped[74..74 + segment].copy_from_slice(&good[74 + segment..74 + 2 * segment]);
    swapped[74 + segment..74 + 2 * segment].copy_from_slice(&good[74..74 + segment]);
    let refused = read_everything(&swapped).unwrap_err();
    assert!(
        matches!(refused, OpenError::SegmentHash { segment: 0 | 1 }),
        "{refused}"
    );

    let other = sealed(&content(3 * SEGMENT));
    let mut spliced = good.clone();
    spliced[74 + segment..74 + 2 * segment].copy_from_slice(&other[74 + segment..74 + 2 * segment]);
    let refused = read_everything(&spliced).unwrap_err();
    assert!(
        matches!(refused, OpenError::SegmentHash { segment: 1 }),
        "{refused}"
    );
    let artifact = Artifact::read(&spliced).unwrap();
    let refused = artifact.verify_segments(&|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "segment 1 was changed");
}

#[test]
fn the_tail_of_another_artifact_is_refused() {
    let (a, b) = (sealed(&content(100)), sealed(&content(100)));
    let body = Artifact::read(&a).unwrap().header().body_len() as usize;
    let grafted = [&a[..body], &b[body..]].concat();
    let refused = read_everything(&grafted).unwrap_err();
    assert!(matches!(refused, OpenError::BadSignature), "{refused}");
    // A caller who trusts anyone is still protected by the commitment in the FLOE header.
    let artifact = Artifact::read(&grafted).unwrap();
    let refused = artifact.open(&KEM, Origin::Unchecked).unwrap_err();
    assert!(matches!(refused, OpenError::Rejected), "{refused}");
}

#[test]
fn a_stripped_signature_is_refused_by_whoever_expects_one() {
    let unsigned = sealed_with(b"content", HashAlgorithm::Blake3, None);
    let refused = read_everything(&unsigned).unwrap_err();
    assert!(matches!(refused, OpenError::Unsigned), "{refused}");
}

/// A file in memory that can be changed in place.
#[derive(Debug, Default)]
pub(crate) struct MemoryFile(pub(crate) Mutex<Vec<u8>>);

impl ReadAt for MemoryFile {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.lock().unwrap().read_exact_at(out, offset)
    }

    fn byte_len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

impl WriteAt for MemoryFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

impl Durable for MemoryFile {
    fn flush_to_storage(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn set_byte_len(&self, len: u64) -> std::io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
}

fn rewrapped(bytes: &[u8], recipients: &[&KemPublicKey]) -> Vec<u8> {
    let file = MemoryFile(Mutex::new(bytes.to_vec()));
    rewrap(&file, &KEM, Origin::Unchecked, recipients).unwrap();
    file.0.into_inner().unwrap()
}

#[test]
fn a_rewrap_changes_the_recipients_and_nothing_else() {
    let before = sealed(&content(SEGMENT + 5));
    let both = rewrapped(&before, &[KEM.public_key(), OTHER_KEM.public_key()]);
    let artifact = Artifact::read(&both).unwrap();
    let body = artifact.header().body_len() as usize;
    assert_eq!(both[..body], before[..body]);
    assert_eq!(artifact.leftover_len(), 0);
    for key in [&*KEM, &*OTHER_KEM] {
        let opened = artifact
            .open(key, Origin::SignedBy(SIGNER.verifying_key()))
            .unwrap();
        assert_eq!(
            *opened.read_all(u64::MAX, &|_| ()).unwrap(),
            content(SEGMENT + 5)
        );
        assert_eq!(opened.private().name, "model.onnx");
    }
    let removed = rewrapped(&both, &[OTHER_KEM.public_key()]);
    assert!(removed.len() < both.len());
    let refused = read_everything(&removed).unwrap_err();
    assert!(
        matches!(refused, OpenError::NotARecipient { .. }),
        "{refused}"
    );
}

#[test]
fn a_recipient_moved_in_from_another_artifact_is_refused() {
    // The tail of `b` re-encoded with a recipient of `a` would need a new checksum; a rewrapped
    // artifact shows the binding without it: the private part of one recipient list does not open
    // under another.
    let before = sealed(b"content");
    let both = rewrapped(&before, &[KEM.public_key(), OTHER_KEM.public_key()]);
    let artifact = Artifact::read(&both).unwrap();
    assert_eq!(artifact.recipients().len(), 2);
    let keys: Vec<_> = artifact
        .recipients()
        .iter()
        .map(|record| record.key)
        .collect();
    assert_eq!(
        keys,
        [
            KEM.public_key().id().unwrap(),
            OTHER_KEM.public_key().id().unwrap()
        ]
    );
}
