//! Decrypting an artifact.

use std::{fmt, io, ops::Deref, sync::Mutex};

use casemate_crypto::Secret;
use casemate_memory::Buffer;
use casemate_parallel::{Turn, short_piece};
use fast_floe::low_level::{DecryptionState, SegmentLayout, SharedDecryptionContext};
use zeroize::Zeroizing;

use crate::{Artifact, Progress, ReadAt, WriteAt, error::OpenError, wire::Private};

/// An artifact whose key is known. Segments are verified and decrypted on demand.
pub struct Opened<R> {
    pub(crate) artifact: Artifact<R>,
    pub(crate) artifact_key: Secret<32>,
    pub(crate) context: SharedDecryptionContext,
    pub(crate) private: Private,
    pub(crate) recent: Mutex<Recent>,
}

/// The segment that the last short read used. The next read often needs it too, and a segment is
/// always decrypted whole.
#[derive(Default)]
pub(crate) struct Recent {
    segment: Option<u64>,
    encrypted: Buffer,
    content: Buffer,
}

impl<R: ReadAt> Opened<R> {
    /// Returns the artifact.
    pub const fn artifact(&self) -> &Artifact<R> {
        &self.artifact
    }

    /// Returns the publisher part, which only recipients can read.
    pub const fn private(&self) -> &Private {
        &self.private
    }

    /// Returns the length of the content, in bytes.
    pub fn content_len(&self) -> u64 {
        self.artifact.header().content_len()
    }

    pub(crate) const fn artifact_key(&self) -> &Secret<32> {
        &self.artifact_key
    }

    /// Verifies and decrypts every segment, and passes it to `job` with its content offset.
    fn for_each_segment(
        &self,
        progress: Progress<'_>,
        job: impl Fn(u64, &[u8]) -> Result<(), OpenError> + Sync,
    ) -> Result<(), OpenError> {
        let layout = &self.artifact.header().layout;
        self.artifact.will_read_body();
        casemate_parallel::for_each(
            layout.segments(),
            || (self.context.fork(), Buffer::default()),
            |(floe, buffer), index| {
                let content = self.decrypt_segment(floe, buffer, index)?;
                job(layout.content_offset(index), content)?;
                progress(content.len() as u64);
                Ok(())
            },
        )
    }

    /// Writes the whole content to `sink`, each segment only after its hash and tag verify.
    ///
    /// # Errors
    ///
    /// [`OpenError::SegmentHash`], [`OpenError::Rejected`] or [`OpenError::Io`]. Segments already
    /// written are genuine, but the content is incomplete.
    pub fn copy_to(&self, sink: &impl WriteAt, progress: Progress<'_>) -> Result<(), OpenError> {
        let turn = Turn::default();
        self.for_each_segment(progress, |offset, content| {
            turn.take(|| sink.write_all_at(content, offset))
                .map_err(OpenError::io("cannot write the content"))
        })
    }

    /// Decrypts the whole content into memory.
    ///
    /// # Errors
    ///
    /// As [`Self::copy_to`], and [`OpenError::Limit`] if the content is longer than `limit` bytes.
    pub fn read_all(
        &self,
        limit: u64,
        progress: Progress<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let actual = self.content_len();
        let len = usize::try_from(actual)
            .ok()
            .filter(|_| actual <= limit)
            .ok_or(OpenError::Limit {
                what: "content length",
                actual,
                limit,
            })?;
        let mut content = Zeroizing::new(vec![0; len]);
        self.artifact.will_read_body();
        if content.is_empty() {
            // Empty content also has one segment.
            self.read_segment(0)?;
        }
        self.read_pieces(&mut content, 0, progress)?;
        Ok(content)
    }

    /// Decrypts `out.len()` bytes of content from `offset` on all cores, reading only the segments
    /// that hold them.
    ///
    /// # Errors
    ///
    /// As [`Self::copy_to`], and [`OpenError::Limit`] if the range ends beyond the content. After
    /// an error, the bytes in `out` are undefined.
    pub fn read_at(&self, out: &mut [u8], offset: u64) -> Result<(), OpenError> {
        let limit = self.content_len();
        let end = offset.saturating_add(out.len() as u64);
        if end > limit {
            return Err(OpenError::Limit {
                what: "end of the range",
                actual: end,
                limit,
            });
        }
        if self.read_recent(out, offset)? {
            return Ok(());
        }
        self.read_pieces(out, offset, &|_| ())
    }

    /// Reads a range segment by segment; whole segments are decrypted directly into the output.
    fn read_pieces(
        &self,
        out: &mut [u8],
        offset: u64,
        progress: Progress<'_>,
    ) -> Result<(), OpenError> {
        casemate_parallel::for_each_piece(
            out,
            offset,
            self.artifact.header().segment_size().bytes() as usize,
            || (self.context.fork(), Buffer::default()),
            |(floe, buffer), piece| {
                let content_len = self.artifact.load_segment(piece.segment, buffer)?;
                if piece.out.len() as u64 == content_len {
                    let segment = self.floe_segment(piece.segment)?;
                    floe.decrypt_segment_into(buffer, segment, piece.out)
                        .map_err(|_| OpenError::Rejected)?;
                } else {
                    let content = self.decrypt_in_place(floe, buffer, piece.segment)?;
                    let found = content
                        .get(piece.skip..)
                        .and_then(|rest| rest.get(..piece.out.len()))
                        .ok_or(OpenError::Rejected)?;
                    piece.out.copy_from_slice(found);
                }
                progress(piece.out.len() as u64);
                Ok(())
            },
        )
    }

