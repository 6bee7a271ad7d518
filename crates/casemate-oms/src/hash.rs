//! The hashes used in statements.

use aws_lc_rs::digest;
use blake2::Digest as _;

/// A hash over files, or over their segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Blake2b,
    Blake3,
}

impl Hash {
    /// Finds a hash of resources by name.
    pub(crate) fn of_resources(name: &str) -> Option<Self> {
        Self::among([Self::Sha256, Self::Blake2b, Self::Blake3], name)
    }

    /// Finds a hash of segments by name.
    pub(crate) fn of_segments(name: &str) -> Option<Self> {
        Self::among([Self::Blake3, Self::Sha384], name)
    }

    fn among<const N: usize>(known: [Self; N], name: &str) -> Option<Self> {
        known.into_iter().find(|hash| hash.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// Returns the length of a digest, in bytes.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha384 => 48,
            Self::Blake2b => 64,
        }
    }

    pub(crate) fn start(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha2(digest::Context::new(&digest::SHA256)),
            Self::Sha384 => Hasher::Sha2(digest::Context::new(&digest::SHA384)),
            Self::Blake2b => Hasher::Blake2b(Box::new(blake2::Blake2b512::new())),
            Self::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    /// Returns the digest of `bytes`.
    #[cfg(test)]
    pub(crate) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = self.start();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// An unfinished digest.
pub(crate) enum Hasher {
    Sha2(digest::Context),
    Blake2b(Box<blake2::Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha2(context) => context.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => _ = hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha2(context) => context.finish().as_ref().to_vec(),
            Self::Blake2b(hasher) => hasher.finalize().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        }
    }
}
