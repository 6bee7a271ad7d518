//! Tests of the public API.

#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod changes;
mod damage;
mod database;
mod keys;
mod lifecycle;
mod log;
mod migrate;
mod slots;
mod uses;
