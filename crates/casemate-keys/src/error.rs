//! Errors of the key store.

use casemate_crypto::encoding::EncodingError;

use crate::engine::{EngineError, RecordId};

/// Why the key store refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store yet.
    #[error("there is no key store here")]
    Missing,
    /// A store is there already.
    #[error("a key store exists here already")]
    Exists,
    /// A later version.
    #[error("key store version {0} is not supported, this program reads version 1")]
    Version(u64),
    /// The header breaks a rule.
    #[error("the key store's header is damaged: {0}")]
    Header(&'static str),
    /// No slot opens with the passphrase.
    #[error("wrong passphrase, or the key store was changed")]
    WrongPassphrase,
    /// No slot opens with the key.
    #[error("wrong key file, or the key store was changed")]
    WrongKey,
    /// A passphrase was given and there is no slot for one.
    #[error("the key store opens with its key file, and this is none")]
    NeedsKey,
    /// A key was given and there is no slot for one.
    #[error("the key store opens with a passphrase, not with a key file")]
    NeedsPassphrase,
    /// Text that begins like a key and is none.
    #[error(
        "the key file is damaged, or of another version: it begins like a store's key and is none"
    )]
    BadKeyText,
    /// A new passphrase is too short.
    #[error("passphrase of {actual} bytes is shorter than {least}")]
    PassphraseTooShort {
        /// Bytes given.
        actual: usize,
        /// Bytes needed.
        least: usize,
    },
    /// The index was changed by somebody without the root key.
    #[error(
        "the key store's index is damaged: records may have been added, removed or rolled back"
    )]
    Index,
    /// A record is not the one that was stored.
    #[error("record {0} is damaged: it was changed or rolled back")]
    DamagedRecord(RecordId),
    /// A record is gone.
    #[error("record {0} is missing from the key store")]
    MissingRecord(RecordId),
    /// Somebody added a record.
    #[error("record {0} is not in the key store's index")]
    ForeignRecord(RecordId),
    /// Every record is gone.
    #[error("all {0} records were removed from the key store")]
    Emptied(usize),
    /// What opens the store was changed by another process.
    #[error("the key store's secret was changed by another process in between")]
    Replaced,
    /// The name is taken.
    #[error("a key named `{0}` exists already")]
    NameTaken(String),
    /// The key is there already.
    #[error("the key store holds this key already, as `{0}`")]
    KeyTaken(String),
    /// The name is not allowed.
    #[error(
        "`{0}` is no key name: use 1 to 64 of a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit, not a key id"
    )]
    BadName(String),
    /// No suite has this name.
    #[error("no suite is named `{0}`")]
    UnknownSuite(String),
    /// The key is somebody else's; only its public half is here.
    #[error("`{0}` is a public key; its private half is not in this store")]
    NoPrivateKey(String),
    /// The store is full.
    #[error("the key store holds {0} records, the most it can")]
    Full(usize),
    /// A key file is malformed.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// Cryptography failed for a reason that is not the store's.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
