//! The footer, the last 32 bytes (`spec/sealed-artifact.md`, section 6).

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    OpenError, ReadAt,
    limits::{
        FOOTER_BYTES, FOOTER_CANDIDATES_MAX, GAP_BYTES_MAX, SEARCH_HASHED_MAX, TAIL_BYTES_MAX,
    },
};

const MAGIC: &[u8; 4] = b"CSMT";
const VERSION: u16 = 1;
const FOOTER_LEN: usize = 32;
const CHECKSUM_LEN: usize = 12;
/// Bytes read at once when searching for a footer.
const SEARCH_BLOCK: usize = 1 << 20;

/// A tail that was found through its footer.
#[derive(Debug)]
pub(crate) struct FoundTail {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    /// Where the artifact ends; an unfinished write left the bytes after it.
    pub(crate) end: u64,
}

/// Encodes the footer of `tail` at `offset`; returns `None` if the tail is too long.
pub(crate) fn encode(offset: u64, tail: &[u8]) -> Option<[u8; FOOTER_LEN]> {
    let len = u32::try_from(tail.len())
        .ok()
        .filter(|len| *len <= TAIL_BYTES_MAX)?;
    let mut footer = [0; FOOTER_LEN];
    let (fields, checksum) = footer.split_at_mut(FOOTER_LEN - CHECKSUM_LEN);
    let parts: [&[u8]; 5] = [
        MAGIC,
        &VERSION.to_be_bytes(),
        &[0, 0],
        &offset.to_be_bytes(),
        &len.to_be_bytes(),
    ];
    fields.copy_from_slice(&parts.concat());
    checksum.copy_from_slice(&checksum_of(fields, tail));
    Some(footer)
}

