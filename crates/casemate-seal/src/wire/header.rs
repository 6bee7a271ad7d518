//! The immutable header (`spec/sealed-artifact.md`, section 5.1).

use std::fmt;

use casemate_cbor::{Reader, Value, encode, expect_same};
use casemate_crypto::{encoding::KeyId, hash::sha384};

use super::{check_limit, key_id};
use crate::{
    HashAlgorithm, SegmentSize,
    error::{Malformed, OpenError},
    layout::Layout,
    limits::{CONTENT_TYPE_BYTES_MAX, HEADER_KEY_IGNORED_MIN, SEGMENTS_MAX},
};

const HEADER: &str = "header";
const VERSION: u64 = 1;
/// Number of entries that every header has.
const ALWAYS: u64 = 7;

/// A random id, different for each sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArtifactId([u8; Self::BYTES]);

impl ArtifactId {
    /// Length of an artifact id, in bytes.
    pub const BYTES: usize = 16;

    /// Generates a random id.
    ///
    /// # Errors
    ///
    /// [`casemate_crypto::Error::Randomness`].
    pub fn random() -> Result<Self, casemate_crypto::Error> {
        casemate_crypto::random::bytes().map(Self)
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Shows 32 hex digits.
impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns whether `text` is a valid content type: `type/subtype` in printable ASCII, so it is safe
/// to display.
pub(crate) fn is_content_type(text: &str) -> bool {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    printable
        && text
            .split_once('/')
            .is_some_and(|(main, rest)| !main.is_empty() && !rest.is_empty())
}

/// The part of an artifact that never changes after sealing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(crate) id: ArtifactId,
    pub(crate) hash: HashAlgorithm,
    pub(crate) layout: Layout,
    pub(crate) created: u64,
    pub(crate) content_type: String,
    pub(crate) publisher: Option<KeyId>,
    pub(crate) revision: Option<u64>,
    pub(crate) owner: Option<KeyId>,
    /// In ascending order of their keys.
    pub(crate) unknown: Vec<(u64, Value)>,
}

impl Header {
    /// Returns the artifact's id.
    pub const fn id(&self) -> ArtifactId {
        self.id
    }

    /// Returns the hash over the segments.
    pub const fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// Returns the number of content bytes per segment.
    pub const fn segment_size(&self) -> SegmentSize {
        self.layout.segment_size()
    }

    /// Returns the number of segments, at least one.
    pub const fn segments(&self) -> u64 {
        self.layout.segments()
    }

    /// Returns the length of the content, in bytes.
    pub const fn content_len(&self) -> u64 {
        self.layout.content_len()
    }

    /// Returns the length of the body, in bytes.
    pub fn body_len(&self) -> u64 {
        self.layout.body_len()
    }

    /// Returns when the artifact was sealed, as claimed by the sealer, in seconds since 1970-01-01
    /// UTC.
    pub const fn created(&self) -> u64 {
        self.created
    }

    /// Returns the media type of the content.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the key id of the publisher; no other key may sign the artifact.
    pub const fn publisher(&self) -> Option<KeyId> {
        self.publisher
    }

    /// Returns the revision, if there is one.
    pub const fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Returns the key id of the owner, if only the owner may change the recipients.
    pub const fn owner(&self) -> Option<KeyId> {
        self.owner
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let present = [
            self.publisher.is_some(),
            self.revision.is_some(),
            self.owner.is_some(),
        ];
        let known = present.into_iter().filter(|is| *is).count();
        let optional = known.saturating_add(self.unknown.len()) as u64;
        encode(|e| {
            e.map(ALWAYS.saturating_add(optional))?
                .u8(0)?
                .u64(VERSION)?;
            e.u8(1)?.bytes(self.id.as_bytes())?;
            e.u8(2)?.u32(self.layout.segment_size().bytes())?;
            e.u8(3)?.u8(self.hash.id())?;
            e.u8(4)?.u64(self.layout.body_len())?;
            e.u8(5)?.u64(self.created)?;
            e.u8(6)?.str(&self.content_type)?;
            if let Some(publisher) = &self.publisher {
                e.u8(7)?.bytes(publisher.as_bytes())?;
            }
            if let Some(revision) = self.revision {
                e.u8(8)?.u64(revision)?;
            }
            if let Some(owner) = &self.owner {
                e.u8(9)?.bytes(owner.as_bytes())?;
            }
            for (key, value) in &self.unknown {
                e.u64(*key)?;
                match value {
                    Value::Uint(value) => e.u64(*value)?,
                    Value::Bytes(value) => e.bytes(value)?,
                    Value::Text(value) => e.str(value)?,
                };
            }
            Ok(())
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let d = &mut Reader::new(bytes, HEADER);
        let entries = d.map()?;
        d.key(0)?;
        let version = d.uint()?;
        if version != VERSION {
            return Err(OpenError::Version { found: version });
        }
        // A header has at most 1,024 bytes, and an entry at least two.
        let optional = entries
            .checked_sub(ALWAYS)
            .filter(|count| *count <= 512)
            .ok_or_else(|| d.refused())?;
        d.key(1)?;
        let id = ArtifactId(d.fixed("artifact id")?);
        d.key(2)?;
        let segment = SegmentSize::new(d.uint()?)?;
        d.key(3)?;
        let hash = d.uint()?;
        let hash = HashAlgorithm::by_id(hash)
            .ok_or_else(|| OpenError::UnknownSuite(format!("hash {hash}")))?;
        d.key(4)?;
        let layout = Layout::of_body(segment, d.uint()?)?;
        if layout.segments() > SEGMENTS_MAX {
            let (actual, limit) = (layout.segments(), SEGMENTS_MAX);
            return Err(OpenError::Limit {
                what: "number of segments",
                actual,
                limit,
            });
        }
        d.key(5)?;
        let created = d.uint()?;
        d.key(6)?;
        let content_type = d.text()?;
        check_limit("content type", content_type.len(), CONTENT_TYPE_BYTES_MAX)?;
        if !is_content_type(content_type) {
            return Err(Malformed::ContentType.into());
        }
        let mut header = Self {
            id,
            hash,
            layout,
            created,
            content_type: content_type.to_owned(),
            publisher: None,
            revision: None,
            owner: None,
            unknown: Vec::new(),
        };
        header.read_optional(d, optional)?;
        expect_same(bytes, &header.encode(), HEADER)?;
        Ok(header)
    }

    /// Reads the optional keys, in ascending order.
    fn read_optional(&mut self, d: &mut Reader<'_>, count: u64) -> Result<(), OpenError> {
        let mut before = 6;
        for _ in 0..count {
            let key = d.uint()?;
            if key <= before {
                return Err(d.refused().into());
            }
            before = key;
            match key {
                7 => self.publisher = Some(key_id(d)?),
                8 => self.revision = Some(d.uint()?),
                9 => self.owner = Some(key_id(d)?),
                HEADER_KEY_IGNORED_MIN.. => self.unknown.push((key, d.ignored()?)),
                _ => return Err(d.refused().into()),
            }
        }
        if self.revision == Some(0) {
            return Err(Malformed::Revision.into());
        }
        Ok(())
    }

    /// Returns `SHA-384(header)`, which everything else is bound to.
    pub fn digest(&self) -> [u8; 48] {
        sha384(&self.encode())
    }
}
