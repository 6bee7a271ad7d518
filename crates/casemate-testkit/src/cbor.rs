//! CBOR items that a strict writer would not produce: map entries and arrays in any order.

use core::convert::Infallible;

use minicbor::{Encoder, encode::Error};

/// The result of writing into a vector.
pub type Written = Result<(), Error<Infallible>>;

/// The item `null`.
pub const NULL: &[u8] = &[0xf6];

/// Returns what `build` writes.
pub fn encode(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut Encoder::new(&mut out)).expect("a vector takes any bytes");
    out
}

/// Returns an unsigned integer.
pub fn uint(value: u64) -> Vec<u8> {
    encode(|e| e.u64(value).map(drop))
}

/// Returns a byte string.
pub fn bytes(value: &[u8]) -> Vec<u8> {
    encode(|e| e.bytes(value).map(drop))
}

/// Returns a text string.
pub fn text(value: &str) -> Vec<u8> {
    encode(|e| e.str(value).map(drop))
}

/// Returns an array of these items.
pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = encode(|e| e.array(items.len() as u64).map(drop));
    items.iter().for_each(|item| out.extend(item));
    out
}

/// Returns a map with these entries in this order, whatever a format demands.
pub fn map(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = encode(|e| e.map(entries.len() as u64).map(drop));
    for (key, value) in entries {
        out.extend(uint(*key));
        out.extend(value);
    }
    out
}
