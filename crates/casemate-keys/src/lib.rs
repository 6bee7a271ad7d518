//! Private keys at rest (`spec/key-store.md`, version 1).
//!
//! [`KeyStore`] implements the rules: records are encrypted with keys derived from the root key,
//! bound to their identity, and listed in an authenticated index. An [`Engine`] only stores bytes;
//! [`SqliteEngine`] is the embedded one. Time is an argument.
//!
//! Make a store in memory, and a key in it:
//!
//! ```
//! use casemate_crypto::SecretBytes;
//! use casemate_keys::{KeyStore, MemoryEngine, PassphraseCost, StoreSecret};
//!
//! let secret = StoreSecret::read(SecretBytes::new(b"correct horse".to_vec()))?;
//! let store = KeyStore::create(MemoryEngine::default(), &secret, PassphraseCost::default(), 1_800_000_000)?;
//! assert!(store.list()?.keys.is_empty());
//! # Ok::<(), casemate_keys::StoreError>(())
//! ```

mod engine;
mod error;
mod header;
mod index;
mod name;
mod record;
mod root;
mod secret;
mod slot;
mod sqlite;
mod status;
mod store;
#[cfg(test)]
mod tests;

pub use engine::{Change, Engine, EngineError, MemoryEngine, RecordId, Role, Snapshot};
pub use error::StoreError;
pub use name::KeyName;
pub use secret::{StoreKey, StoreSecret};
pub use slot::PassphraseCost;
pub use sqlite::SqliteEngine;
pub use status::{End, Status, Withdrawn, judge};
pub use store::{KeyEntry, KeyStore, Listing};
