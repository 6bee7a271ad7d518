//! Key stores in etcd (`spec/key-store.md`, section 7.1), through the JSON gateway of its version 3
//! API.
//!
//! Every read begins at the newest revision that a majority agrees on, and sees only that revision.
//! A change is one transaction that compares the generation. So a minority neither reads nor
//! writes.

mod api;
mod cache;
mod call;
mod engine;
mod fill;
mod generation;
#[cfg(feature = "hazmat")]
pub mod hazmat;
mod staged;
mod view;

pub use call::EtcdError;
pub use engine::{EtcdEngine, EtcdOptions};
