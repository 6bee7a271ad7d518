//! Every rule of the stored bytes, from bytes that a writer of ours would not produce.

mod header;
mod index;
mod record;
mod sqlite;
mod tree;

use casemate_crypto::Secret;
use casemate_testkit::cbor::{NULL, array, bytes, encode, map, text, uint};

use crate::root::RootKey;

/// The root key of the store whose id repeats 1.
fn root(byte: u8) -> RootKey {
    RootKey::new(Secret::copy_from("root", &[byte; 32]).unwrap(), [1; 16])
}
