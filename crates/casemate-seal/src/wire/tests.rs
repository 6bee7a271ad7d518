//! Every rule of the tail's encoding, from bytes that a writer of ours would not produce.

mod header;
mod owner;
mod parts;
mod tail;

use casemate_cbor::CborError;
use casemate_testkit::cbor::{NULL, array, bytes, encode, map, text, uint};

use crate::error::{Malformed, OpenError};

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
