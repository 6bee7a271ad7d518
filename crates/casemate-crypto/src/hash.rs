//! SHA-384, which binds formats and transcripts.

use aws_lc_rs::digest::{Context, SHA384};

/// Length of a hash, in bytes.
pub const HASH_BYTES: usize = 48;

/// Computes SHA-384 over `bytes`.
pub fn sha384(bytes: &[u8]) -> [u8; HASH_BYTES] {
    sha384_of(&[bytes])
}

/// Computes SHA-384 over the concatenation of `parts`.
pub fn sha384_of(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut hash = Sha384::default();
    parts.iter().for_each(|part| hash.update(part));
    hash.finish()
}

/// SHA-384 of bytes that come in pieces.
pub struct Sha384(Context);

impl Default for Sha384 {
    fn default() -> Self {
        Self(Context::new(&SHA384))
    }
}

impl std::fmt::Debug for Sha384 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha384(..)")
    }
}

impl Sha384 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes.
    pub fn finish(self) -> [u8; HASH_BYTES] {
        let mut out = [0; HASH_BYTES];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_fips_180_and_parts_are_joined() {
        // FIPS 180-4, example "abc".
        let abc = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(hex::encode(sha384(b"abc")), abc);
        assert_eq!(sha384_of(&[b"a", b"", b"bc"]), sha384(b"abc"));
        assert_ne!(sha384(b"abd"), sha384(b"abc"));
    }
}
