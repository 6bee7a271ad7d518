//! Errors of the key store.

mod locked;

use casemate_cbor::CborError;
use casemate_crypto::encoding::{EncodingError, KeyId};

pub(crate) use locked::Answers;
pub use locked::Locked;

use crate::{
    engine::EngineError,
    row::RowId,
    slot::KeeperError,
    status::Withdrawn,
    versions::{State, VersionNumber},
};

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
    #[error("key store version {0} is not supported; this program reads versions 1 and 2")]
    Version(u64),
    /// A key store of version 1 cannot be written here.
    #[error("the key store has version 1 and must be migrated, but it is read-only here")]
    NotMigrated,
    /// It has version 1, whose only slot is for a passphrase or a key.
    #[error("the key store has version 1, which has one slot, for a passphrase or a key")]
    SlotsOfVersion1,
    /// The key store is older than it was before, while it was open.
    #[error("the key store was replaced by an older copy while it was open")]
    WentBack,
    /// The key service refused, or could not be reached.
    #[error(transparent)]
    Service(Box<dyn std::error::Error + Send + Sync>),
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
    /// No slot or group opened.
    #[error("{0}")]
    Locked(Locked),
    /// A slot gave a root key that is not the key store's.
    #[error("a slot opened but does not give the key store's root key: the key store was changed")]
    Commitment,
    /// The shares of a group do not fit together.
    #[error(
        "enough slots of group `{0}` opened, but their shares do not belong together: the key store was changed"
    )]
    MixedShares(String),
    /// The place that wraps a slot's key failed.
    #[error(transparent)]
    Keeper(KeeperError),
    /// There is no such slot.
    #[error("the key store has no slot named `{0}`")]
    NoSlot(String),
    /// There is no such group.
    #[error("the key store has no group named `{0}`")]
    NoGroup(String),
    /// The slot's name is used.
    #[error("a slot named `{0}` already exists, or was named twice")]
    SlotTaken(String),
    /// The slot belongs to another group.
    #[error("slot `{slot}` belongs to group `{group}`")]
    InOtherGroup {
        /// The slot.
        slot: String,
        /// The group.
        group: String,
    },
    /// A group would never open.
    #[error("group `{group}` needs {threshold} slots to open and would have fewer")]
    GroupTooSmall {
        /// The group.
        group: String,
        /// Slots that it needs.
        threshold: u8,
    },
    /// Nothing would open the key store.
    #[error("it is the last slot; without it nothing opens the key store")]
    LastSlot,
    /// The key store has as many slots or groups as it can.
    #[error("the key store has the maximum of 32 slots or 8 groups")]
    SlotsFull,
    /// The key store would open only with a token or a service.
    #[error(
        "no offline slot would be left: if the token, the account or the service is lost, so is every key"
    )]
    NoOfflineSlot,
    /// Nothing was given that could open the slot.
    #[error("no secret for slot `{0}` was given")]
    SlotNotAsked(String),
    /// The slot did not open.
    #[error("the given secret does not open slot `{0}`, or the slot was changed")]
    SlotWrong(String),
    /// The slot that was opened has no secret that could be replaced.
    #[error("the key store was opened with {0}, which has no passphrase or key file to change")]
    NotASecret(String),
    /// The text begins like a store key but is not a valid one.
    #[error("the key file is damaged, or has an unsupported version")]
    BadKeyText,
    /// A private key of another kind was given to open the key store.
    #[error("the private key does not open artifacts, so no slot can be sealed to it")]
    NotARecipient,
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
    /// Nodes of the index were changed, and cannot be computed again because rows were changed too.
    #[error("the key store's index is damaged, and {0} of its rows cannot be checked")]
    Nodes(u64),
    /// A row was changed or replaced.
    #[error("{0} is damaged: it was changed or rolled back")]
    DamagedRow(RowId),
    /// A row is missing.
    #[error("{0} is missing from the key store")]
    MissingRow(RowId),
    /// A row was added without the root key.
    #[error("{0} is not in the key store's index")]
    ForeignRow(RowId),
    /// Every row is missing.
    #[error("all {0} rows were removed from the key store")]
    Emptied(u64),
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
    /// The name is not allowed.
    #[error(
        "`{0}` is not a valid name for a slot: use 1 to 64 characters from a-z, 0-9, `.`, `_` and `-`, starting with a letter or digit"
    )]
    BadSlotName(String),
    /// No suite has this name.
    #[error("no suite is named `{0}`")]
    UnknownSuite(String),
    /// Only the public half of the key is stored.
    #[error("`{0}` is a public key; its private half is not in the key store")]
    NoPrivateKey(String),
    /// There is no such key.
    #[error("the key store has no key `{0}`")]
    NoKey(String),
    /// The key has no such version.
    #[error("key `{name}` has no version {version}")]
    NoVersion {
        /// Name of the key.
        name: String,
        /// The version.
        version: VersionNumber,
    },
    /// A version is not used for anything.
    #[error("`{name}@{version}` is {state}, so its private key is not used")]
    NotInUse {
        /// Name of the key.
        name: String,
        /// The version.
        version: VersionNumber,
        /// Its state.
        state: State,
    },
    /// A version is in a state from which it cannot get there.
    #[error("version {version} of key `{name}` is {from}, which cannot become {to}")]
    Transition {
        /// Name of the key.
        name: String,
        /// The version.
        version: VersionNumber,
        /// Its state.
        from: State,
        /// The requested state.
        to: State,
    },
    /// A newer version is active.
    #[error("version {version} of key `{name}` is older than the active one")]
    Older {
        /// Name of the key.
        name: String,
        /// The version.
        version: VersionNumber,
    },
    /// A key has another kind or role than its earlier versions.
    #[error("key `{0}` has versions of another kind")]
    OtherKind(String),
    /// A key has as many versions as it can.
    #[error("key `{0}` has the maximum of 512 versions")]
    VersionsFull(String),
    /// A signing key is not valid now.
    #[error("`{name}` is not valid: {why}")]
    NotValid {
        /// Its name.
        name: String,
        /// Why not.
        why: Withdrawn,
    },
    /// The policy does not allow more use of the key.
    #[error("key `{name}` has reached its limit of {limit}")]
    UsedUp {
        /// Name of the key.
        name: String,
        /// The limit.
        limit: String,
    },
    /// A row would be too long, such as one for a very long key file.
    #[error("{0} would be longer than 64 KiB")]
    RowTooLong(RowId),
    /// A place cannot be recorded.
    #[error("a place of {0} bytes cannot be recorded: it must have 1 to 4096")]
    PlaceTooLong(usize),
    /// The key store is full.
    #[error("the key store is full: it has the maximum of {0} rows")]
    Full(u64),
    /// The key store already has an audit log.
    #[error("the key store already has an audit log")]
    LogExists,
    /// The key store has no audit log.
    #[error("the key store has no audit log")]
    NoLog,
    /// The key store has an audit log that cannot be written.
    #[error(
        "the key store has an audit log, which cannot be written here, so its keys cannot be used"
    )]
    LogReadOnly,
    /// A key that was compromised is not stored again.
    #[error("key {0} was compromised before it was removed, so it is not stored again")]
    WasCompromised(KeyId),
    /// The log has no such entry.
    #[error("the audit log has {size} entries, numbered from 0, and no entry {index}")]
    NoEntry {
        /// Number that was given.
        index: u64,
        /// Number of entries.
        size: u64,
    },
    /// An entry of the log was changed, moved or removed.
    #[error("entry {0} of the audit log was changed, moved or removed")]
    DamagedEntry(u64),
    /// The log is not the one of the index.
    #[error(
        "the audit log does not match the key store's index: entries were added, removed or rolled back"
    )]
    OtherLog,
    /// The log is not valid.
    #[error(transparent)]
    Audit(#[from] casemate_audit::AuditError),
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
