//! Options of `casemate keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create the key store
    Init {
        /// Make a random key, write it to the file that --passphrase-file names, and let it open the store in place of a passphrase
        #[arg(long)]
        random_key: bool,
    },
    /// Make a new key
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
    /// Show one key
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
        /// Write it as an age recipient, `age1pq1...`; the key must be of the suite mlkem768-x25519
        #[arg(long)]
        age: bool,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Store a public key, or a private one made elsewhere (PEM, age recipient or age identity)
    Import {
        /// File to read; `-` for standard input
        file: PathBuf,
        /// Name for the key
        #[arg(long)]
        name: String,
        #[command(flatten)]
        validity: Validity,
        /// Key that named this one as its successor; if that one is compromised, so is this one
        #[arg(long, value_name = "KEY")]
        successor_of: Option<String>,
    },
    /// Remove a key from the key store
    Remove {
        /// Name or full key id
        key: String,
        /// Remove a private key as well: what is sealed to nobody else can then never be opened again
        #[arg(long)]
        destroy: bool,
    },
    /// Note that a key is not used any more, or from when to when it counts
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Retire {
        /// Name or full key id
        key: String,
        /// Another key takes its place from now on, or from DATE on: what it signed before stays valid. Backdating is not noticed
        #[arg(long, value_name = "DATE", num_args = 0..=1, require_equals = true, default_missing_value = "now", group = "change", conflicts_with = "compromised")]
        superseded: Option<String>,
        /// Somebody else may have it: nothing that it signed counts, nor what its successors signed. This cannot be taken back
        #[arg(long, group = "change")]
        compromised: bool,
        #[command(flatten)]
        validity: Validity,
    },
    /// Delegate changes of recipients to another key
    Delegate(Delegate),
    /// Change the passphrase or random key that opens the key store
    Passwd {
        /// Read the new passphrase from a file; `-` for standard input [default: a prompt]
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Make a random key, write it to the file that --new-passphrase-file names, and let it open the store in place of what opens it now
        #[arg(long)]
        random_key: bool,
        /// Others may know what opens the store: encrypt every record anew under another root key, and name the keys that must be replaced
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
    /// Highest epoch the delegate may sign; an owner's list above it ends the delegation for readers that pass --min-epoch
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) last_epoch: u64,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// From when to when a key counts.
#[derive(Clone, Debug, Args)]
pub(crate) struct Validity {
    /// First day or instant at which it counts: `2026-12-31` or `2026-12-31T12:00:00Z`
    #[arg(long, value_name = "DATE", value_parser = date, group = "change")]
    pub(crate) valid_from: Option<u64>,
    /// First day or instant at which it does not count any more
    #[arg(long, value_name = "DATE", value_parser = date, group = "change")]
    pub(crate) valid_until: Option<u64>,
}

pub(super) fn date(text: &str) -> Result<u64, String> {
    let seconds = casemate_environment::seconds_of(text);
    seconds.ok_or_else(|| "write 2026-12-31 or 2026-12-31T12:00:00Z".to_owned())
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
