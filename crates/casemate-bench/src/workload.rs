//! The cost of protection for AI workloads: gradients, checkpoints, TLS handshakes, federated
//! rounds.

mod aggregate;
pub(crate) mod checkpoint;
pub(crate) mod gradient;
pub(crate) mod handshake;
mod job;
mod link;
pub(crate) mod round;
