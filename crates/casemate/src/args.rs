//! The command line.

mod keys;

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use casemate_message::limits::REQUEST_BYTES_DEFAULT;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::place::Place;
use keys::date;
pub(crate) use keys::{Delegate, KeysCommand, Kind, Validity};

/// Protects AI assets with hybrid classical and post-quantum cryptography.
#[derive(Debug, Parser)]
#[command(
    name = "casemate",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Directory of the key store [default: the user's data directory] [env: `CASEMATE_HOME`]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Built-in policy, or the path of a policy file, such as `./policy.toml` [default: hybrid, or what `PQC_KEY_MANAGEMENT` says] [env: `CASEMATE_POLICY`]
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub(crate) policy: Option<String>,

    /// Read the key store's passphrase or random key from a file; `-` for standard input
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CASEMATE_PASSPHRASE_FILE"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Seal, serve and call a real model, and watch attacks being refused
    Demo(DemoOptions),
    /// Create and manage keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Encrypt a file or a folder to recipients, and sign it
    Seal(SealOptions),
    /// Decrypt a sealed file or folder
    Open(OpenOptions),
    /// Sign a model that stays readable for every tool, in a file beside it
    Sign(SignOptions),
    /// Check the signature and every segment of a sealed file or folder, or a model against its detached signature; needs no private key
    Verify(VerifyOptions),
    /// Show what a sealed file or folder says about itself
    Inspect(InspectOptions),
    /// Change the recipients of a sealed file or folder, in place
    Rewrap(RewrapOptions),
    /// Copy a sealed file or folder to an object store, from one, or between two, without opening it
    Copy(CopyOptions),
    /// Show a sealed file or folder as plain files that any program can read, without plaintext on disk
    Mount(MountOptions),
    /// Run a program on a sealed file or folder, mounted or in memory for as long as it runs
    Run(RunOptions),
    /// Serve models behind post-quantum TLS and end-to-end encryption
    Gateway(GatewayOptions),
    /// Take plain HTTP requests here and pass them protected to a gateway
    Connect(ConnectOptions),
    /// Encrypt small secrets and recovery files in the age format, readable without Casemate
    Age {
        #[command(subcommand)]
        command: AgeCommand,
    },
    /// Measure what each algorithm costs on this machine
    Bench(BenchOptions),
    /// List every algorithm: what it rests on, its identifiers, and who allows it from when
    Suites(SuitesOptions),
    /// Print a shell's completions
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Stop at the end instead of serving on
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Keep only tables and rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// How long to measure: some seconds, some minutes, or long enough to quote
    #[arg(long, value_enum, default_value = "standard")]
    pub(crate) effort: EffortOption,
    /// Write a page with tables and plots as well
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Compare two reports that `--json` wrote instead of measuring
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with_all = ["filter", "effort", "html", "directory"])]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Directory for the files of the checkpoint table [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) probe_memory: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) probe_round: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EffortOption {
    Quick,
    Standard,
    Thorough,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgeCommand {
    /// Encrypt a file to hybrid age recipients
    Encrypt(AgeEncryptOptions),
    /// Decrypt an age file with a key of the key store, or with an identity file
    Decrypt(AgeDecryptOptions),
}

#[derive(Debug, Args)]
pub(crate) struct AgeEncryptOptions {
    /// File to encrypt; `-` for standard input
    pub(crate) input: PathBuf,
    /// File to write; `-` for standard output [default: INPUT.age]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Recipient: `age1pq1...`, name, full key id, or a path such as `./key.pub`; may be repeated
    #[arg(long, required = true, value_name = "KEY")]
    pub(crate) to: Vec<String>,
    /// Write printable text
    #[arg(long)]
    pub(crate) armor: bool,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AgeDecryptOptions {
    /// File to decrypt; `-` for standard input
    pub(crate) input: PathBuf,
    /// File to write; `-` for standard output [default: INPUT without .age]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// File with one `AGE-SECRET-KEY-PQ-1...` [default: the keys of the key store]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SealOptions {
    /// File or folder to seal
    pub(crate) input: PathBuf,
    /// File or folder to write, or an address such as `s3://bucket/key` [default: INPUT.sealed]
    #[arg(short, long, value_name = "FILE", value_parser = Place::parser())]
    pub(crate) output: Option<Place>,
    /// Recipient: name, full key id, or a path such as `./key.pub`; may be repeated
    #[arg(long, required_unless_present = "to_self", value_name = "KEY")]
    pub(crate) to: Vec<String>,
    /// Make the key of this store that opens artifacts a recipient as well: without it you cannot open, rewrap or continue what you seal
    #[arg(long)]
    pub(crate) to_self: bool,
    /// Key that signs: name or full key id
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<String>,
    /// Signing key of the owner, who alone may then change the recipients [default: any recipient may]
    #[arg(long, value_name = "KEY")]
    pub(crate) owner: Option<String>,
    /// Content bytes in a segment: a power of two, 64k to 16m
    #[arg(long, value_name = "SIZE", default_value = "1m")]
    pub(crate) segment_size: String,
    /// Media type, readable without a key
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    pub(crate) content_type: String,
    /// Metadata that only recipients can read; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<String>,
    /// Number of this version, from 1, by which readers can refuse older ones; a folder counts its own
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) revision: Option<u64>,
    /// For a folder: when this version expires, `2026-12-31` or `2026-12-31T12:00:00Z`; the policy decides whether using it later warns or fails
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) expires: Option<u64>,
    /// For a folder: take over what did not change since this sealed version
    #[arg(long, value_name = "DIR")]
    pub(crate) since: Option<PathBuf>,
    /// With --since: refuse to go on from a version older than this revision
    #[arg(long, value_name = "REVISION", requires = "since")]
    pub(crate) min_revision: Option<u64>,
    /// For a folder: leave out what matches, written as in `.gitignore`; may be repeated. `.casemateignore` in the folder is read as well
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// For a folder: seal the files that symbolic links lead to
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Publisher that must have signed: name, full key id, or a path such as `./key.pub` [default: any signing key in the key store]
    #[arg(long, value_name = "KEY")]
    pub(crate) signer: Option<String>,
    #[command(flatten)]
    pub(crate) trusted: TrustFile,
}

