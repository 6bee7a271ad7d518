//! Errors in resolving names and reading files.

use std::{io, path::PathBuf};

use casemate_age::AgeError;
use casemate_crypto::{encoding::EncodingError, policy::PolicyError};
use casemate_keys::StoreError;
use casemate_statement::StatementError;

/// Maximum length of untrusted text that an error quotes, in characters.
const SHOWN_MAX: usize = 80;

/// Why a name could not be resolved or a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Neither a name, nor a full key id, nor a path.
    #[error("`{0}` is neither a key name, a full key id nor a path")]
    BadReference(String),
    /// The 16 digits of a key id that are displayed.
    #[error("`{0}` is a shortened key id, which anyone can forge")]
    ShortId(String),
    /// A classical age recipient.
    #[error("{0} is a classical age recipient; a quantum computer could decrypt its files")]
    ClassicalRecipient(String),
    /// A passphrase has more bytes than anyone types.
    #[error("the passphrase is longer than 4096 bytes")]
    PassphraseTooLong,
    /// The key store has no such key.
    #[error("the key store has no key `{named}`")]
    UnknownKey {
        /// The name or id given.
        named: String,
        /// Whether a file of that name exists in the folder that paths are relative to.
        is_file: bool,
    },
    /// There is no built-in policy with this name.
    #[error("there is no built-in policy `{named}`")]
    UnknownPolicy {
        /// The name given.
        named: String,
        /// Whether a file of that name exists in the working directory.
        is_file: bool,
    },
    /// `PQC_KEY_MANAGEMENT` requests classical algorithms alone.
    #[error("PQC_KEY_MANAGEMENT=classical is not supported: every suite is post-quantum or hybrid")]
    Classical,
    /// An environment variable has an unsupported value.
    #[error("{variable} has the unsupported value `{value}`")]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// No environment variable names a folder for the user's data.
    #[error("none of CASEMATE_HOME, XDG_DATA_HOME and HOME is set")]
    NoHome,
    /// The keys of a home folder may be in two places.
    #[error("{0} has more than one of `keys.db`, `etcd.toml` and `key-service.toml`")]
    TwoKeyStores(PathBuf),
    /// A description has a certificate without its key, or the other way round.
    #[error("{0} has a certificate without its key, or a key without its certificate")]
    CertificateWithoutKey(PathBuf),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] casemate_tls::TlsError),
    /// A cluster of etcd cannot be used.
    #[error(transparent)]
    Etcd(#[from] casemate_etcd::EtcdError),
    /// A key service cannot be used.
    #[error(transparent)]
    Service(#[from] casemate_service::RemoteError),
    /// A folder that must be in memory is not.
    #[error("{0} is not on an in-memory file system")]
    NotInMemory(PathBuf),
    /// There is no folder in memory.
    #[error("this machine has no usable in-memory file system")]
    NoMemoryFolder,
    /// No folder in memory has enough space.
    #[error("{folder} has {free} bytes free, but {needed} are needed")]
    NoRoom {
        /// The folder with the most free space.
        folder: PathBuf,
        /// Free space in it, in bytes.
        free: u64,
        /// Space needed, in bytes.
        needed: u64,
    },
    /// A pattern of files to leave out is not valid.
    #[error(transparent)]
    Pattern(ignore::Error),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Other users can read or change a file with a passphrase or a private key.
    #[error("other users can read or change {path} (mode {mode:o})")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is longer than its kind allows.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A TOML file is malformed.
    #[error("{path}, line {line}, column {column}: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// A trust file breaks a rule.
    #[error("{path}, publisher `{key}`: {rule}")]
    TrustFile {
        /// The file.
        path: PathBuf,
        /// The publisher's key, as written in the file.
        key: String,
        /// The rule.
        rule: &'static str,
    },
    /// A text file is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A key file has no public key.
    #[error("{path} is not a public key file")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: EncodingError,
    },
    /// The statement by which a key names its successor was refused.
    #[error("the succession {path} is refused")]
    Succession {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StatementError,
    },
    /// An age recipient is malformed.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// The key store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A policy file is malformed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Truncates untrusted text to the length that an error quotes.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}
