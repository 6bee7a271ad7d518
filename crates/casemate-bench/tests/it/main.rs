//! Reports: measured, read, refused, rendered and compared.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a failed expectation fails the test"
)]

mod compared;
mod measured;
mod read;
mod rendered;
mod sample;
