//! Segment tables: the hashes of the segments of a file (`spec/model-signature.md`, section 3.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    OmsError,
    hash::{Hash, Hasher},
    json,
};

/// Largest integer that all JSON implementations represent exactly.
const LENGTH_MAX: u64 = (1 << 53) - 1;
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Default length of a segment, in bytes.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Number of hashes per model above which segments get longer.
const SEGMENTS_MAX: u64 = 128 << 10;

/// Annotations of a resource; other members are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Annotations {
    #[serde(
        rename = "casemate/v1/segments",
        default,
        deserialize_with = "json::nullable",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) segments: Option<Table>,
}

/// A segment table, as written in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    length: u64,
    segment_size: u64,
    hash: String,
    hashes: String,
}

/// How a file is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) segment_len: u64,
    pub(crate) hash: Hash,
}

impl Layout {
    /// Returns the layout for files of these lengths.
    pub(crate) fn of(hash: Hash, files: &(impl Iterator<Item = u64> + Clone)) -> Self {
        let mut segment_len = SEGMENT_BYTES;
        // Files with one segment have no table.
        let segments = |len: u64| {
            let long = files.clone().filter(|file| *file > len);
            let each = long.map(|file| file.div_ceil(len.max(1)));
            each.fold(0_u64, u64::saturating_add)
        };
        while segments(segment_len) > SEGMENTS_MAX && segment_len < SEGMENT_BYTES_MAX {
            segment_len = segment_len.saturating_mul(2);
        }
        Self { segment_len, hash }
    }
}

/// A file's segments and their hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) file_len: u64,
    pub(crate) layout: Layout,
    hashes: Vec<u8>,
}

impl Segments {
    /// Returns the segments of a file that is one segment.
    pub(crate) const fn whole(file_len: u64, hash: Hash, digest: Vec<u8>) -> Self {
        Self {
            file_len,
            layout: Layout {
                segment_len: if file_len == 0 { 1 } else { file_len },
                hash,
            },
            hashes: digest,
        }
    }

    pub(crate) fn decode(table: &Table) -> Result<Self, OmsError> {
        let rule = OmsError::Statement;
        if !(1..=LENGTH_MAX).contains(&table.length) {
            return Err(rule("a segment table has an invalid length"));
        }
        let segment_len = table.segment_size;
        if !segment_len.is_power_of_two()
            || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_len)
        {
            return Err(rule("a segment table has an invalid segment size"));
        }
        let hash = Hash::of_segments(&table.hash)
            .ok_or_else(|| rule("a segment table has an unknown hash"))?;
        let hashes = STANDARD
            .decode(&table.hashes)
            .map_err(|_| rule("a segment table is not base64"))?;
        let count = table.length.div_ceil(segment_len);
        if hashes.len() as u64 != count.saturating_mul(hash.len() as u64) {
            return Err(rule("a segment table has the wrong number of hashes"));
        }
        Ok(Self {
            file_len: table.length,
            layout: Layout { segment_len, hash },
            hashes,
        })
    }

    pub(crate) fn encode(&self) -> Table {
        Table {
            length: self.file_len,
            segment_size: self.layout.segment_len,
            hash: self.layout.hash.name().to_owned(),
            hashes: STANDARD.encode(&self.hashes),
        }
    }

    /// Returns the length of a segment, in bytes; `None` if there is no segment with this index.
    pub(crate) fn len_of(&self, index: u64) -> Option<usize> {
        let start = index.checked_mul(self.layout.segment_len)?;
        let rest = self.file_len.checked_sub(start)?;
        // An empty file has one empty segment.
        let is_there = rest > 0 || index == 0;
        let len = rest.min(self.layout.segment_len);
        usize::try_from(len).ok().filter(|_| is_there)
    }

    /// Returns whether a segment has this digest.
    pub(crate) fn is(&self, index: u64, digest: &[u8]) -> bool {
        let len = self.layout.hash.len();
        let start = usize::try_from(index)
            .ok()
            .and_then(|at| at.checked_mul(len));
        let expected = start.and_then(|start| self.hashes.get(start..start.checked_add(len)?));
        expected == Some(digest)
    }
}

/// Hashes a file segment by segment, from its start.
pub(crate) struct Hashing {
    segments: Segments,
    current: Hasher,
    /// Bytes missing from the current segment.
    left: u64,
}

