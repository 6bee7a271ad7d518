//! Append-only logs (`spec/audit-log.md`): entries, RFC 6962 trees, tiles, signed checkpoints and
//! proofs, as C2SP defines them. It computes and does no I/O.
//!
//! ```
//! use casemate_audit::{Checkpoint, Frontier, VerifierKeys, leaf_hash};
//! use casemate_crypto::signature::LogSigningKey;
//!
//! let mut log = Frontier::default();
//! for entry in ["first", "second", "third"] {
//!     log.append(leaf_hash(entry.as_bytes()));
//! }
//! let key = LogSigningKey::generate()?;
//! let signed = Checkpoint::new("example.com/log", log.size(), log.root())?.sign(&key, 1_800_000_000)?;
//! let keys = VerifierKeys::new("example.com/log", key.verifying_key()?)?;
//! assert_eq!(keys.verify(signed.as_bytes())?.root(), log.root());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod entry;
mod proof;
mod tiles;
mod tree;
mod vkey;

pub use checkpoint::Checkpoint;
pub use entry::{Entry, What};
pub use proof::Proof;
pub use tiles::{Tile, bundle, bundles, entries_of, tile_path, tiles};
pub use tree::{Frontier, Hash, inclusion_proof, leaf_hash, root_of, verify_inclusion};
pub use vkey::VerifierKeys;

/// Why a log, a checkpoint or a proof was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A text breaks a rule of its format.
    #[error("it is not a valid {what}: {rule}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A signature that is needed is missing.
    #[error("the checkpoint has no {0} signature by the log's key")]
    Unsigned(&'static str),
    /// A signature does not verify.
    #[error("the checkpoint's {0} signature does not verify")]
    BadSignature(&'static str),
    /// An entry is not the one that the checkpoint covers.
    #[error(
        "the log does not have the root of the checkpoint of {size} entries: entries were changed, reordered or removed"
    )]
    OtherRoot {
        /// The size of the checkpoint.
        size: u64,
    },
    /// There are fewer entries than the checkpoint covers.
    #[error(
        "the log has {actual} entries, and the checkpoint covers {expected}: entries were removed"
    )]
    Truncated {
        /// Entries there are.
        actual: u64,
        /// Entries there should be.
        expected: u64,
    },
    /// A proof does not lead to the root.
    #[error("the proof does not show that the entry is in the log")]
    BadProof,
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

const fn malformed(what: &'static str, rule: &'static str) -> AuditError {
    AuditError::Malformed { what, rule }
}
