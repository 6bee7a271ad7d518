//! Where a sealed folder is: on the local file system, or in a place that another crate provides.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{FolderError, RelativePath, StagedFolder, tree};
use crate::{
    Source, WriteAt,
    file::{self, AtomicFile, Existing},
};
use casemate_beneath as beneath;

/// A place that holds the artifacts of one sealed folder.
pub trait FolderSource: Send + Sync {
    /// Opens the file at `path`, relative to the folder, for reading.
    ///
    /// # Errors
    ///
    /// The error of the place.
    fn open(&self, path: &Path) -> io::Result<Source>;

    /// Checks that the folder holds exactly the artifacts of `paths` (`spec/sealed-folder.md`,
    /// section 5, step 4).
    ///
    /// # Errors
    ///
    /// [`FolderError`], which names the missing or extra file.
    fn check(&self, paths: &[&RelativePath]) -> Result<(), FolderError>;

    /// Returns `path` as shown in errors.
    fn shown(&self, path: &Path) -> PathBuf;

    /// Returns the folder itself if it is local.
    fn local(&self) -> Option<&LocalFolder> {
        None
    }
}

/// A local folder, held open. Everything in it is opened relative to its descriptor, and links are
/// not followed.
#[derive(Clone, Debug)]
pub struct LocalFolder {
    root: PathBuf,
    folder: Arc<OwnedFd>,
}

impl LocalFolder {
    /// Opens the folder at `root`.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let folder = Arc::new(beneath::open_folder(&root)?);
        Ok(Self { root, folder })
    }

    /// Returns the path at which it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Opens a file for reading with a shared lock, which blocks rewraps until it is closed.
    pub(crate) fn file(&self, path: &Path) -> io::Result<File> {
        file::open_shared_below(&self.folder, path)
    }
}

impl FolderSource for LocalFolder {
    fn open(&self, path: &Path) -> io::Result<Source> {
        Ok(Box::new(self.file(path)?))
    }

    fn check(&self, paths: &[&RelativePath]) -> Result<(), FolderError> {
        tree::check_sealed(&self.root, self.descriptor(), paths)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn local(&self) -> Option<&LocalFolder> {
        Some(self)
    }
}

/// The destination of a sealed folder. The result becomes visible with the manifest, which is
/// written last.
pub trait SealTarget: Sync {
    /// A file that is being written.
    type File: WriteAt;

    /// Starts a file at `path` with an expected length of about `len` bytes.
    ///
    /// # Errors
    ///
    /// The error of the place.
    fn create(&self, path: &Path, len: u64) -> io::Result<Self::File>;

    /// Finishes a file, which is now complete.
    ///
    /// # Errors
    ///
    /// The error of the place.
    fn commit(&self, file: Self::File) -> io::Result<()>;

    /// Starts a local file at `path`, so that the artifact of an earlier version can be reused;
    /// `None` if the destination is not local.
    ///
    /// # Errors
    ///
    /// The error of the place.
    fn local(&self, _path: &Path) -> io::Result<Option<AtomicFile>> {
        Ok(None)
    }
}

impl SealTarget for StagedFolder {
    type File = AtomicFile;

    fn create(&self, path: &Path, _len: u64) -> io::Result<AtomicFile> {
        self.file(path)
    }

    fn commit(&self, file: AtomicFile) -> io::Result<()> {
        file.commit(Existing::Keep)
    }

    fn local(&self, path: &Path) -> io::Result<Option<AtomicFile>> {
        self.file(path).map(Some)
    }
}
