//! Options of `casemate keys audit`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::place::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Begin a log. From then on, what cannot be logged fails; a log cannot be disabled
    Enable {
        /// Name of the log, such as `example.com/keys`
        #[arg(long, value_name = "NAME")]
        origin: String,
        /// File for the keys that verify the log [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write the keys that verify the log
    Keys {
        /// File to write [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the entries, after verifying all of them
    Show {
        /// First entry to show
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        from: u64,
        /// Only entries of this key, such as `model` or `model@2`
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Sign the head of the log; keep it on another machine
    Checkpoint {
        /// File or object to write, such as `s3://bucket/checkpoint` [default: standard output]
        #[arg(short, long, value_name = "PLACE", value_parser = Place::parser())]
        output: Option<Place>,
    },
    /// Write the log as files that can be served and verified without the key store
    Export {
        /// Folder to write to; files that are complete there already are kept
        folder: PathBuf,
    },
    /// Verify the log of the key store, or a copy of it, against checkpoints from earlier
    Verify {
        /// Checkpoint that the log must contain; may be repeated
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// Folder of a copy that `casemate keys audit export` wrote
        #[arg(long, value_name = "FOLDER", requires = "keys")]
        log: Option<PathBuf>,
        /// Keys of the log, from `casemate keys audit keys` [default: those in the key store]
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
    /// Prove that an entry is in the log
    Prove {
        /// Number of the entry
        entry: u64,
        /// File to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Check a proof without the key store, and show its entry
    Check {
        /// File that `casemate keys audit prove` wrote
        proof: PathBuf,
        /// Keys of the log, from `casemate keys audit keys`
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
    },
}
