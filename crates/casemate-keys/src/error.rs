//! Errors of the key store.

use casemate_cbor::CborError;
use casemate_crypto::encoding::EncodingError;

use crate::engine::{EngineError, RecordId};

/// Why an operation on the key store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no key store yet.
    #[error("there is no key store")]
    Missing,
    /// A key store already exists.
    #[error("a key store already exists")]
    Exists,
    /// A later version than this program supports.
    #[error("key store version {0} is not supported; this program reads version 1")]
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
    /// A passphrase was given, but there is no slot for one.
    #[error("the key store opens with its key file, not with a passphrase")]
    NeedsKey,
    /// A key was given, but there is no slot for one.
    #[error("the key store opens with a passphrase, not with a key file")]
    NeedsPassphrase,
    /// The text begins like a store key but is not a valid one.
    #[error("the key file is damaged, or has an unsupported version")]
    BadKeyText,
    /// A new passphrase is too short.
    #[error("passphrase of {actual} bytes is shorter than {least}")]
    PassphraseTooShort {
        /// Length given, in bytes.
        actual: usize,
        /// Minimum length, in bytes.
        least: usize,
    },
    /// The index was changed without the root key.
    #[error(
        "the key store's index is damaged: records may have been added, removed or rolled back"
    )]
    Index,
    /// A record was changed or replaced.
    #[error("record {0} is damaged: it was changed or rolled back")]
    DamagedRecord(RecordId),
    /// A record is missing.
    #[error("record {0} is missing from the key store")]
    MissingRecord(RecordId),
    /// A record was added without the root key.
    #[error("record {0} is not in the key store's index")]
    ForeignRecord(RecordId),
    /// Every record is missing.
    #[error("all {0} records were removed from the key store")]
    Emptied(usize),
    /// Another process changed the secret that opens the key store.
    #[error("another process changed the key store's passphrase or key file")]
    Replaced,
    /// The name is already used.
    #[error("a key named `{0}` already exists")]
    NameTaken(String),
    /// The key is already stored.
    #[error("the key store already has this key, as `{0}`")]
    KeyTaken(String),
    /// The name is not allowed.
    #[error(
        "`{0}` is not a valid key name: use 1 to 64 characters from a-z, 0-9, `.`, `_` and `-`, starting with a letter or digit, but not a key id"
    )]
    BadName(String),
    /// No suite has this name.
    #[error("no suite is named `{0}`")]
    UnknownSuite(String),
    /// Only the public half of the key is stored.
    #[error("`{0}` is a public key; its private half is not in the key store")]
    NoPrivateKey(String),
    /// The key store is full.
    #[error("the key store is full: it has the maximum of {0} records")]
    Full(usize),
    /// A key file is malformed.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// A cryptographic operation failed for a reason unrelated to the key store.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<CborError> for StoreError {
    fn from(_: CborError) -> Self {
        Self::Header("not the expected CBOR structure")
    }
}
