//! A range of content, split at segment boundaries.

use std::sync::{Mutex, PoisonError};

use crate::for_each;

/// The part of a range that is in one segment.
#[derive(Debug)]
pub struct Piece<'o> {
    /// Index of the segment, from 0.
    pub segment: u64,
    /// Number of bytes of the segment before the part.
    pub skip: usize,
    /// The output for the part.
    pub out: &'o mut [u8],
}

/// Runs `job` for every segment of `segment_len` bytes that overlaps the range of `out.len()` bytes
/// from `offset`.
///
/// # Errors
///
/// The error of the first job that failed; the content of `out` is then undefined.
pub fn for_each_piece<S, E: Send>(
    out: &mut [u8],
    offset: u64,
    segment_len: usize,
    init: impl Fn() -> S + Sync,
    job: impl Fn(&mut S, Piece<'_>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let pieces = cut(out, offset, segment_len.max(1));
    for_each(pieces.len() as u64, init, |state, number| {
        let piece = usize::try_from(number).ok().and_then(|n| pieces.get(n));
        // Every index is assigned once, so each piece is taken once.
        let piece =
            piece.and_then(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        piece.map_or(Ok(()), |piece| job(state, piece))
    })
}

/// Returns the segment of a short range, and the position of the range in it; `None` for other
/// ranges.
///
/// A short range lies in one segment and has at most half of it. The reader of such a range often
/// needs more of the same segment soon.
pub fn short_piece(offset: u64, len: usize, segment_len: u64) -> Option<(u64, usize)> {
    let last = offset.checked_add((len as u64).checked_sub(1)?)?;
    let segment = offset.checked_div(segment_len)?;
    let is_short = (len as u64).saturating_mul(2) <= segment_len;
    let skip = usize::try_from(offset.checked_rem(segment_len)?).ok()?;
    (is_short && last.checked_div(segment_len) == Some(segment)).then_some((segment, skip))
}

fn cut(out: &mut [u8], offset: u64, segment_len: usize) -> Vec<Mutex<Option<Piece<'_>>>> {
    let len = segment_len as u64;
    let mut pieces = Vec::new();
    let mut segment = offset.checked_div(len).unwrap_or(0);
    let mut skip = usize::try_from(offset.checked_rem(len).unwrap_or(0)).unwrap_or(0);
    let mut rest = out;
    while !rest.is_empty() {
        let take = segment_len.saturating_sub(skip).min(rest.len());
        let (out, after) = rest.split_at_mut(take);
        pieces.push(Mutex::new(Some(Piece { segment, skip, out })));
        rest = after;
        segment = segment.saturating_add(1);
        skip = 0;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_filled_from_the_segments_it_touches() {
        let content: Vec<u8> = (0..=99).collect();
        for (offset, len) in [(0, 0), (0, 100), (3, 4), (7, 1), (6, 15), (14, 14), (93, 7)] {
            let mut out = vec![0; len];
            let fill = |(): &mut (), piece: Piece<'_>| {
                let start = usize::try_from(piece.segment).unwrap() * 7 + piece.skip;
                assert!(piece.skip + piece.out.len() <= 7);
                piece
                    .out
                    .copy_from_slice(&content[start..start + piece.out.len()]);
                Ok::<_, ()>(())
            };
            for_each_piece(&mut out, offset as u64, 7, || (), fill).unwrap();
            assert_eq!(out, content[offset..offset + len]);
        }
    }

    #[test]
    fn short_ranges_in_one_segment_are_told_from_others() {
        for (offset, len, expected) in [
            (0, 1, Some((0, 0))),
            (10, 5, Some((1, 0))),
            (15, 5, Some((1, 5))),
            (16, 5, None),
            (10, 6, None),
            (10, 0, None),
            (u64::MAX, 2, None),
        ] {
            assert_eq!(short_piece(offset, len, 10), expected, "{offset} {len}");
        }
        assert_eq!(short_piece(0, 1, 0), None);
    }

    #[test]
    fn an_error_is_returned() {
        let job = |(): &mut (), piece: Piece<'_>| if piece.segment == 2 { Err(2) } else { Ok(()) };
        assert_eq!(for_each_piece(&mut [0; 50], 0, 7, || (), job), Err(2));
        assert_eq!(for_each_piece(&mut [0; 14], 0, 7, || (), job), Ok(()));
    }
}
