//! Sealed artifacts: content encrypted to hybrid public keys, signed by its publisher, with random
//! access.
//!
//! The format is `spec/sealed-artifact.md`, version 1. This crate does not use the network, the
//! clock or the environment. It reads through [`ReadAt`] and writes through [`WriteAt`]; only
//! [`mod@file`] and [`folder`] touch the local file system.
//!
//! | task | entry |
//! |---|---|
//! | seal | [`seal`] with [`SealOptions`] |
//! | inspect an artifact, verify its signature | [`Artifact::read`], [`Artifact::verify_signature`], [`Artifact::verify_segments`] |
//! | open | [`Artifact::open`], then [`Opened::copy_to`] or [`Opened::read_all`] |
//! | change recipients | [`rewrap()`], [`change_recipients`] |
//! | seal a folder as a unit | [`folder`] |
//!
//! Seal bytes to a key, and open them again:
//!
//! ```
//! use std::sync::Mutex;
//!
//! use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey, suite};
//! use casemate_seal::{Artifact, HashAlgorithm, Origin, Private, SealOptions, SegmentSize, seal};
//!
//! let key = KemPrivateKey::generate(&suite::MLKEM1024_P384)?;
//! let publisher = SigningKey::generate(&suite::MLDSA65_ED25519)?;
//! let artifact = Mutex::new(Vec::new());
//! let options = SealOptions {
//!     recipients: &[key.public_key()],
//!     signer: Some(&publisher),
//!     segment_size: SegmentSize::default(),
//!     hash: HashAlgorithm::default(),
//!     created: 1_800_000_000,
//!     content_type: "application/octet-stream",
//!     private: &Private::default(),
//!     revision: None,
//!     owner: None,
//!     public_part: &[],
//!     digest_content: false,
//! };
//! seal(&b"weights".to_vec(), &artifact, &options, &|_| ())?;
//!
//! let artifact = Artifact::read(artifact.into_inner()?)?;
//! let opened = artifact.open(&key, Origin::SignedBy(publisher.verifying_key()))?;
//! assert_eq!(*opened.read_all(1 << 20, &|_| ())?, *b"weights");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod digest;
mod error;
pub mod file;
pub mod folder;
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
