//! Tests of the public API.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a failed expectation fails the test"
)]

mod binary_http;
mod documents;
mod interop;
mod limits;
mod model;
mod protected;
