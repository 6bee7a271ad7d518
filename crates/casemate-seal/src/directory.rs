//! Folders sealed as a unit (`spec/sealed-directory.md`).
//!
//! Each file is an artifact. A sealed, signed manifest lists the artifacts that belong to the
//! folder. Only this module and [`crate::file`] touch the local file system.
//!
//! | task | entry |
//! |---|---|
//! | seal | [`seal_directory`] with [`DirectoryOptions`] |
//! | verify without a key | [`verify_without_key`] |
//! | open | [`read_manifest`], then [`SealedDirectory::open`] |
//! | change recipients | [`rewrap_directory`] |
//! | change keys | [`rekey_directory`] |

mod each;
mod error;
mod expected;
mod folder;
mod manifest;
mod open;
mod path;
mod public;
mod rekey;
mod rewrap;
mod seal;
mod stage;
mod tree;

pub use error::DirectoryError;
pub use expected::Expected;
pub use folder::{LocalFolder, SealTarget, SealedFolder};
pub use manifest::{DirectoryId, FileEntry, Manifest};
pub use open::{SealedDirectory, is_sealed_directory, read_manifest, verify_without_key};
pub use path::RelativePath;
pub use public::{PublicEntry, PublicList};
pub use rekey::{RekeyOptions, rekey_directory};
pub use rewrap::{RewrappedDirectory, rewrap_directory, unfinished_rewrap};
pub use seal::{DirectoryOptions, SealedFiles, Since, seal_directory, seal_directory_to};
pub use stage::{IsReplaceable, StagedDirectory};
pub use tree::{Links, SourceFile, check_sealed_replaceable, list_source};

/// Name of the manifest in the sealed folder.
pub const MANIFEST_NAME: &str = "manifest.casemate";
/// Content type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.casemate.manifest";
/// Suffix of the name of a file's artifact.
pub const SEALED_SUFFIX: &str = ".sealed";
/// Name of the journal, which exists while recipients are being changed.
pub const JOURNAL_NAME: &str = ".casemate-rewrap";
