//! Segment hashes and their root (`spec/sealed-artifact.md`, section 5.3), and the digest of content (`spec/sealed-directory.md`, section 4).

use aws_lc_rs::digest::{self, SHA384};
use casemate_crypto::{Purpose, policy::HashChoice};

/// Hash over the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashAlgorithm {
    /// BLAKE3, 32 bytes: about ten times the speed of SHA-384 here.
    #[default]
    Blake3,
    /// SHA-384, 48 bytes, for profiles that allow FIPS algorithms only.
    Sha384,
}

impl HashAlgorithm {
    pub(crate) const fn by_id(id: u64) -> Option<Self> {
        match id {
            1 => Some(Self::Blake3),
            2 => Some(Self::Sha384),
            _ => None,
        }
    }

    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Blake3 => 1,
            Self::Sha384 => 2,
        }
    }

    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha384 => "sha384",
        }
    }

    /// Bytes of one hash.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Blake3 => 32,
            Self::Sha384 => 48,
        }
    }

    pub(crate) fn segment(self, segment: &[u8]) -> Vec<u8> {
        self.labelled(Purpose::ARTIFACT_SEGMENT, &[segment])
    }

    pub(crate) fn root(
        self,
        floe_header: &[u8],
        [publisher_part, public_part]: [&[u8]; 2],
        segments: u64,
        hashes: &[u8],
    ) -> Vec<u8> {
        let (publisher_part, public_part) = (sha384(publisher_part), sha384(public_part));
        let segments = segments.to_be_bytes();
        self.labelled(
            Purpose::ARTIFACT_ROOT,
            &[
                floe_header,
                &publisher_part,
                &public_part,
                &segments,
                hashes,
            ],
        )
    }

    pub(crate) fn content_segment(self, content: &[u8]) -> Vec<u8> {
        self.labelled(Purpose::CONTENT_SEGMENT, &[content])
    }

    pub(crate) fn content_root(self, content_len: u64, hashes: &[u8]) -> Vec<u8> {
        self.labelled(Purpose::CONTENT_ROOT, &[&content_len.to_be_bytes(), hashes])
    }

    fn labelled(self, purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new_derive_key(purpose.as_str());
                parts.iter().for_each(|part| _ = hasher.update(part));
                hasher.finalize().as_bytes().to_vec()
            }
            Self::Sha384 => {
                let mut context = digest::Context::new(&SHA384);
                context.update(purpose.as_bytes());
                context.update(&[0]);
                parts.iter().for_each(|part| context.update(part));
                context.finish().as_ref().to_vec()
            }
        }
    }
}

impl From<HashChoice> for HashAlgorithm {
    fn from(choice: HashChoice) -> Self {
        match choice {
            HashChoice::Sha384 => Self::Sha384,
            HashChoice::Blake3 => Self::Blake3,
        }
    }
}

/// SHA-384, to which header and recipients are bound whatever the segment hash.
pub(crate) fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest::digest(&SHA384, bytes).as_ref());
    out
}
