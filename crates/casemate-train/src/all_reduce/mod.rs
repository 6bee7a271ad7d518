//! Masked all-reduce (`spec/masked-all-reduce.md`): ranks sum vectors with a library that sees
//! only masked words, and notice what was changed on the way.
//!
//! Channels of a ring of ranks make a [`Rendezvous`], which yields a [`Ring`]. Each [`Reduction`]
//! of it has three exchanges, in which every rank sends one message to all others. Vectors are
//! masked and unmasked piece by piece, so that the library sums one while others are computed.

mod checksum;
mod error;
mod exchange;
mod keys;
mod lanes;
mod masks;
mod reduction;
mod rendezvous;

pub use error::{AllReduceError, Exchange};
pub use exchange::{ANNOUNCEMENT_BYTES, RESULT_BYTES, TAGS_BYTES};
pub use keys::{Mode, Ring};
pub use lanes::Lanes;
pub use reduction::{Agreed, Confirmation, Masker, Reduction, Unmasker, VALUES_MAX};
pub use rendezvous::{RANKS_MAX, Rendezvous};
#[cfg(test)]
pub(crate) use rendezvous::{derive, transcript};