fn checksum_of(fields: &[u8], tail: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(fields);
    context.update(tail);
    let mut out = [0; CHECKSUM_LEN];
    out.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

struct Fields {
    offset: u64,
    len: u32,
}

/// Reads the fields of a footer that ends at `end`; returns `None` if it is not a footer.
fn parse(footer: &[u8], end: u64) -> Result<Option<Fields>, OpenError> {
    let Some(rest) = footer.strip_prefix(MAGIC.as_slice()) else {
        return Ok(None);
    };
    let Some((version, rest)) = rest.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let Some((reserved, rest)) = rest.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let Some((offset, rest)) = rest.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((len, _)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let (offset, len) = (u64::from_be_bytes(*offset), u32::from_be_bytes(*len));
    let adds_up = offset
        .checked_add(u64::from(len))
        .and_then(|at| at.checked_add(FOOTER_BYTES));
    if adds_up != Some(end) {
        return Ok(None);
    }
    let version = u16::from_be_bytes(*version);
    // There is no version 0.
    if version == 0 {
        return Ok(None);
    }
    if version != VERSION {
        return Err(OpenError::Version {
            found: version.into(),
        });
    }
    if len > TAIL_BYTES_MAX {
        let limit = TAIL_BYTES_MAX.into();
        return Err(OpenError::Limit {
            what: "tail length",
            actual: len.into(),
            limit,
        });
    }
    Ok((*reserved == [0, 0]).then_some(Fields { offset, len }))
}

/// Reads the tail of a footer and checks it against the footer's checksum.
fn load(source: &impl ReadAt, footer: &[u8], end: u64) -> Result<Option<FoundTail>, OpenError> {
    let Some(fields) = parse(footer, end)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(fields.len).unwrap_or(usize::MAX)];
    source
        .read_exact_at(&mut bytes, fields.offset)
        .map_err(OpenError::io("cannot read the tail"))?;
    let Some((covered, checksum)) = footer.split_last_chunk::<CHECKSUM_LEN>() else {
        return Ok(None);
    };
    let matches = checksum_of(covered, &bytes) == *checksum;
    Ok(matches.then_some(FoundTail {
        offset: fields.offset,
        bytes,
        end,
    }))
}

/// Returns whether `source` ends like a sealed artifact, judging by its last 32 bytes alone.
///
/// This is for hints only: reading may still fail, and an artifact whose last write was interrupted
/// is missed, because searching for an older footer would cost too much.
pub fn looks_sealed(source: &impl ReadAt) -> bool {
    let Ok(end) = source.byte_len() else {
        return false;
    };
    let mut footer = [0; FOOTER_LEN];
    end.checked_sub(FOOTER_BYTES)
        .is_some_and(|start| source.read_exact_at(&mut footer, start).is_ok())
        && parse(&footer, end).is_ok_and(|fields| fields.is_some())
}

/// Finds the newest tail, searching backwards if the last footer is torn.
pub(crate) fn find(source: &impl ReadAt) -> Result<FoundTail, OpenError> {
    let len = source
        .byte_len()
        .map_err(OpenError::io("cannot read the length of the artifact"))?;
    let start = len.checked_sub(FOOTER_BYTES).ok_or(OpenError::NoFooter)?;
    let mut footer = [0; FOOTER_LEN];
    source
        .read_exact_at(&mut footer, start)
        .map_err(OpenError::io("cannot read the footer"))?;
    match load(source, &footer, len)? {
        Some(found) => Ok(found),
        None => search(source, len),
    }
}

fn search(source: &impl ReadAt, len: u64) -> Result<FoundTail, OpenError> {
    let lowest = len.saturating_sub(GAP_BYTES_MAX);
    let mut candidates = 0;
    let mut hashed = 0_u64;
    let mut high = len;
    while high > lowest.saturating_add(FOOTER_BYTES) {
        let low = high.saturating_sub(SEARCH_BLOCK as u64).max(lowest);
        let mut block = vec![0; usize::try_from(high.saturating_sub(low)).unwrap_or(0)];
        source
            .read_exact_at(&mut block, low)
            .map_err(OpenError::io("cannot search for a footer"))?;
        for (at, footer) in block.windows(FOOTER_LEN).enumerate().rev() {
            if !footer.starts_with(MAGIC) {
                continue;
            }
            if candidates == FOOTER_CANDIDATES_MAX {
                return Err(OpenError::NoFooter);
            }
            candidates = candidates.saturating_add(1);
            let end = low.saturating_add(at as u64).saturating_add(FOOTER_BYTES);
            // Ignore footers of other versions and with oversized tails.
            let Ok(Some(fields)) = parse(footer, end) else {
                continue;
            };
            hashed = hashed.saturating_add(fields.len.into());
            if hashed > SEARCH_HASHED_MAX {
                return Err(OpenError::NoFooter);
            }
            // An unreadable tail may be the newest, so do not fall back to an older one.
            if let Some(found) = load(source, footer, end)? {
                return Ok(found);
            }
        }
        // Blocks overlap by one byte less than a footer, so that no footer is split.
        high = if low == lowest {
            lowest
        } else {
            low.saturating_add(FOOTER_BYTES - 1)
        };
    }
    Err(OpenError::NoFooter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(tail: &[u8]) -> Vec<u8> {
        let body = vec![7; 100];
        let footer = encode(100, tail).unwrap();
        [body.as_slice(), tail, &footer].concat()
    }

    #[test]
    fn a_footer_is_found_at_the_end_and_behind_a_torn_write() {
        let mut bytes = artifact(b"tail");
        let end = bytes.len() as u64;
        assert_eq!(find(&bytes).unwrap().bytes, b"tail");

        bytes.resize(bytes.len() + 3 * SEARCH_BLOCK + 17, 0xab);
        let found = find(&bytes).unwrap();
        assert_eq!(
            (found.bytes.as_slice(), found.offset, found.end),
            (&b"tail"[..], 100, end)
        );
    }

    #[test]
    fn only_the_end_tells_what_looks_sealed() {
        let mut bytes = artifact(b"tail");
        assert!(looks_sealed(&bytes));
        assert!(!looks_sealed(&bytes[..bytes.len() - 1].to_vec()));
        bytes.push(0);
        assert!(!looks_sealed(&bytes), "behind a torn write");
        assert!(!looks_sealed(&vec![0; FOOTER_LEN - 1]));
    }

    #[test]
    fn a_footer_across_the_border_of_two_search_blocks_is_found() {
        for torn in (SEARCH_BLOCK - 40)..(SEARCH_BLOCK + 8) {
            let mut bytes = artifact(b"tail");
            bytes.resize(bytes.len() + torn, 1);
            assert_eq!(find(&bytes).unwrap().bytes, b"tail", "{torn} bytes torn");
        }
    }

    #[test]
    fn every_flip_in_tail_or_footer_hides_the_footer() {
        let good = artifact(b"tail");
        for bit in 100 * 8..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = find(&bytes).unwrap_err();
            assert!(
                matches!(refused, OpenError::NoFooter | OpenError::Version { .. }),
                "bit {bit}: {refused}"
            );
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = artifact(b"tail");
        let version = bytes.len() - 32 + 5;
        bytes[version] = 2;
        let refused = find(&bytes).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "format version 2 is not supported; this program reads version 1"
        );
    }

    #[test]
    fn version_0_is_no_footer() {
        let mut bytes = artifact(b"tail");
        let version = bytes.len() - 32 + 5;
        bytes[version] = 0;
        assert!(matches!(find(&bytes).unwrap_err(), OpenError::NoFooter));
    }

    /// An endless source of zeros, with false footers of maximum-length tails.
    struct Sparse {
        len: u64,
        footers: Vec<(u64, [u8; FOOTER_LEN])>,
        read: std::sync::atomic::AtomicU64,
        broken_below: u64,
    }

    impl ReadAt for Sparse {
        fn byte_len(&self) -> std::io::Result<u64> {
            Ok(self.len)
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            if offset < self.broken_below {
                return Err(std::io::ErrorKind::Other.into());
            }
            let count = buffer.len() as u64;
            self.read
                .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            buffer.fill(0);
            for (at, footer) in &self.footers {
                if let Some(from) = at.checked_sub(offset)
                    && let Ok(from) = usize::try_from(from)
                    && let Some(place) = buffer.get_mut(from..)
                    && let Some(place) = place.get_mut(..FOOTER_LEN)
                {
                    place.copy_from_slice(footer);
                }
            }
            Ok(())
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "a test")]
    fn sparse(count: u64, broken_below: u64) -> Sparse {
        let tail = u64::from(TAIL_BYTES_MAX);
        let footers = (0..count).map(|number| {
            let offset = 100 + number * 64;
            let head = [
                MAGIC.as_slice(),
                &VERSION.to_be_bytes(),
                &[0, 0],
                &offset.to_be_bytes(),
                &TAIL_BYTES_MAX.to_be_bytes(),
                &[0; CHECKSUM_LEN],
            ];
            (offset + tail, head.concat().try_into().unwrap())
        });
        let footers: Vec<_> = footers.collect();
        let len = footers.last().unwrap().0 + 40;
        Sparse {
            len,
            footers,
            read: 0.into(),
            broken_below,
        }
    }

    #[test]
    fn a_search_hashes_no_more_than_two_tails() {
        let file = sparse(4, 0);
        assert!(matches!(find(&file).unwrap_err(), OpenError::NoFooter));
        let read = file.read.into_inner();
        assert!(
            read <= SEARCH_HASHED_MAX + 4 * SEARCH_BLOCK as u64,
            "{read}"
        );
    }

    #[test]
    fn what_cannot_be_read_does_not_lead_to_an_older_tail() {
        let file = sparse(1, 10_000);
        assert!(matches!(find(&file).unwrap_err(), OpenError::Io { .. }));
    }

    #[test]
    fn many_false_footers_end_the_search() {
        let mut bytes = artifact(b"tail");
        bytes.extend(std::iter::repeat_n(*MAGIC, FOOTER_CANDIDATES_MAX).flatten());
        bytes.extend([0; 32]);
        assert!(matches!(find(&bytes).unwrap_err(), OpenError::NoFooter));
        assert!(matches!(
            find(&vec![0u8; 31]).unwrap_err(),
            OpenError::NoFooter
        ));
    }
}
