//! Tests of the public API.

#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod damage;
mod keys;
