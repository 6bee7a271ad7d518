//! A key service and its client (`spec/key-service.md`, version 1).
//!
//! | task | entry point |
//! |---|---|
//! | serve | [`Service`], then [`serve()`] |
//! | say who may do what | [`Grants`] |
//! | use the keys of a service | [`RemoteKeys`] |
//!
//! ```
//! use casemate_service::{GrantEntry, Grants};
//!
//! let trainer = GrantEntry {
//!     clients: vec!["trainer.example.org".to_owned()],
//!     keys: vec!["models".to_owned()],
//!     operations: vec!["read".to_owned(), "open".to_owned()],
//!     artifacts: None,
//!     until: None,
//! };
//! Grants::new(&[trainer])?;
//! # Ok::<(), casemate_service::BadGrant>(())
//! ```

mod answers;
mod cache;
mod data_key;
mod grants;
#[cfg(feature = "hazmat")]
pub mod hazmat;
mod kept;
mod openapi;
mod pending;
mod problem;
mod remote;
mod service;
mod wire;
mod worker;

pub use grants::{BadGrant, GrantEntry, Grants, Operation};
pub use openapi::document as openapi_document;
pub use remote::{Remote, RemoteError, RemoteKeys};
pub use service::{Service, ServiceOptions, serve};
pub use worker::ServedStore;
