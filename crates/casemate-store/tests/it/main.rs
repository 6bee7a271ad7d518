//! Stores that behave as none should, and what connections to stores look like.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::format_push_string,
    reason = "a failed expectation fails the test"
)]

mod hello;
mod hostile;
mod parallel;
mod support;
mod tls;
