//! Decrypting.

use std::{fmt, io, ops::Deref, sync::Mutex};

use casemate_crypto::Secret;
use casemate_parallel::{Turn, short_piece};
use fast_floe::low_level::{DecryptionState, SegmentLayout, SharedDecryptionContext};
use zeroize::Zeroizing;

use crate::{Artifact, Progress, ReadAt, WriteAt, error::OpenError, wire::Private};
use casemate_memory::Buffer;

/// An artifact whose key is known; segments are checked and decrypted as they are asked for.
pub struct Opened<R> {
    pub(crate) artifact: Artifact<R>,
    pub(crate) artifact_key: Secret<32>,
    pub(crate) context: SharedDecryptionContext,
    pub(crate) private: Private,
    pub(crate) recent: Mutex<Recent>,
}

/// The segment that the last short read used: the next one often wants it as well, and it is decrypted whole or not at all.
#[derive(Default)]
pub(crate) struct Recent {
    segment: Option<u64>,
    encrypted: Buffer,
    content: Buffer,
}

impl<R: ReadAt> Opened<R> {
    /// The artifact.
    pub const fn artifact(&self) -> &Artifact<R> {
        &self.artifact
    }

    /// What only recipients may read beside the content.
    pub const fn private(&self) -> &Private {
        &self.private
    }

    /// Length of the content, in bytes.
    pub fn content_len(&self) -> u64 {
        self.artifact.header().content_len()
    }

    pub(crate) const fn artifact_key(&self) -> &Secret<32> {
        &self.artifact_key
    }

    /// Checks and decrypts every segment, and hands it to `job` with its content offset.
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

    /// Writes the whole content to `sink`, each segment only after its hash and tag were checked.
    ///
    /// # Errors
    ///
    /// [`OpenError::SegmentHash`], [`OpenError::Rejected`] or [`OpenError::Io`]. Segments written until then are genuine, the
    /// content is not complete.
    pub fn copy_to(&self, sink: &impl WriteAt, progress: Progress<'_>) -> Result<(), OpenError> {
        let turn = Turn::default();
        self.for_each_segment(progress, |offset, content| {
            turn.take(|| sink.write_all_at(content, offset))
                .map_err(OpenError::io("writing the content"))
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
        let len = usize::try_from(actual).ok().filter(|_| actual <= limit);
        let len = len.ok_or(OpenError::Limit {
            what: "content length",
            actual,
            limit,
        })?;
        let mut content = Zeroizing::new(vec![0; len]);
        self.artifact.will_read_body();
        if content.is_empty() {
            // Empty content has one segment all the same.
            self.read_segment(0)?;
        }
        self.read_pieces(&mut content, 0, progress)?;
        Ok(content)
    }

    /// Decrypts `out.len()` bytes of content from `offset`, touching only the segments that hold them, on all cores.
    ///
    /// # Errors
    ///
    /// As [`Self::copy_to`], and [`OpenError::Limit`] if the range ends after the content. What is in `out` then is not the content.
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

    /// Reads a range segment by segment; those that are wanted whole are decrypted where they are wanted.
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

    /// Reads a short range inside one segment, which stays decrypted until another is needed. `false` if the range is none, or another thread is at it.
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
        let found = recent.content.get(skip..);
        let found = found.and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(OpenError::Rejected)?);
        Ok(true)
    }

    /// Decrypts one segment while another thread hashes it: somebody waits for these few bytes. It counts once both agree.
    fn load_recent(&self, recent: &mut Recent, index: u64) -> Result<(), OpenError> {
        let Recent {
            segment,
            encrypted,
            content,
        } = recent;
        *segment = None;
        let content_len = self.artifact.fetch_segment(index, encrypted)?;
        // All that it will ever need: growing later would leave content behind where it was.
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

    /// Decrypts one segment whole; `index` counts from 0.
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

    /// Content bytes in a segment; the last may have fewer.
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.artifact.header().segment_size().bytes())
    }

    /// The segment that holds the byte at `offset`.
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

    /// Decrypts a segment whose hash was checked.
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

/// Content of one segment, wiped when it is dropped.
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

/// The content, decrypted where it is read.
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
