//! The hashes that statements name.

use aws_lc_rs::digest;
use blake2::Digest as _;

/// A hash over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Blake2b,
    Blake3,
}

impl Hash {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Blake2b, Self::Blake3]
            .into_iter()
            .find(|hash| hash.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Hex digits of a digest.
    pub(crate) const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Blake2b => 128,
        }
    }

    pub(crate) fn start(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(digest::Context::new(&digest::SHA256)),
            Self::Blake2b => Hasher::Blake2b(Box::new(blake2::Blake2b512::new())),
            Self::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
        }
    }
}

/// A digest under way.
pub(crate) enum Hasher {
    Sha256(digest::Context),
    Blake2b(Box<blake2::Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(context) => context.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => _ = hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> String {
        match self {
            Self::Sha256(context) => hex::encode(context.finish()),
            Self::Blake2b(hasher) => hex::encode(hasher.finalize()),
            Self::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
        }
    }
}
