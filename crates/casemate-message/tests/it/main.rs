//! Tests of the public API.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a failed expectation fails the test"
)]

mod documents;
mod interop;
mod model;
mod protected;
