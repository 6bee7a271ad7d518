//! Changing recipients in place (`spec/sealed-artifact.md`, section 8).
//!
//! The new tail is first written after the existing bytes, so the old one stays valid until the new
//! one is on stable storage. Then it is moved down, the bytes after it are zeroed and the file is
//! truncated. If the machine stops at any instant, the last valid footer still points to a complete
//! tail.

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
};

use crate::{
    Artifact, Durable, Origin, ReadAt,
    error::{OwnerError, RewrapError, SealError},
    limits::FOOTER_BYTES,
    wire::{ListSigner, RecipientRecord, Tail},
    writer::{self, Wrapped},
};

/// The result of a rewrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// Number of recipients before.
    pub before: usize,
    /// Number of recipients now.
    pub after: usize,
    /// Number of bytes that an earlier unfinished rewrap left and this one removed.
    pub leftover_removed: u64,
    /// New length of the artifact, in bytes.
    pub artifact_len: u64,
}

/// Replaces the recipients of the artifact in `file`; `key` must be a current recipient.
///
/// The content, the header, the hashes and the publisher's signature do not change.
///
/// # Errors
///
/// [`RewrapError`]. After [`RewrapError::Open`], nothing was written. After an I/O error, the
/// artifact has its old or its new recipients.
pub fn rewrap<F: Durable>(
    file: &F,
    key: &KemPrivateKey,
    origin: Origin<'_>,
    recipients: &[&KemPublicKey],
) -> Result<Rewrapped, RewrapError> {
    change_recipients(file, key, origin, &|_| false, recipients, None)
}

/// Keeps the recipients that `keep` selects and adds others; `key` must be a current recipient.
///
/// The records of kept recipients stay unchanged, so their public keys are not needed. If the
/// artifact has an owner, `owner` signs the new list.
///
/// # Errors
///
/// As [`rewrap()`]; [`SealError::DuplicateRecipient`] if one is both kept and added;
/// [`SealError::OwnerNeeded`], [`SealError::NoOwner`] or [`SealError::Owner`].
pub fn change_recipients<F: Durable>(
    file: &F,
    key: &KemPrivateKey,
    origin: Origin<'_>,
    keep: &dyn Fn(&RecipientRecord) -> bool,
    added: &[&KemPublicKey],
    owner: Option<ListSigner<'_>>,
) -> Result<Rewrapped, RewrapError> {
    let artifact = Artifact::read(file)?;
    let new = new_tail(&artifact, key, origin, keep, added, owner)?;
    let artifact_len = replace_tail(file, &new.tail, new.body_len)?;
    Ok(Rewrapped {
        before: new.before,
        after: new.after,
        leftover_removed: artifact.leftover_len(),
        artifact_len,
    })
}

/// The new tail of an artifact, for places where it cannot be changed in place.
#[derive(Debug)]
pub struct NewTail {
    tail: Vec<u8>,
    /// Length of the body, which the tail follows, in bytes.
    pub body_len: u64,
    /// Number of recipients before.
    pub before: usize,
    /// Number of recipients now.
    pub after: usize,
}

impl NewTail {
    /// Returns tail and footer.
    ///
    /// # Errors
    ///
    /// [`SealError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        writer::with_footer(&self.tail, self.body_len)
    }
}

/// Returns the tail that [`change_recipients`] would write.
///
/// # Errors
///
/// As [`change_recipients`].
pub fn new_tail<R: ReadAt>(
    artifact: &Artifact<R>,
    key: &KemPrivateKey,
    origin: Origin<'_>,
    keep: &dyn Fn(&RecipientRecord) -> bool,
    added: &[&KemPublicKey],
    owner: Option<ListSigner<'_>>,
) -> Result<NewTail, RewrapError> {
    check_owner(artifact.header().owner(), owner)?;
    let opened = artifact.open(key, origin)?;
    let (header, old) = (artifact.header(), artifact.tail());
    let kept = old.recipients.iter().filter(|record| keep(record));
    let Wrapped {
        recipients,
        recipient_part,
    } = writer::wrap(
        opened.artifact_key(),
        header,
        artifact.root(),
        kept.cloned().collect(),
        added,
    )?;
    let after = recipients.len();
    let before = old.list.as_ref().map(|list| list.epoch);
    let list = owner.map(|owner| owner.sign(header, before, &recipients));
    let tail = Tail {
        header: old.header.clone(),
        recipients,
        publisher_part: old.publisher_part.clone(),
        hashes: old.hashes.clone(),
        signature: old.signature.clone(),
        recipient_part,
        list: list.transpose()?,
        public_part: old.public_part.clone(),
    };
    Ok(NewTail {
        tail: tail.encode(),
        body_len: header.body_len(),
        before: old.recipients.len(),
        after,
    })
}

/// Checks that the signer of the list is the artifact's owner or a delegate.
///
/// # Errors
///
/// [`SealError::OwnerNeeded`], [`SealError::NoOwner`] or [`SealError::Owner`].
pub(crate) fn check_owner(
    owner: Option<KeyId>,
    signer: Option<ListSigner<'_>>,
) -> Result<(), SealError> {
    match (owner, signer) {
        (None, None) => Ok(()),
        (Some(owner), None) => Err(SealError::OwnerNeeded(owner)),
        (None, Some(_)) => Err(SealError::NoOwner),
        (Some(owner), Some(signer)) if signer.owner()? == owner => Ok(()),
        (Some(_), Some(_)) => Err(SealError::Owner(OwnerError::OtherOwner)),
    }
}

/// Writes zeros from `from` to `to`, so that truncation leaves no old recipients in blocks that the
/// file system reuses.
fn blank<F: Durable>(file: &F, from: u64, to: u64) -> Result<(), SealError> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let part = zeros.get(..len.min(zeros.len())).unwrap_or_default();
        file.write_all_at(part, at)
            .map_err(SealError::io("cannot erase the old recipients"))?;
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

fn replace_tail<F: Durable>(file: &F, tail: &[u8], body_len: u64) -> Result<u64, SealError> {
    let len = file
        .byte_len()
        .map_err(SealError::io("cannot read the length of the artifact"))?;
    let whole = FOOTER_BYTES.saturating_add(tail.len() as u64);
    let aside = len.max(body_len.saturating_add(whole));
    let flush = || {
        file.flush_to_storage()
            .map_err(SealError::io("cannot flush the artifact"))
    };

    writer::write_tail(file, tail, aside)?;
    flush()?;
    let end = writer::write_tail(file, tail, body_len)?;
    flush()?;
    blank(file, end, aside.saturating_add(whole))?;
    flush()?;
    file.set_byte_len(end)
        .map_err(SealError::io("cannot truncate the old recipients"))?;
    flush()?;
    Ok(end)
}
