//! Stores that behave as none should, and what connections to stores look like.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a failed expectation fails the test"
)]

mod hello;
mod support;
mod tls;