#[derive(Debug, Args)]
pub(crate) struct OpenOptions {
    /// Sealed file or folder to open: a path, or an address such as `s3://bucket/key`
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
    /// File or folder to write; `-` for standard output [default: INPUT without .sealed]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) origin: Origin,
    /// Refuse to write anywhere but to a file system in memory, such as /dev/shm
    #[arg(long)]
    pub(crate) to_memory: bool,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Origin {
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Refuse anything but this artifact, or this folder in whatever version: 32 hex digits, as `inspect` shows them
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Go on even if nobody known signed, whatever a trust file says; nothing then tells who made the content
    #[arg(long, conflicts_with = "signer")]
    pub(crate) allow_unknown_signer: bool,
    /// Refuse a version older than this revision, and a file that was sealed without one
    #[arg(long, value_name = "REVISION")]
    pub(crate) min_revision: Option<u64>,
    /// Refuse a recipient list older than this epoch, or an artifact without an owner; for a folder, the manifest's list counts
    #[arg(long, value_name = "EPOCH")]
    pub(crate) min_epoch: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct MountOptions {
    /// Sealed file or folder: a path or an address; with --signature a model that is not sealed
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
    /// Empty folder to mount it at
    pub(crate) point: PathBuf,
    #[command(flatten)]
    pub(crate) checks: Checks,
}

/// What is checked of what is shown.
#[derive(Debug, Args)]
pub(crate) struct Checks {
    /// Signature of an unsealed model; each part is checked as it is read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "allow_unknown_signer", "min_revision", "min_epoch"])]
    pub(crate) signature: Option<PathBuf>,
    /// With --signature: allow unsigned files at or below this path inside the model; they are not shown. May be repeated
    #[arg(long, value_name = "PATH", requires = "signature")]
    pub(crate) ignore: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) origin: Origin,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Sealed file or folder: a path or an address; with --signature a model that is not sealed
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
    /// Decrypt it into a private folder in memory first, which is removed at the end; for machines without FUSE. DIR is on a file system in memory
    /// [default: `$XDG_RUNTIME_DIR` or `/dev/shm`, whichever has room]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "not given, given alone, given with a value"
    )]
    pub(crate) memory: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub(crate) checks: Checks,
    /// Program and arguments, after `--`; `{}` stands for the path of the file or folder
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// Sealed file or folder to check: a path or an address
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
    /// Refuse a version older than this revision, and a file that was sealed without one
    #[arg(long, value_name = "REVISION")]
    pub(crate) min_revision: Option<u64>,
    /// Refuse a recipient list older than this epoch, or an artifact without an owner; for a folder, the manifest's list counts
    #[arg(long, value_name = "EPOCH")]
    pub(crate) min_epoch: Option<u64>,
    /// For a folder: check only what needs no key, even if the key store could open it
    #[arg(long)]
    pub(crate) without_key: bool,
    /// Publisher that must have signed: name, full key id, or a path such as `./key.pub`; --trust may say it instead
    #[arg(long, value_name = "KEY", required_unless_present_any = ["oms", "file"])]
    pub(crate) signer: Option<String>,
    /// Refuse anything but this artifact, or this folder in whatever version: 32 hex digits, as `inspect` shows them
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) trusted: TrustFile,
    /// The input is a model that is not sealed, and this is its signature
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// Classical public key (PEM) that must have signed as well, as the tools of OMS (`model-signing`) do
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) oms: Option<PathBuf>,
    /// Accept the classical signature alone
    #[arg(long, requires = "oms", conflicts_with = "signer")]
    pub(crate) allow_classical: bool,
    /// With --signature: allow unsigned files at or below this path inside the model, such as the cache of a download tool; may be repeated
    #[arg(long, value_name = "PATH", requires = "signature")]
    pub(crate) ignore: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SignOptions {
    /// File or folder to sign
    pub(crate) model: PathBuf,
    /// Key that signs: name or full key id
    #[arg(long, value_name = "KEY", required_unless_present = "oms")]
    pub(crate) sign: Option<String>,
    /// File to write [default: MODEL.sig]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Follow symbolic links to files and sign their targets, as in the Hugging Face cache; without this, links are an error
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Sign with this classical private key (PEM) as well, so that the tools of OMS (`model-signing`) verify the same file
    #[arg(long, value_name = "FILE")]
    pub(crate) oms: Option<PathBuf>,
    /// File or folder below the model to leave out; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) ignore: Vec<PathBuf>,
    /// Sign by the classical key alone
    #[arg(long, requires = "oms", conflicts_with = "sign")]
    pub(crate) allow_classical: bool,
    /// Replace the output if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// A file that says whom to trust for what.
#[derive(Debug, Args)]
pub(crate) struct TrustFile {
    /// File that lists publishers and what they may sign; --signer goes before it
    #[arg(long = "trust", env = "CASEMATE_TRUST", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What it must be trusted for
    #[arg(long, value_name = "ROLE", default_value = "model")]
    pub(crate) role: String,
}

#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    /// Open a file with a key of the key store and show what the model's header says: tensors, metadata, and what a pickle would run
    #[arg(long)]
    pub(crate) model: bool,
    /// Sealed file or folder to look at: a path or an address
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
}

