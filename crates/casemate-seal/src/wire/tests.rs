//! Every rule of the tail's encoding, from bytes that a writer of ours would not produce.

mod header;
mod owner;
mod parts;
mod tail;

use casemate_cbor::{CborError, Encoder, Written, encode};

use crate::error::{Malformed, OpenError};

/// Returns the encoding of one item.
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

/// Returns a map with these entries in this order, whatever a format demands.
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

fn structure(what: &'static str) -> Malformed {
    Malformed::Cbor(CborError::Structure(what))
}

fn not_deterministic(what: &'static str) -> Malformed {
    Malformed::Cbor(CborError::NotDeterministic(what))
}

fn length(field: &'static str, actual: usize, expected: usize) -> Malformed {
    Malformed::Cbor(CborError::Length {
        field,
        actual,
        expected,
    })
}

/// Asserts that the bytes were refused for this rule.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "rules are made where they are passed"
)]
fn assert_malformed<T: std::fmt::Debug>(
    refused: Result<T, OpenError>,
    rule: Malformed,
    case: &str,
) {
    match refused {
        Err(OpenError::Malformed(found)) => assert_eq!(found, rule, "{case}"),
        other => panic!("{case}: {other:?}"),
    }
}
