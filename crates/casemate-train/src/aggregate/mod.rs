//! Secure aggregation (`spec/secure-aggregation.md`): a server learns the sum of its clients'
//! updates and nothing else about any of them.
//!
//! A [`Client`] goes through a [`Round`] with the messages of a [`Server`].

mod choose;
mod client;
mod error;
mod fields;
mod floors;
mod graph;
mod inbox;
mod outcome;
mod peers;
mod policy;
mod privacy;
mod recommend;
mod reveal;
mod round;
mod server;
mod signed;
mod state;
mod vector;

pub use client::{Client, MaskedUpdate, Participation};
pub use error::{AggregateError, Step};
pub use fields::MESSAGE_BYTES_MAX;
pub use floors::Floors;
pub use outcome::{Aggregate, Blame};
pub use policy::{
    AggregationPolicy, COHORT_MAX, HOLDERS_MAX, LENGTH_MAX, Noise, POLICY_BYTES_MAX, Parameters,
};
pub use privacy::Accountant;
pub use recommend::{WishedNoise, Wishes};
pub use round::Round;
pub use server::{Outgoing, Server};

/// Restores secrets from shares by place.
#[cfg(test)]
pub(crate) fn combine_for_tests(shares: &[(u8, &[u8])]) -> Vec<u8> {
    casemate_crypto::sharing::combine(shares).unwrap().to_vec()
}
