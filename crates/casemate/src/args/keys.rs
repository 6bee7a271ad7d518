//! Options of `casemate keys`.

use std::{num::NonZeroU64, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{KeysConnect, Trust, audit::AuditCommand, slots::SlotsCommand};
use crate::place::Place;

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
    /// List the keys and their versions
    List,
    /// Show and change what opens the key store
    Slots {
        #[command(subcommand)]
        command: SlotsCommand,
    },
    /// Make the next version of a key; the version before it still opens what it sealed
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Rotate {
        /// Name of the key
        #[arg(group = "which")]
        key: Option<String>,
        /// Rotate every key whose rotation policy says so
        #[arg(long, group = "which")]
        due: bool,
        /// Suite of the new version [default: the current one]
        #[arg(long, conflicts_with = "due")]
        suite: Option<String>,
        /// Only store the new version, so that every machine can load it; start using it with
        /// `casemate keys activate`
        #[arg(long, conflicts_with = "due")]
        stage: bool,
    },
    /// Use a staged version from now on
    Activate {
        /// Version, such as `model@2`
        version: String,
    },
    /// Stop using an old version; it opens nothing until it is enabled
    Disable {
        /// Version, such as `model@1`
        version: String,
    },
    /// Enable a disabled version, so that it opens artifacts again
    Enable {
        /// Version, such as `model@1`
        version: String,
    },
    /// Delete the key of a version; what is sealed to no other recipient can never be opened again
    Destroy {
        /// Version, such as `model@1`
        version: String,
        /// Confirm that the key is to be destroyed
        #[arg(long)]
        yes: bool,
        /// Destroy it although the key store knows artifacts that are sealed to it
        #[arg(long)]
        even_if_used: bool,
    },
    /// Set or show when a key is to be rotated
    Policy(PolicyOptions),
    /// Show a key
    Show {
        /// Name, full key id, or a path such as `./key.pub`
        key: String,
    },
    /// Write a public key as PEM, or a private key sealed to a recipient
    Export(ExportOptions),
    /// Import a key: PEM, an age recipient or identity, a sealed private key, or the statement by
    /// which a signing key names its successor
    Import(ImportOptions),
    /// Remove a key and all its versions from the key store
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
        /// Name, version or full key id
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
    /// Copy the key store to a file, which opens with the same slots
    Backup {
        /// File to write
        file: PathBuf,
    },
    /// Create the key store from a backup
    Restore {
        /// File to read
        file: PathBuf,
    },
    /// Write the statement by which a signing key names its successor, signed by both
    Succession {
        /// Version that is succeeded, such as `publisher@1`
        previous: String,
        /// Version that succeeds it [default: the active one]
        #[arg(long, value_name = "VERSION")]
        next: Option<String>,
        /// File to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Use the keys of a key service from this home folder
    Connect(KeysConnect),
    /// Rewrap everything sealed to older versions of a key, and sign a statement of what was found
    Rewrap(KeyRewrapOptions),
    /// Verify the statement of a rotation and show what it says
    Statement {
        /// File that `casemate keys rewrap` wrote
        file: PathBuf,
        /// Its signer: name, full key id, or a path such as `./key.pub`
        #[arg(long, value_name = "KEY")]
        signer: String,
    },
    /// Keep and check a log of what happens to the keys and who uses them
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
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
pub(crate) struct ExportOptions {
    /// Name, version or full key id
    pub(crate) key: String,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write an age recipient, `age1pq1...`, instead; requires a key of suite mlkem768-x25519
    #[arg(long, conflicts_with = "private")]
    pub(crate) age: bool,
    /// Write the private key, sealed to --to and signed by --sign; it is never written in the clear
    #[arg(long, requires_all = ["to", "sign", "output"])]
    pub(crate) private: bool,
    /// With --private: recipient of the private key: name, full key id, or a path such as
    /// `./key.pub`; may be repeated
    #[arg(long, value_name = "KEY", requires = "private")]
    pub(crate) to: Vec<String>,
    /// With --private: signing key, by which the recipient recognises the sender
    #[arg(long, value_name = "KEY", requires = "private")]
    pub(crate) sign: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// File to read; `-` for standard input
    pub(crate) file: PathBuf,
    /// Name for the key
    #[arg(long)]
    pub(crate) name: String,
    /// Make it the next version of the key that has this name
    #[arg(long)]
    pub(crate) next_version: bool,
    #[command(flatten)]
    pub(crate) validity: Validity,
    /// Key that this one succeeds; if that key is compromised, so is this one
    #[arg(long, value_name = "KEY")]
    pub(crate) successor_of: Option<String>,
    /// Expected signer of a sealed private key: name, full key id, or a path such as `./key.pub`
    /// [default: any signing key in the key store]
    #[arg(long, value_name = "KEY")]
    pub(crate) signer: Option<String>,
}

/// When a key is to be rotated.
#[derive(Debug, Args)]
pub(crate) struct PolicyOptions {
    /// Name of the key
    pub(crate) key: String,
    /// Rotate a version that has been active for this long: `90d`, `12h`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_age: Option<NonZeroU64>,
    /// Rotate a version after this many artifacts or signatures
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_uses: Option<NonZeroU64>,
    /// Rotate a version after this many bytes: `500G`, `2T`
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_bytes: Option<NonZeroU64>,
    /// Rotate at this date, when the algorithm is no longer allowed
    #[arg(long, value_name = "DATE", value_parser = deadline)]
    pub(crate) deadline: Option<NonZeroU64>,
    /// Remove every limit
    #[arg(long, conflicts_with_all = ["max_age", "max_uses", "max_bytes", "deadline"])]
    pub(crate) none: bool,
}

fn deadline(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(date(text)?).ok_or_else(|| "expected a date after 1970-01-01".to_owned())
}

/// Reads a number with one of these units after it.
fn with_unit(text: &str, units: &[(char, u64)]) -> Option<NonZeroU64> {
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (text.strip_suffix(*unit)?, *factor),
        None => (text, 1),
    };
    let number: u64 = digits.parse().ok()?;
    NonZeroU64::new(number.checked_mul(factor)?)
}

fn duration(text: &str) -> Result<NonZeroU64, String> {
    let units = [('d', 86_400), ('h', 3_600)];
    let is_unit = text.ends_with(['d', 'h']);
    let found = with_unit(text, &units).filter(|_| is_unit);
    found.ok_or_else(|| "expected days or hours, such as 90d or 12h".to_owned())
}

fn bytes(text: &str) -> Result<NonZeroU64, String> {
    let units = [
        ('K', 1_000),
        ('M', 1_000_000),
        ('G', 1_000_000_000),
        ('T', 1_000_000_000_000),
    ];
    with_unit(text, &units).ok_or_else(|| "expected a number such as 500G or 2T".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct KeyRewrapOptions {
    /// Name of the key
    pub(crate) key: String,
    /// Where to look: sealed files, folders with sealed files or folders below them, addresses
    #[arg(required = true, value_parser = Place::parser())]
    pub(crate) places: Vec<Place>,
    /// File for the signed statement
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) statement: Option<PathBuf>,
    /// Signing key for the statement
    #[arg(long, value_name = "KEY", requires = "statement")]
    pub(crate) sign: Option<String>,
    /// Forget that PLACE was sealed to the key, as `not reached` names it: for what is gone, or
    /// sealed to other keys only; may be repeated
    #[arg(long, value_name = "PLACE")]
    pub(crate) forget: Vec<String>,
    /// Only count what is sealed to older versions, and record nothing
    #[arg(long, conflicts_with_all = ["statement", "forget"])]
    pub(crate) dry_run: bool,
    /// The owner's signing key, for artifacts that have an owner
    #[arg(long, value_name = "KEY")]
    pub(crate) owner: Option<String>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Rewrap even what is unsigned or signed by an unknown key, whatever a trust file says
    #[arg(long, conflicts_with = "signer")]
    pub(crate) allow_unknown_signer: bool,
    /// Replace the statement if the file exists
    #[arg(long)]
    pub(crate) force: bool,
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
