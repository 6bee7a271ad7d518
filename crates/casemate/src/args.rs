//! The command line.

mod audit;
mod keys;
mod serve;
mod slots;

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use casemate_message::limits::REQUEST_BYTES_DEFAULT;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::place::Place;
pub(crate) use audit::AuditCommand;
use keys::date;
pub(crate) use keys::{
    Delegate, ExportOptions, ImportOptions, KeyRewrapOptions, KeysCommand, Kind, PolicyOptions,
    Validity,
};
pub(crate) use serve::{KeysConnect, ServeOptions};
pub(crate) use slots::{AddSlot, OfflineOption, SlotsCommand};

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

    /// Folder of the key store [default: the user's data directory] [env: `CASEMATE_HOME`]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Built-in policy, or the path of a policy file such as `./policy.toml` [default: hybrid,
    /// unless `PQC_KEY_MANAGEMENT` sets another] [env: `CASEMATE_POLICY`]
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub(crate) policy: Option<String>,

    /// Read what opens the key store from a file: a passphrase, a random key, a private key or an
    /// age identity; `-` for standard input. May be repeated if several slots must open
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CASEMATE_PASSPHRASE_FILE"
    )]
    pub(crate) passphrase_file: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Seal, serve and call a real model, train another, and see attacks refused
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
    /// Sign a model without sealing it; the signature goes in a file beside it
    Sign(SignOptions),
    /// Verify the signature and every segment of a sealed file or folder, or a model against its
    /// detached signature; needs no private key
    Verify(VerifyOptions),
    /// Show the recipients, signer and other metadata of a sealed file or folder, without verifying
    /// them
    Inspect(InspectOptions),
    /// Change the recipients of a sealed file or folder, in place
    Rewrap(RewrapOptions),
    /// Copy a sealed file or folder to, from or between object stores without opening it
    Copy(CopyOptions),
    /// Mount a sealed file or folder as plain files that any program can read, with no plaintext on
    /// disk
    Mount(MountOptions),
    /// Run a program on a sealed file or folder, mounted or decrypted in memory while it runs
    Run(RunOptions),
    /// Serve models behind post-quantum TLS and end-to-end encryption
    Gateway(GatewayOptions),
    /// Serve the keys of the key store to clients, who never see the private ones
    Serve(ServeOptions),
    /// Accept plain HTTP requests on this machine and forward them, protected, to a gateway
    Connect(ConnectOptions),
    /// Encrypt small secrets and recovery files in the age format, readable without Casemate
    Age {
        #[command(subcommand)]
        command: AgeCommand,
    },
    /// Measure the cost of each algorithm on this machine
    Bench(BenchOptions),
    /// List every algorithm: its security assumption, its identifiers, and which policies allow it
    /// and when
    Suites(SuitesOptions),
    /// Print shell completions
    Completions {
        /// Shell to generate completions for
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Exit at the end instead of serving until Ctrl-C
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Measure only tables and rows whose name contains TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// How long to measure: seconds, minutes, or long enough for numbers you can publish
    #[arg(long, value_enum, default_value = "standard")]
    pub(crate) effort: EffortOption,
    /// Also write an HTML page with tables and plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Compare two reports written with `--json`, instead of measuring
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with_all = ["filter", "effort", "html", "folder"])]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Folder for the files of the checkpoint table [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
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
    /// Decrypt an age file with a key from the key store or an identity file
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
    /// Write ASCII armor instead of binary
    #[arg(long)]
    pub(crate) armor: bool,
    /// Replace the output if it exists
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
    /// Identity file with one `AGE-SECRET-KEY-PQ-1...` [default: the keys in the key store]
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Replace the output if it exists
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
    /// Also seal to your own key in this key store; otherwise you cannot open, rewrap or continue
    /// what you seal
    #[arg(long)]
    pub(crate) to_self: bool,
    /// Signing key: name or full key id
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<String>,
    /// The owner's signing key; only the owner can then change the recipients [default: any
    /// recipient can]
    #[arg(long, value_name = "KEY")]
    pub(crate) owner: Option<String>,
    /// Content bytes per segment: a power of two from 64k to 16m
    #[arg(long, value_name = "SIZE", default_value = "1m")]
    pub(crate) segment_size: String,
    /// Media type, readable without a key
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    pub(crate) content_type: String,
    /// Metadata that only recipients can read; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<String>,
    /// Revision of a file, from 1, so that `--min-revision` can refuse older ones; a folder counts
    /// its own
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) revision: Option<u64>,
    /// For a folder: when this version expires, `2026-12-31` or `2026-12-31T12:00:00Z`; after that,
    /// the policy decides between a warning and an error
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) expires: Option<u64>,
    /// For a folder: reuse the unchanged files of this sealed version
    #[arg(long, value_name = "DIR")]
    pub(crate) since: Option<PathBuf>,
    /// With --since: refuse to continue from a version older than this revision
    #[arg(long, value_name = "REVISION", requires = "since")]
    pub(crate) min_revision: Option<u64>,
    /// For a folder: leave out files that match this `.gitignore` pattern; may be repeated.
    /// Patterns in the folder's `.casemateignore` also apply
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// For a folder: follow symbolic links to files and seal their targets
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Trust {
    /// Expected signer: name, full key id, or a path such as `./key.pub` [default: any signing key
    /// in the key store]
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
    /// Write only to a file system in memory, such as /dev/shm
    #[arg(long)]
    pub(crate) to_memory: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Origin {
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Accept only the artifact with this id, or any version of the folder with this id: 32 hex
    /// digits, as `inspect` shows them
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Accept content that is unsigned or signed by an unknown key, whatever a trust file says;
    /// nothing then proves who made it
    #[arg(long, conflicts_with = "signer")]
    pub(crate) allow_unknown_signer: bool,
    /// Refuse a version older than this revision, or a file sealed without a revision
    #[arg(long, value_name = "REVISION")]
    pub(crate) min_revision: Option<u64>,
    /// Refuse a recipient list older than this epoch, or an artifact without an owner; for a
    /// folder, the manifest's list is checked
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

/// The checks that mounted content must pass.
#[derive(Debug, Args)]
pub(crate) struct Checks {
    /// Signature of an unsealed model; each part is checked as it is read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "allow_unknown_signer", "min_revision", "min_epoch"])]
    pub(crate) signature: Option<PathBuf>,
    /// With --signature: allow unsigned files at or below this path inside the model; they are not
    /// shown. May be repeated
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
    /// Decrypt into a private folder in memory instead of mounting, and remove it at the end; for
    /// machines without FUSE. DIR must be on a file system in memory [default: `$XDG_RUNTIME_DIR`
    /// or `/dev/shm`, whichever has room]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "the option is absent, bare, or has a value"
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
    /// Refuse a version older than this revision, or a file sealed without a revision
    #[arg(long, value_name = "REVISION")]
    pub(crate) min_revision: Option<u64>,
    /// Refuse a recipient list older than this epoch, or an artifact without an owner; for a
    /// folder, the manifest's list is checked
    #[arg(long, value_name = "EPOCH")]
    pub(crate) min_epoch: Option<u64>,
    /// For a folder: make only the checks that need no key, even if the key store could open it
    #[arg(long)]
    pub(crate) without_key: bool,
    /// For a folder: also show what the model came from, as its publisher stated it
    #[arg(long, conflicts_with_all = ["without_key", "signature"])]
    pub(crate) lineage: bool,
    /// With --lineage: check that this sealed file or folder, or this plaintext, is one of the
    /// sources, entirely and unchanged; may be repeated
    #[arg(long = "source", value_name = "PLACE", requires = "lineage", value_parser = Place::parser())]
    pub(crate) sources: Vec<Place>,
    /// Expected signer: name, full key id, or a path such as `./key.pub`; or pass --trust
    #[arg(long, value_name = "KEY", required_unless_present_any = ["oms", "file"])]
    pub(crate) signer: Option<String>,
    /// Accept only the artifact with this id, or any version of the folder with this id: 32 hex
    /// digits, as `inspect` shows them
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) trusted: TrustFile,
    /// Detached signature; the input is then a model that is not sealed
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// Also require a signature by this classical public key (PEM), as OMS tools (`model-signing`)
    /// make them
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(crate) oms: Option<PathBuf>,
    /// Accept the classical signature alone
    #[arg(long, requires = "oms", conflicts_with = "signer")]
    pub(crate) allow_classical: bool,
    /// With --signature: allow unsigned files at or below this path inside the model, such as the
    /// cache of a download tool; may be repeated
    #[arg(long, value_name = "PATH", requires = "signature")]
    pub(crate) ignore: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SignOptions {
    /// File or folder to sign
    pub(crate) model: PathBuf,
    /// Signing key: name or full key id
    #[arg(long, value_name = "KEY", required_unless_present = "oms")]
    pub(crate) sign: Option<String>,
    /// File to write [default: MODEL.sig]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Follow symbolic links to files and sign their targets, as in the Hugging Face cache; without
    /// this, links are an error
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Also sign with this classical private key (PEM), so that OMS tools (`model-signing`) can
    /// verify the same file
    #[arg(long, value_name = "FILE")]
    pub(crate) oms: Option<PathBuf>,
    /// File or folder inside the model to leave out; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) ignore: Vec<PathBuf>,
    /// Sign with the classical key alone
    #[arg(long, requires = "oms", conflicts_with = "sign")]
    pub(crate) allow_classical: bool,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// A trust file, and the role that a publisher needs in it.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrustFile {
    /// Trust file, which lists publishers and their roles; --signer takes precedence
    #[arg(long = "trust", env = "CASEMATE_TRUST", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Role that the publisher must have in the trust file
    #[arg(long, value_name = "ROLE", default_value = "model")]
    pub(crate) role: String,
}

#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    /// Open a file with a key from the key store and show the model's header: tensors, metadata,
    /// and what a pickle would run
    #[arg(long)]
    pub(crate) model: bool,
    /// Sealed file or folder to inspect: a path or an address
    #[arg(value_parser = Place::parser())]
    pub(crate) input: Place,
}

#[derive(Debug, Args)]
#[group(id = "change", required = true, multiple = true, args = ["to", "add", "remove"])]
pub(crate) struct RewrapOptions {
    /// Sealed files or folders to change: paths or addresses; an address that ends in a slash
    /// stands for everything sealed below it
    #[arg(required = true, value_parser = Place::parser())]
    pub(crate) inputs: Vec<Place>,
    /// Recipient in the new list, which replaces the old one: name, full key id, or a path such as
    /// `./key.pub`; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with_all = ["add", "remove"])]
    pub(crate) to: Vec<String>,
    /// Recipient to add; may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Recipient to remove; may be repeated. A full key id need not be in the key store
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    /// Show what would change without changing anything
    #[arg(long, conflicts_with = "rekey")]
    pub(crate) dry_run: bool,
    /// Re-seal with a new artifact key and id, as the next revision, so that the old key, which
    /// former recipients may have kept, does not open it. Requires every recipient with --to, and
    /// the publisher's key with --sign
    #[arg(long, requires = "to")]
    pub(crate) rekey: bool,
    /// With --rekey: the publisher's signing key
    #[arg(long, value_name = "KEY", requires = "rekey")]
    pub(crate) sign: Option<String>,
    /// The owner's signing key, if the artifact has an owner: name or full key id
    #[arg(long, value_name = "KEY", conflicts_with = "delegate")]
    pub(crate) owner: Option<String>,
    /// The delegate's signing key: name or full key id
    #[arg(long, value_name = "KEY", requires = "delegation")]
    pub(crate) delegate: Option<String>,
    /// Epoch of the new recipient list [default: current + 1]. An epoch above a delegation's last
    /// one ends the delegation for anyone who passes --min-epoch
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
    /// Rewrap even if the artifact is unsigned or signed by an unknown key, whatever a trust file
    /// says
    #[arg(long, conflicts_with = "signer")]
    pub(crate) allow_unknown_signer: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CopyOptions {
    /// Sealed file or folder to copy: a path or an address
    #[arg(value_parser = Place::parser())]
    pub(crate) from: Place,
    /// Target: a path or an address; source and target cannot both be on this machine. To resume an
    /// interrupted copy to an object store, run it again
    #[arg(value_parser = Place::parser())]
    pub(crate) to: Place,
    /// Replace the target if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SuitesOptions {
    /// Algorithm to show in full [default: a table of all algorithms]
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
    /// The gateway's public `http` key: name, full key id, or a path such as `./key.pub`
    #[arg(long, value_name = "KEY")]
    pub(crate) gateway_key: String,
    /// Key to sign requests with: name or full key id
    #[arg(long, value_name = "KEY")]
    pub(crate) identity: String,
    /// Root certificates to trust for TLS (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Listen for plain requests on this address, or on `unix:PATH`, a socket only you can use
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: ListenAddress,
    /// File to write the access token to; the token is new at every start [default:
    /// `connect-PORT.token` in the folder of the key store]
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let any user on this machine send requests as you; for loopback addresses only
    #[arg(long)]
    pub(crate) no_token: bool,
    /// Let web pages from this origin send requests; write it as browsers do, such as
    /// `https://app.example`; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    /// Longest request, in bytes; at most the gateway's `request_bytes_max`
    #[arg(long, value_name = "BYTES", default_value_t = REQUEST_BYTES_DEFAULT)]
    pub(crate) request_bytes_max: usize,
}

/// Where a connector listens.
#[derive(Clone, Debug)]
pub(crate) enum ListenAddress {
    Address(SocketAddr),
    Socket(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing after `unix:`".to_owned()),
            Some(path) => Ok(Self::Socket(path.into())),
            None => {
                let address = text
                    .parse()
                    .map_err(|_| "expected an address such as 127.0.0.1:8080, or unix:PATH");
                Ok(Self::Address(address?))
            }
        }
    }
}
