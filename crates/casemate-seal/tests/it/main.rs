//! Tests of the public API.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::indexing_slicing,
    clippy::panic_in_result_fn,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a failed expectation fails the test"
)]

mod content;
mod crash;
mod folder;
mod hostile;
mod limits;
mod locks;
mod many;
mod outputs;
mod owner;
mod replaced;
mod roundtrip;
mod support;
mod vectors;
