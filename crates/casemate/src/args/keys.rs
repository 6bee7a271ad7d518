//! Options of `casemate keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create the key store
    Init {
        /// Protect the key store with a random key instead of a passphrase, and write the key to
        /// the file given by --passphrase-file
        #[arg(long)]
        random_key: bool,
    },
    /// Generate a key
    Generate {
        /// Name of the key
        #[arg(long)]
        name: String,
        /// What the key is for
        #[arg(long)]
        kind: Kind,
        /// Suite [default: the policy's first for the kind]
        #[arg(long)]
        suite: Option<String>,
    },
    /// List the keys
    List,
    /// Show a key
    Show {
        /// Name, full key id, or a path such as `./key.pub`
        key: String,
    },
    /// Write a public key as PEM
    Export {
        /// Name or full key id
        key: String,
        /// File to write [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write an age recipient, `age1pq1...`, instead; requires a key of suite mlkem768-x25519
        #[arg(long)]
        age: bool,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Import a public or private key (PEM, age recipient or age identity)
    Import {
        /// File to read; `-` for standard input
        file: PathBuf,
        /// Name for the key
        #[arg(long)]
        name: String,
        #[command(flatten)]
        validity: Validity,
        /// Key that this one succeeds; if that key is compromised, so is this one
        #[arg(long, value_name = "KEY")]
        successor_of: Option<String>,
    },
    /// Remove a key from the key store
    Remove {
        /// Name or full key id
        key: String,
        /// Allow removing a private key; artifacts sealed only to it can then never be opened again
        #[arg(long)]
        destroy: bool,
    },
    /// Mark a key as superseded or compromised, or set when it is valid
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Retire {
        /// Name or full key id
        key: String,
        /// Another key replaces it, from now or from DATE; earlier signatures stay valid. Backdated
        /// signatures are not detected
        #[arg(long, value_name = "DATE", num_args = 0..=1, require_equals = true, default_missing_value = "now", group = "change", conflicts_with = "compromised")]
        superseded: Option<String>,
        /// Someone else may have the key: its signatures no longer count, nor do those of its
        /// successors. This cannot be undone
        #[arg(long, group = "change")]
        compromised: bool,
        #[command(flatten)]
        validity: Validity,
    },
    /// Let another key change recipients on an owner's behalf
    Delegate(Delegate),
    /// Change the passphrase or random key that opens the key store
    Passwd {
        /// Read the new passphrase from a file; `-` for standard input [default: a prompt]
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Protect the key store with a new random key, and write the key to the file given by
        /// --new-passphrase-file
        #[arg(long)]
        random_key: bool,
        /// Others may know the old passphrase or key: re-encrypt every record under a new root key,
        /// and list the private keys to replace
        #[arg(long)]
        compromised: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Delegate {
    /// The owner's signing key: name or full key id
    pub(crate) owner: String,
    /// Signing key to delegate to: name, full key id, or a path such as `./key.pub`
    #[arg(long, value_name = "KEY")]
    pub(crate) to: String,
    /// When the delegation ends: `2026-12-31` or `2026-12-31T12:00:00Z`
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) until: u64,
    /// Highest epoch the delegate may sign; a list that the owner signs above it ends the
    /// delegation for anyone who passes --min-epoch
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) last_epoch: u64,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// When a key is valid.
#[derive(Clone, Debug, Args)]
pub(crate) struct Validity {
    /// First day or instant at which the key is valid: `2026-12-31` or `2026-12-31T12:00:00Z`
    #[arg(long, value_name = "DATE", value_parser = date, group = "change")]
    pub(crate) valid_from: Option<u64>,
    /// First day or instant at which the key is no longer valid
    #[arg(long, value_name = "DATE", value_parser = date, group = "change")]
    pub(crate) valid_until: Option<u64>,
}

pub(super) fn date(text: &str) -> Result<u64, String> {
    let seconds = casemate_environment::seconds_of(text);
    seconds.ok_or_else(|| "expected a date such as 2026-12-31 or 2026-12-31T12:00:00Z".to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// Receives sealed artifacts, or opens requests at a gateway
    Kem,
    /// Signs artifacts
    Sign,
    /// Signs requests and responses
    Http,
}
