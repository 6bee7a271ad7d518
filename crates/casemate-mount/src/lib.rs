//! Sealed and signed files as plain files in a read-only file system (FUSE), for programs that do
//! not know Casemate.
//!
//! A read verifies the segments it needs and decrypts sealed ones. The kernel caches the result in
//! its page cache, so `mmap` works and a second read costs nothing. Plaintext exists only in
//! memory. Files and folders belong to the user who mounts, and no one else has access.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use casemate_mount::mount;
//!
//! let report = Arc::new(|path: &str, error: &_| eprintln!("cannot read {path}: {error}"));
//! let view = mount(Vec::new(), Path::new("view"), report)?;
//! view.unmount()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(feature = "fuse"))]
mod absent;
#[cfg(feature = "fuse")]
mod ahead;
#[cfg(feature = "fuse")]
mod cache;
mod content;
#[cfg(feature = "fuse")]
mod files;
#[cfg(feature = "fuse")]
mod filesystem;
#[cfg(feature = "fuse")]
mod mounted;
#[cfg(feature = "fuse")]
mod tree;

#[cfg(not(feature = "fuse"))]
pub use absent::{Mounted, mount, remove_stale};
pub use content::{Content, ReadError, Segment};
#[cfg(feature = "fuse")]
pub use mounted::{Mounted, mount, remove_stale};

use std::{fmt, io, path::PathBuf, sync::Arc};

/// A callback that opens a file when it is needed and was not used recently.
pub type Opener = Box<dyn Fn() -> Result<Arc<dyn Content>, ReadError> + Send + Sync>;

/// A file of the view.
pub struct MountedFile {
    /// Path relative to the mount point, with `/` between components, none of which may be empty,
    /// `.` or `..`.
    pub path: String,
    /// Length of the content, in bytes.
    pub content_len: u64,
    /// Opens the file.
    pub open: Opener,
}

impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A callback for a file that could not be read, with its path and the error.
pub type Report = Arc<dyn Fn(&str, &ReadError) + Send + Sync>;

/// Why a view could not be mounted.
#[derive(Debug)]
pub enum MountError {
    /// FUSE is missing on this machine, or the user may not use it.
    NoFuse(io::Error),
    /// The mount point is not an empty folder.
    NotEmpty(PathBuf),
    /// The crate was built without the feature `fuse`.
    NotBuilt,
    /// Any other system error.
    Io(io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFuse(_) => f.write_str("FUSE is not available"),
            Self::NotEmpty(path) => write!(f, "{} is not an empty folder", path.display()),
            Self::NotBuilt => f.write_str("this build cannot mount"),
            Self::Io(_) => f.write_str("cannot mount"),
        }
    }
}

impl std::error::Error for MountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoFuse(error) | Self::Io(error) => Some(error),
            Self::NotEmpty(_) | Self::NotBuilt => None,
        }
    }
}