    /// Reads a short range inside one segment, which stays decrypted until another is needed.
    /// Returns `false` if the range is not such a range, or another thread is using the cache.
    fn read_recent(&self, out: &mut [u8], offset: u64) -> Result<bool, OpenError> {
        let piece = short_piece(offset, out.len(), self.segment_bytes());
        let Some((segment, skip)) = piece else {
            return Ok(false);
        };
        let Ok(mut recent) = self.recent.try_lock() else {
            return Ok(false);
        };
        if recent.segment != Some(segment) {
            self.load_recent(&mut recent, segment)?;
        }
        let found = recent
            .content
            .get(skip..)
            .and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(OpenError::Rejected)?);
        Ok(true)
    }

    /// Decrypts one segment while another thread hashes it, to reduce latency. The content is used
    /// only after both succeed.
    fn load_recent(&self, recent: &mut Recent, index: u64) -> Result<(), OpenError> {
        let Recent {
            segment,
            encrypted,
            content,
        } = recent;
        *segment = None;
        let content_len = self.artifact.fetch_segment(index, encrypted)?;
        // Reserve the maximum: growing later would leave a copy of the content behind.
        let whole = self.artifact.header().segment_size().bytes() as usize;
        let missing = whole.saturating_sub(content.len());
        content.reserve_exact(missing);
        content.resize(
            usize::try_from(content_len).map_err(|_| OpenError::Rejected)?,
            0,
        );
        let floe_segment = self.floe_segment(index)?;
        let check = || self.artifact.check_segment(index, encrypted);
        let decrypted = casemate_parallel::both(check, || {
            self.context
                .fork()
                .decrypt_segment_into(encrypted, floe_segment, content)
                .map_err(|_| OpenError::Rejected)
        });
        match decrypted {
            (Ok(()), Ok(_)) => *segment = Some(index),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// Decrypts one whole segment; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// As [`Self::copy_to`].
    pub fn read_segment(&self, index: u64) -> Result<SegmentContent, OpenError> {
        let (mut encrypted, mut content) = (Buffer::default(), Buffer::default());
        let content_len = self.artifact.load_segment(index, &mut encrypted)?;
        content.resize(
            usize::try_from(content_len).map_err(|_| OpenError::Rejected)?,
            0,
        );
        self.context
            .fork()
            .decrypt_segment_into(&encrypted, self.floe_segment(index)?, &mut content)
            .map_err(|_| OpenError::Rejected)?;
        Ok(SegmentContent(content))
    }

    /// Returns the number of content bytes per segment; the last may have fewer.
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.artifact.header().segment_size().bytes())
    }

    /// Returns the index of the segment that holds the byte at `offset`.
    pub fn segment_at(&self, offset: u64) -> u64 {
        let segment_len = u64::from(self.artifact.header().segment_size().bytes());
        offset.checked_div(segment_len).unwrap_or(0)
    }

    fn decrypt_segment<'b>(
        &self,
        floe: &mut DecryptionState,
        buffer: &'b mut Buffer,
        index: u64,
    ) -> Result<&'b [u8], OpenError> {
        self.artifact.load_segment(index, buffer)?;
        self.decrypt_in_place(floe, buffer, index)
    }

    /// Decrypts a segment whose hash was verified.
    fn decrypt_in_place<'b>(
        &self,
        floe: &mut DecryptionState,
        buffer: &'b mut [u8],
        index: u64,
    ) -> Result<&'b [u8], OpenError> {
        floe.decrypt_segment_in_place_raw(buffer, self.floe_segment(index)?)
            .map(|content| &*content)
            .map_err(|_| OpenError::Rejected)
    }

    fn floe_segment(&self, index: u64) -> Result<SegmentLayout, OpenError> {
        let layout = &self.artifact.header().layout;
        layout.floe_segment(index).ok_or(OpenError::Rejected)
    }
}

/// The content of one segment, wiped on drop.
pub struct SegmentContent(Buffer);

impl Deref for SegmentContent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SegmentContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentContent(..)")
    }
}

/// Reads the decrypted content.
impl<R: ReadAt> ReadAt for Opened<R> {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(out, offset).map_err(|error| match error {
            OpenError::Io { source, .. } => source,
            OpenError::Limit { .. } => io::ErrorKind::UnexpectedEof.into(),
            other => io::Error::other(other),
        })
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.content_len())
    }
}

impl<R> fmt::Debug for Opened<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(..)")
    }
}
