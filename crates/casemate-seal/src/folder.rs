//! Folders sealed as a unit (`spec/sealed-folder.md`).
//!
//! Each file is an artifact. A sealed, signed manifest lists the artifacts that belong to the
//! folder. Only this module and [`crate::file`] touch the local file system.
//!
//! | task | entry |
//! |---|---|
//! | seal | [`seal_folder`] with [`FolderOptions`] |
//! | verify without a key | [`verify_without_key`] |
//! | open | [`read_manifest`], then [`SealedFolder::open`] |
//! | change recipients | [`rewrap_folder`] |
//! | change keys | [`rekey_folder`] |

mod each;
mod error;
mod expected;
mod manifest;
mod open;
mod path;
mod public;
mod rekey;
mod rewrap;
mod seal;
mod source;
mod stage;
#[cfg(test)]
mod tests;
mod tree;

pub use error::FolderError;
pub use expected::Expected;
pub use manifest::{FileEntry, FolderId, Manifest};
pub use open::{SealedFolder, is_sealed_folder, read_manifest, verify_without_key};
pub use path::RelativePath;
pub use public::{PublicEntry, PublicList};
pub use rekey::{RekeyOptions, rekey_folder};
pub use rewrap::{RewrappedFolder, rewrap_folder, unfinished_rewrap};
pub use seal::{FolderOptions, SealedFiles, Since, seal_folder, seal_folder_to};
pub use source::{FolderSource, LocalFolder, SealTarget};
pub use stage::{IsReplaceable, StagedFolder};
pub use tree::{Links, SourceFile, check_sealed_replaceable, list_source};

/// Name of the manifest in the sealed folder.
pub const MANIFEST_NAME: &str = "manifest.casemate";
/// Content type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.casemate.manifest";
/// Suffix of the name of a file's artifact.
pub const SEALED_SUFFIX: &str = ".sealed";
/// Name of the journal, which exists while recipients are being changed.
pub const JOURNAL_NAME: &str = ".casemate-rewrap";