#[derive(Debug, Args)]
#[group(id = "change", required = true, multiple = true, args = ["to", "add", "remove"])]
pub(crate) struct RewrapOptions {
    /// Sealed files or folders to change: paths or addresses; an address that ends in a slash stands for everything sealed below it
    #[arg(required = true, value_parser = Place::parser())]
    pub(crate) inputs: Vec<Place>,
    /// Every recipient it shall have: name, full key id, or a path such as `./key.pub`; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with_all = ["add", "remove"])]
    pub(crate) to: Vec<String>,
    /// Recipient to add; may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Recipient to remove; may be repeated. A full key id need not be in the key store
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "rekey")]
    pub(crate) dry_run: bool,
    /// Re-seal with a new key and id, as the next revision, so that the key former recipients had opens nothing of it. Takes every recipient with --to and
    /// the publisher's key with --sign
    #[arg(long, requires = "to")]
    pub(crate) rekey: bool,
    /// With --rekey: the publisher's signing key
    #[arg(long, value_name = "KEY", requires = "rekey")]
    pub(crate) sign: Option<String>,
    /// Signing key of the owner, if it has one: name or full key id
    #[arg(long, value_name = "KEY", conflicts_with = "delegate")]
    pub(crate) owner: Option<String>,
    /// Signing key that the owner delegated to
    #[arg(long, value_name = "KEY", requires = "delegation")]
    pub(crate) delegate: Option<String>,
    /// Epoch of the new recipient list [default: current + 1]. One above a delegation's last epoch ends it for readers that pass --min-epoch
    #[arg(long, value_name = "EPOCH")]
    pub(crate) epoch: Option<u64>,
    /// Refuse to change a recipient list older than this epoch
    #[arg(long, value_name = "EPOCH")]
    pub(crate) min_epoch: Option<u64>,
    /// Delegation file written by `casemate keys delegate`
    #[arg(long, value_name = "FILE", requires = "delegate")]
    pub(crate) delegation: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Rewrap even if nobody known signed, whatever a trust file says
    #[arg(long, conflicts_with = "signer")]
    pub(crate) allow_unknown_signer: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CopyOptions {
    /// Sealed file or folder to copy: a path or an address
    #[arg(value_parser = Place::parser())]
    pub(crate) from: Place,
    /// Where to: a path or an address, and not both on this machine. An interrupted copy to a store goes on where it was if it is run again
    #[arg(value_parser = Place::parser())]
    pub(crate) to: Place,
    /// Replace what is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SuitesOptions {
    /// Show this algorithm whole [default: a table of all]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectOptions {
    /// The gateway, `https://host:port`
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: String,
    /// The gateway's public signing pair: name, full key id, or a path such as `./key.pub`
    #[arg(long, value_name = "KEY")]
    pub(crate) gateway_key: String,
    /// Key that signs requests: name or full key id
    #[arg(long, value_name = "KEY")]
    pub(crate) identity: String,
    /// Root certificates to trust for TLS (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Listen for plain requests on this address, or on `unix:PATH`, a socket only you can use
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: ListenAt,
    /// File to write the access token to, new at every start [default: `connect-PORT.token` in the home folder]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let any user of this machine send requests as you; for loopback addresses only
    #[arg(long)]
    pub(crate) no_token: bool,
    /// Let web pages of this origin send requests, written as browsers do, such as `https://app.example`; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    /// Longest request, in bytes; no more than the gateway's `request_bytes_max`
    #[arg(long, value_name = "BYTES", default_value_t = REQUEST_BYTES_DEFAULT)]
    pub(crate) request_bytes_max: usize,
}

/// Where a connector listens.
#[derive(Clone, Debug)]
pub(crate) enum ListenAt {
    Address(SocketAddr),
    Socket(PathBuf),
}

impl FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing after `unix:`".to_owned()),
            Some(path) => Ok(Self::Socket(path.into())),
            None => {
                let address = text.parse();
                let address =
                    address.map_err(|_| "expected an address such as 127.0.0.1:8080, or unix:PATH");
                Ok(Self::Address(address?))
            }
        }
    }
}
