//! Sealed artifacts: content encrypted to hybrid public keys, signed by its publisher, with random
//! access.
//!
//! The format is `spec/sealed-artifact.md`, version 1. This crate does not use the network, the
//! clock or the environment. It reads through [`ReadAt`] and writes through [`WriteAt`]; only
//! [`mod@file`] and [`directory`] touch the local file system.
//!
//! | task | entry |
//! |---|---|
//! | seal | [`seal`] with [`SealOptions`] |
//! | inspect an artifact, verify its signature | [`Artifact::read`], [`Artifact::verify_signature`], [`Artifact::verify_segments`] |
//! | open | [`Artifact::open`], then [`Opened::copy_to`] or [`Opened::read_all`] |
//! | change recipients | [`rewrap()`], [`change_recipients`] |
//! | seal a folder as a unit | [`directory`] |

mod body;
mod digest;
pub mod directory;
mod error;
pub mod file;
mod footer;
mod hash;
#[cfg(feature = "hazmat")]
pub mod hazmat;
mod io;
mod layout;
pub mod limits;
mod opened;
mod reader;
mod rewrap;
pub mod scratch;
mod wire;
mod writer;

pub use casemate_crypto::algorithm::HashAlgorithm;
pub use digest::content_digest;
pub use error::{Malformed, OpenError, OwnerError, RewrapError, SealError};
pub use footer::looks_sealed;
pub use io::{Durable, ReadAt, Source, WriteAt};
pub use layout::SegmentSize;
pub use opened::{Opened, SegmentContent};
pub use reader::{Artifact, Origin};
pub use rewrap::{NewTail, Rewrapped, change_recipients, new_tail, rewrap};
pub use wire::{
    ArtifactId, Delegation, Header, ListSigner, Private, RecipientList, RecipientRecord,
    SignatureRecord,
};
pub use writer::{SealOptions, Sealed, seal};

/// A callback that receives the number of content bytes just processed, possibly from several
/// threads.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);
