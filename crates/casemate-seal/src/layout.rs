//! The positions of segments (`spec/sealed-artifact.md`, sections 2 and 5.1).

use fast_floe::{Header as FloeHeader, Parameters, low_level::SegmentLayout};

use crate::{
    error::Malformed,
    limits::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN},
};

/// Length of the FLOE header at the start, in bytes.
pub(crate) const FLOE_HEADER_BYTES: u64 = FLOE_HEADER_LEN as u64;
/// The same, as a `usize`.
pub(crate) const FLOE_HEADER_LEN: usize = FloeHeader::LEN;
/// Number of bytes that encryption adds to each segment.
pub(crate) const SEGMENT_OVERHEAD_BYTES: u32 = 32;

/// The number of content bytes per segment: a power of two from 64 KiB to 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(u32);

impl Default for SegmentSize {
    fn default() -> Self {
        Self(SEGMENT_BYTES_DEFAULT)
    }
}

impl SegmentSize {
    /// Checks a size in bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed::SegmentSize`] unless it is a power of two within the limits.
    pub fn new(bytes: u64) -> Result<Self, Malformed> {
        u32::try_from(bytes)
            .ok()
            .filter(|size| size.is_power_of_two())
            .filter(|size| (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(size))
            .map(Self)
            .ok_or(Malformed::SegmentSize(bytes))
    }

    /// Returns the size, in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// The sizes of one artifact's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    segment: SegmentSize,
    content_len: u64,
    segments: u64,
}

impl Layout {
    /// Returns the layout of a body with `content_len` bytes of content; `None` if its length
    /// overflows.
    pub(crate) fn of_content(segment: SegmentSize, content_len: u64) -> Option<Self> {
        let segments = content_len.div_ceil(u64::from(segment.0)).max(1);
        let layout = Self {
            segment,
            content_len,
            segments,
        };
        layout.try_body_len().map(|_| layout)
    }

    /// Returns the layout of a body of `body_len` bytes, if any content has that length.
    pub(crate) fn of_body(segment: SegmentSize, body_len: u64) -> Result<Self, Malformed> {
        let impossible = Malformed::BodyLength(body_len);
        let encrypted = body_len
            .checked_sub(FLOE_HEADER_BYTES)
            .ok_or_else(|| impossible.clone())?;
        let segments = encrypted.div_ceil(u64::from(segment.encrypted())).max(1);
        let overhead = segments.checked_mul(u64::from(SEGMENT_OVERHEAD_BYTES));
        let content_len = overhead
            .and_then(|overhead| encrypted.checked_sub(overhead))
            .ok_or_else(|| impossible.clone())?;
        Self::of_content(segment, content_len)
            .filter(|layout| layout.try_body_len() == Some(body_len))
            .ok_or(impossible)
    }

    pub(crate) const fn segment_size(&self) -> SegmentSize {
        self.segment
    }

    pub(crate) const fn content_len(&self) -> u64 {
        self.content_len
    }

    pub(crate) const fn segments(&self) -> u64 {
        self.segments
    }

    pub(crate) fn body_len(&self) -> u64 {
        self.try_body_len().unwrap_or(u64::MAX)
    }

    fn try_body_len(&self) -> Option<u64> {
        self.segments
            .checked_mul(u64::from(SEGMENT_OVERHEAD_BYTES))?
            .checked_add(self.content_len)?
            .checked_add(FLOE_HEADER_BYTES)
    }

    /// Returns the offset of segment `index` in the content.
    pub(crate) fn content_offset(&self, index: u64) -> u64 {
        index.saturating_mul(u64::from(self.segment.0))
    }

    /// Returns the offset of segment `index` in the file.
    pub(crate) fn body_offset(&self, index: u64) -> u64 {
        index
            .saturating_mul(u64::from(self.segment.encrypted()))
            .saturating_add(FLOE_HEADER_BYTES)
    }

    /// Returns FLOE's layout of segment `index`; `None` beyond the end.
    pub(crate) fn floe_segment(&self, index: u64) -> Option<SegmentLayout> {
        self.parameters()?
            .plaintext_layout(self.content_len)
            .ok()?
            .segment_for_position(index)
    }

    pub(crate) fn parameters(&self) -> Option<Parameters> {
        Parameters::with_segment_length(self.segment.encrypted()).ok()
    }
}

impl SegmentSize {
    /// Returns the length of a full encrypted segment, in bytes.
    pub(crate) const fn encrypted(self) -> u32 {
        // The largest size is 2^24, so the sum cannot overflow.
        self.0.saturating_add(SEGMENT_OVERHEAD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_length_has_exactly_one_content_length() {
        let size = SegmentSize::new(65_536).unwrap();
        for (content, segments) in [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (131_072, 2)] {
            let layout = Layout::of_content(size, content).unwrap();
            assert_eq!(layout.segments(), segments);
            assert_eq!(layout.body_len(), 74 + content + 32 * segments);
            assert_eq!(Layout::of_body(size, layout.body_len()), Ok(layout));
        }
        // One full segment, and a second one too short for its overhead.
        let impossible = 74 + 65_536 + 32 + 31;
        assert_eq!(
            Layout::of_body(size, impossible),
            Err(Malformed::BodyLength(impossible))
        );
        // A second segment may not be empty.
        let empty = 74 + 65_536 + 32 + 32;
        assert_eq!(
            Layout::of_body(size, empty),
            Err(Malformed::BodyLength(empty))
        );
        for len in [0, 73, 74, 105] {
            assert_eq!(Layout::of_body(size, len), Err(Malformed::BodyLength(len)));
        }
    }

    #[test]
    fn segment_sizes_are_powers_of_two_within_limits() {
        assert_eq!(SegmentSize::new(65_536).unwrap().bytes(), 65_536);
        assert_eq!(SegmentSize::new(16_777_216).unwrap().bytes(), 16_777_216);
        for size in [0, 32_768, 65_537, 33_554_432, u64::MAX] {
            assert_eq!(SegmentSize::new(size), Err(Malformed::SegmentSize(size)));
        }
    }
}
