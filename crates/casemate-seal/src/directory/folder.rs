//! Where a sealed directory is: a local folder, or a place that another crate brings.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{DirectoryError, RelativePath, StagedDirectory, tree};
use crate::{
    Source, WriteAt,
    file::{self, AtomicFile, Existing},
};
use casemate_beneath as beneath;

/// A place that holds the artifacts of one sealed directory.
pub trait SealedFolder: Send + Sync {
    /// Opens what is at `path`, below the folder, for reading.
    ///
    /// # Errors
    ///
    /// The place's own error.
    fn open(&self, path: &Path) -> io::Result<Source>;

    /// Checks that the folder holds exactly the artifacts of `paths` (`spec/sealed-directory.md`, section 5, step 4).
    ///
    /// # Errors
    ///
    /// [`DirectoryError`], naming what is missing or does not belong.
    fn check(&self, paths: &[&RelativePath]) -> Result<(), DirectoryError>;

    /// How `path` is called in errors.
    fn shown(&self, path: &Path) -> PathBuf;

    /// The folder itself, if it is a local one.
    fn local(&self) -> Option<&LocalFolder> {
        None
    }
}

/// A folder of this machine, held open: everything in it is found below its descriptor, and no link is followed.
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

    /// Where it was when it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Opens a file for reading and keeps rewraps out until it is closed.
    pub(crate) fn file(&self, path: &Path) -> io::Result<File> {
        file::open_shared_below(&self.folder, path)
    }
}

impl SealedFolder for LocalFolder {
    fn open(&self, path: &Path) -> io::Result<Source> {
        Ok(Box::new(self.file(path)?))
    }

    fn check(&self, paths: &[&RelativePath]) -> Result<(), DirectoryError> {
        tree::check_sealed(&self.root, self.descriptor(), paths)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn local(&self) -> Option<&LocalFolder> {
        Some(self)
    }
}

/// Where a directory is sealed to. What was made becomes visible with the manifest, which is made last.
pub trait SealTarget: Sync {
    /// A file that is being written.
    type File: WriteAt;

    /// Starts the file at `path`, which is expected to have about `len` bytes.
    ///
    /// # Errors
    ///
    /// The place's own error.
    fn create(&self, path: &Path, len: u64) -> io::Result<Self::File>;

    /// Ends a file, which is whole now.
    ///
    /// # Errors
    ///
    /// The place's own error.
    fn commit(&self, file: Self::File) -> io::Result<()>;

    /// Starts the file at `path` as one of this machine, so that an artifact of an earlier version can be taken over; `None` elsewhere.
    ///
    /// # Errors
    ///
    /// The place's own error.
    fn local(&self, _path: &Path) -> io::Result<Option<AtomicFile>> {
        Ok(None)
    }
}

impl SealTarget for StagedDirectory {
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