impl Hashing {
    pub(crate) fn start(file_len: u64, layout: Layout) -> Self {
        Self {
            segments: Segments {
                file_len,
                layout,
                hashes: Vec::new(),
            },
            current: layout.hash.start(),
            left: layout.segment_len,
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(take.min(bytes.len()));
            self.current.update(part);
            self.left = self.left.saturating_sub(part.len() as u64);
            bytes = rest;
            if self.left == 0 {
                self.next();
            }
        }
    }

    fn next(&mut self) {
        let layout = self.segments.layout;
        let done = std::mem::replace(&mut self.current, layout.hash.start());
        self.segments.hashes.extend(done.finish());
        self.left = layout.segment_len;
    }

    pub(crate) fn finish(mut self) -> Segments {
        if self.left < self.segments.layout.segment_len {
            self.next();
        }
        self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(content: &[u8], step: usize) -> Segments {
        let layout = Layout {
            segment_len: 4096,
            hash: Hash::Sha384,
        };
        let mut hashing = Hashing::start(content.len() as u64, layout);
        content.chunks(step).for_each(|part| hashing.update(part));
        hashing.finish()
    }

    #[test]
    fn a_table_is_the_same_however_the_file_was_read() {
        let content: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let whole = hashed(&content, content.len());
        for step in [1, 1000, 4096, 5000] {
            assert_eq!(hashed(&content, step), whole);
        }
        assert_eq!(Segments::decode(&whole.encode()).unwrap(), whole);
        let parts = [0, 1, 2].map(|index| whole.len_of(index).unwrap());
        assert_eq!((parts, whole.len_of(3)), ([4096, 4096, 1808], None));
        for (index, part) in content.chunks(4096).enumerate() {
            assert!(whole.is(index as u64, &Hash::Sha384.digest(part)));
            assert!(!whole.is(index as u64, &Hash::Sha384.digest(&part[1..])));
        }
        let empty = Hash::Sha384.digest(b"");
        assert!(!whole.is(3, &empty) && !whole.is(u64::MAX, &empty));
        assert!(!whole.is(3, &[]) && !whole.is(0, &[]));
    }

    #[test]
    fn a_file_of_full_segments_has_no_empty_one() {
        let segments = hashed(&[7; 8192], 8192);
        assert_eq!((segments.len_of(1), segments.len_of(2)), (Some(4096), None));
        assert_eq!(segments.hashes.len(), 96);
    }

    #[test]
    fn an_empty_file_is_one_segment() {
        let empty = Segments::whole(0, Hash::Sha256, Hash::Sha256.digest(b""));
        assert_eq!((empty.len_of(0), empty.len_of(1)), (Some(0), None));
        assert!(empty.is(0, &Hash::Sha256.digest(b"")) && !empty.is(0, &Hash::Sha256.digest(b"x")));
    }

    #[test]
    fn tables_that_break_a_rule_are_refused() {
        let good = hashed(&[7; 5000], 5000).encode();
        Segments::decode(&good).unwrap();
        let changes: [fn(&mut Table); 12] = [
            |table| table.length = 0,
            |table| table.length = 8193,
            |table| table.length = 4096,
            |table| table.length = u64::MAX,
            |table| table.segment_size = 0,
            |table| table.segment_size = 2048,
            |table| table.segment_size = 5000,
            |table| table.segment_size = 128 << 20,
            |table| table.hash = "sha256".to_owned(),
            |table| table.hash = "blake3".to_owned(),
            |table| table.hashes.push('A'),
            |table| table.hashes.clear(),
        ];
        for change in changes {
            let mut table = good.clone();
            change(&mut table);
            assert!(Segments::decode(&table).is_err(), "{table:?}");
        }
    }

    #[test]
    fn segments_grow_with_the_model() {
        let len = |files: &[u64]| Layout::of(Hash::Blake3, &files.iter().copied()).segment_len;
        assert_eq!(len(&[]), 1 << 20);
        assert_eq!(len(&[128 << 30]), 1 << 20);
        assert_eq!(len(&[128 << 30, 1]), 1 << 20);
        assert_eq!(len(&[128 << 30, 2 << 20]), 2 << 20);
        assert_eq!(len(&vec![1; 200_000]), 1 << 20);
        assert_eq!(len(&[1 << 50]), 64 << 20);
    }
}
