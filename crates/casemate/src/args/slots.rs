//! Options of `casemate keys slots`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum SlotsCommand {
    /// List the slots and groups
    List {
        /// Read them without opening the key store; nothing proves that they are authentic
        #[arg(long)]
        unchecked: bool,
    },
    /// Add a slot, which opens the key store alone or as a member of a group
    Add(AddSlot),
    /// Remove a slot; earlier copies of the key store still open with it
    Remove {
        /// Name of the slot
        name: String,
        #[command(flatten)]
        offline: OfflineOption,
    },
    /// Check that slots open with what is given
    Test {
        /// Names of the slots [default: all]
        names: Vec<String>,
    },
    /// Write the age file of a slot; decrypt it with `age -d` to get a key file
    Export {
        /// Name of the slot
        name: String,
        /// File to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make a group of slots, of which several must open together, or change its members
    Group {
        /// Name of the group
        name: String,
        /// How many of its slots open the key store
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(2..))]
        threshold: u8,
        /// Its slots; a slot of the group that is not listed is removed from the key store
        #[arg(required = true, value_name = "SLOT")]
        members: Vec<String>,
        #[command(flatten)]
        offline: OfflineOption,
    },
    /// Remove a group; each of its slots opens the key store alone again
    Ungroup {
        /// Name of the group
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("method").required(true).multiple(false))]
pub(crate) struct AddSlot {
    /// Name of the slot
    pub(crate) name: String,
    /// Ask for a passphrase
    #[arg(long, group = "method")]
    pub(crate) passphrase: bool,
    /// Read the slot's passphrase from a file; `-` for standard input
    #[arg(long, value_name = "FILE", group = "method")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Make a random key and write it to a new file
    #[arg(long, value_name = "FILE", group = "method")]
    pub(crate) random_key: Option<PathBuf>,
    /// Make a hybrid key pair to be kept offline, and write its private key to a new file
    #[arg(long, value_name = "FILE", group = "method")]
    pub(crate) recovery_key: Option<PathBuf>,
    /// Seal the slot to the public key of someone else: a name, a key id or a path such as
    /// `./recovery.pub`
    #[arg(long, value_name = "KEY", group = "method")]
    pub(crate) to: Option<String>,
    /// Encrypt the slot to an age recipient, `age1pq1...`
    #[arg(long, value_name = "RECIPIENT", group = "method")]
    pub(crate) age: Option<String>,
    /// Group that the slot joins
    #[arg(long)]
    pub(crate) group: Option<String>,
}

/// Whether the key store may depend on a token or a service.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OfflineOption {
    /// Allow a key store that no offline slot opens: if its tokens or accounts are lost, so is
    /// every key
    #[arg(long)]
    pub(crate) without_offline_slot: bool,
}
