//! The immutable header (`spec/sealed-artifact.md`, section 5.1).

use std::fmt;

use casemate_crypto::encoding::KeyId;
use minicbor::{Decoder, data::Type};

use super::{cbor, check_limit, encode, expect_deterministic, expect_key, key_id};
use crate::{
    HashAlgorithm, SegmentSize,
    error::{Malformed, OpenError},
    hash::sha384,
    layout::Layout,
    limits::{CONTENT_TYPE_BYTES_MAX, HEADER_KEY_IGNORED_MIN, SEGMENTS_MAX},
};

const HEADER: &str = "header";
const VERSION: u64 = 1;
/// Number of entries that every header has.
const ALWAYS: u64 = 7;

/// The value of an unknown key, which is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
}

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

/// Reads a value that is ignored. It must be a number, bytes or text, so that its encoding can be
/// checked like any other.
fn unknown(d: &mut Decoder<'_>) -> Result<Unknown, OpenError> {
    Ok(match d.datatype().map_err(cbor(HEADER))? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            Unknown::Uint(d.u64().map_err(cbor(HEADER))?)
        }
        Type::Bytes => Unknown::Bytes(d.bytes().map_err(cbor(HEADER))?.to_vec()),
        Type::String => Unknown::Text(d.str().map_err(cbor(HEADER))?.to_owned()),
        _ => return Err(Malformed::Cbor(HEADER).into()),
    })
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
    pub(crate) unknown: Vec<(u64, Unknown)>,
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
        let optional = present.into_iter().filter(|is| *is).count();
        let optional = optional.saturating_add(self.unknown.len()) as u64;
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
                    Unknown::Uint(value) => e.u64(*value)?,
                    Unknown::Bytes(value) => e.bytes(value)?,
                    Unknown::Text(value) => e.str(value)?,
                };
            }
            Ok(())
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut decoder = Decoder::new(bytes);
        let d = &mut decoder;
        let entries = d.map().map_err(cbor(HEADER))?;
        expect_key(d, 0, HEADER)?;
        let version = d.u64().map_err(cbor(HEADER))?;
        if version != VERSION {
            return Err(OpenError::Version { found: version });
        }
        let optional = entries.and_then(|entries| entries.checked_sub(ALWAYS));
        // A header has at most 1,024 bytes, and an entry at least two.
        let optional = optional.filter(|count| *count <= 512);
        let optional = optional.ok_or(Malformed::Cbor(HEADER))?;
        expect_key(d, 1, HEADER)?;
        let id = d.bytes().map_err(cbor(HEADER))?;
        let id = ArtifactId(id.try_into().map_err(|_| Malformed::FieldLength {
            field: "artifact id",
            actual: id.len(),
            expected: ArtifactId::BYTES,
        })?);
        expect_key(d, 2, HEADER)?;
        let segment = SegmentSize::new(d.u64().map_err(cbor(HEADER))?)?;
        expect_key(d, 3, HEADER)?;
        let hash = d.u64().map_err(cbor(HEADER))?;
        let hash = HashAlgorithm::by_id(hash)
            .ok_or_else(|| OpenError::UnknownSuite(format!("hash {hash}")))?;
        expect_key(d, 4, HEADER)?;
        let layout = Layout::of_body(segment, d.u64().map_err(cbor(HEADER))?)?;
        if layout.segments() > SEGMENTS_MAX {
            let (actual, limit) = (layout.segments(), SEGMENTS_MAX);
            return Err(OpenError::Limit {
                what: "number of segments",
                actual,
                limit,
            });
        }
        expect_key(d, 5, HEADER)?;
        let created = d.u64().map_err(cbor(HEADER))?;
        expect_key(d, 6, HEADER)?;
        let content_type = d.str().map_err(cbor(HEADER))?;
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
        expect_deterministic(bytes, &header.encode(), HEADER)?;
        Ok(header)
    }

    /// Reads the optional keys, in ascending order.
    fn read_optional(&mut self, d: &mut Decoder<'_>, count: u64) -> Result<(), OpenError> {
        let mut before = 6;
        for _ in 0..count {
            let key = d.u64().map_err(cbor(HEADER))?;
            if key <= before {
                return Err(Malformed::Cbor(HEADER).into());
            }
            before = key;
            match key {
                7 => self.publisher = Some(key_id(d, HEADER)?),
                8 => self.revision = Some(d.u64().map_err(cbor(HEADER))?),
                9 => self.owner = Some(key_id(d, HEADER)?),
                HEADER_KEY_IGNORED_MIN.. => self.unknown.push((key, unknown(d)?)),
                _ => return Err(Malformed::Cbor(HEADER).into()),
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
