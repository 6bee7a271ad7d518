//! Private keys at rest (`spec/key-store.md`, version 2).
//!
//! [`KeyStore`] implements the rules: rows are encrypted with keys derived from the root key, bound
//! to their identity, and listed in an authenticated tree. Slots wrap the root key for whoever
//! opens the key store. An [`Engine`] only stores bytes; [`SqliteEngine`] is the embedded one. Time
//! is an argument.
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

mod binding;
mod engine;
mod error;
mod group;
mod header;
mod index;
mod keys;
mod log;
mod name;
mod record;
mod root;
mod row;
mod sealed;
mod secret;
mod slot;
mod sqlite;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod tombstone;
mod tree;
mod usage;
mod version_1;
mod versions;

pub use binding::Binding;
pub use engine::{
    AnyEngine, Change, Engine, EngineError, Head, MemoryEngine, Page, Put, Snapshot, Table, View,
    each,
};
pub use error::{Locked, StoreError};
pub use group::GroupInfo;
pub use header::Slots;
pub use keys::Keys;
pub use log::Actor;
pub use name::{KeyName, SlotName};
pub use row::{Role, RowId, RowKind};
pub use secret::{StoreKey, StoreSecret};
pub use slot::{KeeperError, KeeperKind, NewSlot, Openers, PassphraseCost, SlotInfo, SlotKeeper};
pub use sqlite::SqliteEngine;
pub use status::{End, Status, Withdrawn, judge};
pub use store::{
    KeyEntry, KeyStore, KeyUse, Listing, LogVerified, Offline, Rotated, VisitLog, slots_of,
};
pub use usage::Usage;
pub use versions::{Due, RotationPolicy, State, Version, VersionNumber, Versions};
