//! Every rule of the stored bytes, from bytes that a writer of ours would not produce.

mod header;
mod index;
mod record;

use casemate_cbor::{Encoder, Written, encode};
use casemate_crypto::Secret;

use crate::root::RootKey;

fn item(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
    encode(write)
}

fn uint(value: u64) -> Vec<u8> {
    item(|e| e.u64(value).map(drop))
}

fn bytes(value: &[u8]) -> Vec<u8> {
    item(|e| e.bytes(value).map(drop))
}

fn text(value: &str) -> Vec<u8> {
    item(|e| e.str(value).map(drop))
}

const NULL: &[u8] = &[0xf6];

fn map(entries: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = item(|e| e.map(entries.len() as u64).map(drop));
    for (key, value) in entries {
        out.extend(uint(*key));
        out.extend(value);
    }
    out
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = item(|e| e.array(items.len() as u64).map(drop));
    items.iter().for_each(|item| out.extend(item));
    out
}

/// The root key of the store whose id repeats 1.
fn root(byte: u8) -> RootKey {
    RootKey::new(Secret::copy_from("root", &[byte; 32]).unwrap(), [1; 16])
}
