//! Deterministic CBOR (RFC 8949, section 4.2.1): writing into vectors, and strict reading.
//!
//! A [`Reader`] accepts the structure that its caller asks for and nothing else. It does not check
//! that integers are short or that maps are sorted: a format encodes what it read again and calls
//! [`expect_same`], which covers shortest forms, key order, definite lengths and trailing bytes at
//! once.
//!
//! ```
//! use casemate_cbor::{Reader, encode, expect_same};
//!
//! let write = |revision| encode(|e| e.map(1)?.u8(0)?.u64(revision).map(drop));
//! let bytes = write(7);
//! let mut reader = Reader::new(&bytes, "note");
//! reader.map_of(1)?;
//! reader.key(0)?;
//! let revision = reader.uint()?;
//! expect_same(&bytes, &write(revision), "note")?;
//! # Ok::<(), casemate_cbor::CborError>(())
//! ```

mod reader;

use core::convert::Infallible;

pub use minicbor::Encoder;
pub use reader::{Reader, Value};

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The structure is not the expected one.
    #[error("{0} is not the expected CBOR structure")]
    Structure(&'static str),
    /// The encoding is not deterministic, or something follows it.
    #[error("{0} is not in deterministic encoding")]
    NotDeterministic(&'static str),
    /// A byte string has another length than the format demands.
    #[error("{field} of {actual} bytes, expected {expected}")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length.
        actual: usize,
        /// The length it must have.
        expected: usize,
    },
}

/// The result of writing into a vector, which cannot fail.
pub type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Returns what `build` writes.
pub fn encode(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(&mut out, build);
    out
}

/// Appends what `build` writes to a vector, for secrets whose length is known.
pub fn encode_into(out: &mut Vec<u8>, build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) {
    let written = build(&mut Encoder::new(out));
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
}

/// Checks that encoding again yields `encoded`.
///
/// # Errors
///
/// [`CborError::NotDeterministic`].
pub fn expect_same(encoded: &[u8], again: &[u8], what: &'static str) -> Result<(), CborError> {
    if encoded == again {
        Ok(())
    } else {
        Err(CborError::NotDeterministic(what))
    }
}
