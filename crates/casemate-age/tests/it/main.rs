//! age files: the C2SP test kit, round trips and what must be refused.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod files;
mod testkit;
