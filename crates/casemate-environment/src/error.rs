//! Errors of names and files.

use std::{io, path::PathBuf};

use casemate_age::AgeError;
use casemate_crypto::{encoding::EncodingError, policy::PolicyError};
use casemate_keys::StoreError;

/// Longest piece of foreign text that an error repeats, in characters.
const SHOWN_MAX: usize = 80;

/// Why a name could not be resolved, or a file not be read.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Neither a name, nor a full key id, nor a path.
    #[error("`{0}` is neither a key name, a full key id nor a path")]
    BadReference(String),
    /// The 16 digits that are shown of a key id.
    #[error("`{0}` is a shortened key id, which anyone can imitate")]
    ShortId(String),
    /// A recipient of age that a quantum computer could open for.
    #[error("{0} is a classical age recipient, whose files a quantum computer could open")]
    ClassicalRecipient(String),
    /// The key store has no such key.
    #[error("the key store has no key `{named}`")]
    UnknownKey {
        /// What was asked for.
        named: String,
        /// Whether a file of that name lies in the folder that paths are relative to.
        is_file: bool,
    },
    /// There is no built-in policy of this name.
    #[error("there is no built-in policy `{named}`")]
    UnknownPolicy {
        /// What was asked for.
        named: String,
        /// Whether a file of that name lies in the working directory.
        is_file: bool,
    },
    /// `PQC_KEY_MANAGEMENT` asks for classical algorithms alone.
    #[error("PQC_KEY_MANAGEMENT=classical: no classical suite protects data here")]
    Classical,
    /// A variable has a value that is not known.
    #[error("{variable} is `{value}`")]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// No variable says where the user's data are.
    #[error("there is no home directory")]
    NoHome,
    /// A folder that must lie in memory does not.
    #[error("{0} is not on a file system in memory")]
    NotInMemory(PathBuf),
    /// There is no folder in memory at all.
    #[error("this machine has no file system in memory that can be used")]
    NoMemoryFolder,
    /// No folder in memory has room.
    #[error("{folder} has {free} bytes free, and {needed} are needed")]
    NoRoom {
        /// The folder with the most room.
        folder: PathBuf,
        /// Bytes that are free in it.
        free: u64,
        /// Bytes that are needed.
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
    /// A file with a passphrase or a private key is open to others.
    #[error("others on this machine can read or change {path} (mode {mode:o})")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is too long for what it should be.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// A TOML file is malformed.
    #[error("{path}, line {line}, column {column}: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A trust file breaks a rule.
    #[error("{path}, publisher `{key}`: {rule}")]
    TrustFile {
        /// The file.
        path: PathBuf,
        /// The publisher's key as the file names it.
        key: String,
        /// The rule.
        rule: &'static str,
    },
    /// A text file is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(PathBuf),
    /// A key file holds no public key.
    #[error("{path} is not a public key file")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: EncodingError,
    },
    /// An age recipient is malformed.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// The key store's own error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A policy file is malformed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// As much of foreign text as an error repeats.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}
