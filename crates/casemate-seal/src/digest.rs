//! The digest of plaintext content (`spec/sealed-folder.md`, section 4), and the hash list that
//! threads fill.

use std::{io, sync::Mutex};

use casemate_memory::Buffer;

use crate::{
    HashAlgorithm, Progress, ReadAt, SegmentSize, error::SealError, hash::Labelled as _,
    layout::Layout, limits::SEGMENTS_MAX,
};

/// One hash for each segment, filled in any order.
pub(crate) struct HashList {
    hash_len: usize,
    bytes: Mutex<Vec<u8>>,
}

impl HashList {
    pub(crate) fn new(hash: HashAlgorithm, segments: u64) -> Self {
        let segments = usize::try_from(segments).unwrap_or(usize::MAX);
        let hash_len = hash.bytes();
        let bytes = Mutex::new(vec![0; segments.saturating_mul(hash_len)]);
        Self { hash_len, bytes }
    }

    pub(crate) fn set(&self, index: u64, hash: &[u8]) -> Result<(), SealError> {
        let at = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.hash_len);
        self.bytes
            .lock()
            .map_err(|_| casemate_crypto::Error::Internal)?
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..self.hash_len))
            .filter(|slot| slot.len() == hash.len())
            .ok_or(casemate_crypto::Error::Internal)?
            .copy_from_slice(hash);
        Ok(())
    }

    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, SealError> {
        let bytes = self.bytes.into_inner();
        Ok(bytes.map_err(|_| casemate_crypto::Error::Internal)?)
    }
}

/// Returns the digest that [`crate::seal`] computes for the same content, segment size and hash,
/// without sealing.
///
/// # Errors
///
/// [`SealError::TooLong`]; [`SealError::Io`], also if the length changed during reading.
pub fn content_digest(
    source: &impl ReadAt,
    segment_size: SegmentSize,
    hash: HashAlgorithm,
    progress: Progress<'_>,
) -> Result<Vec<u8>, SealError> {
    let layout = layout_of(source, segment_size)?;
    let list = HashList::new(hash, layout.segments());
    casemate_parallel::for_each(layout.segments(), Buffer::default, |buffer, index| {
        let segment = layout
            .floe_segment(index)
            .ok_or(casemate_crypto::Error::Internal)?;
        buffer.resize(segment.plaintext_length(), 0);
        source
            .read_exact_at(buffer, layout.content_offset(index))
            .map_err(SealError::io(READING))?;
        progress(buffer.len() as u64);
        list.set(index, &hash.content_segment(buffer))
    })?;
    refuse_changed_source(source, layout.content_len())?;
    Ok(hash.content_root(layout.content_len(), &list.into_bytes()?))
}

pub(crate) const READING: &str = "cannot read the content";

/// Returns how content is cut into segments.
pub(crate) fn layout_of(
    source: &impl ReadAt,
    segment_size: SegmentSize,
) -> Result<Layout, SealError> {
    let bytes = source
        .byte_len()
        .map_err(SealError::io("cannot read the length of the content"))?;
    Layout::of_content(segment_size, bytes)
        .filter(|layout| layout.segments() <= SEGMENTS_MAX)
        .ok_or(SealError::TooLong { bytes })
}

/// Refuses a source whose length changed; a file that grew would be sealed truncated.
pub(crate) fn refuse_changed_source(source: &impl ReadAt, expected: u64) -> Result<(), SealError> {
    let now = source.byte_len().map_err(SealError::io(READING))?;
    if now == expected {
        return Ok(());
    }
    Err(SealError::Io {
        what: READING,
        source: io::Error::other("its length changed while it was being read"),
    })
}
