//! Listing a folder, without following links unless asked to.

use std::{
    fs, io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use casemate_beneath as beneath;
use rustix::fs::FileType;

use super::{
    FolderError, JOURNAL_NAME, MANIFEST_NAME, Manifest, RelativePath, SEALED_SUFFIX,
    expected::{Expected, extra},
};
use crate::limits::FILES_MAX;

/// How to treat symbolic links to files in the folder to seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Refuse them.
    Refuse,
    /// Seal the files they point to, as in the Hugging Face cache. Links to folders are still
    /// refused, because they may form cycles.
    Follow,
}

/// A file to seal.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path, relative to the folder.
    pub path: RelativePath,
    /// Its location.
    pub location: PathBuf,
    /// Length in bytes when it was listed.
    pub len: u64,
}

/// Lists the files below `root`, in ascending order of their paths.
///
/// `include` decides about each path, given relative to `root`, with a flag that says whether it is
/// a folder.
///
/// # Errors
///
/// [`FolderError`], which names what cannot be sealed.
pub fn list_source(
    root: &Path,
    links: Links,
    include: &dyn Fn(&Path, bool) -> bool,
) -> Result<Vec<SourceFile>, FolderError> {
    let mut files = Vec::new();
    walk(root, &mut |below, location, file_type| {
        let is_link = file_type.is_symlink();
        let metadata = || fs::metadata(location).map_err(FolderError::io("read", location));
        let target_is_dir = is_link && links == Links::Follow && metadata()?.is_dir();
        if !include(below, file_type.is_dir() || target_is_dir) {
            return Ok(false);
        }
        if file_type.is_dir() {
            return Ok(true);
        }
        if target_is_dir {
            return Err(FolderError::FolderLink(location.to_owned()));
        }
        if is_link && links == Links::Refuse {
            return Err(FolderError::Link(location.to_owned()));
        }
        let metadata = metadata()?;
        if !metadata.is_file() {
            return Err(FolderError::Special(location.to_owned()));
        }
        files.push(SourceFile {
            path: relative(below)?,
            location: location.to_owned(),
            len: metadata.len(),
        });
        if files.len() > FILES_MAX {
            return Err(FolderError::TooManyFiles {
                actual: files.len(),
            });
        }
        Ok(false)
    })?;
    if files.is_empty() {
        return Err(FolderError::Empty);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    RelativePath::check_list(&files.iter().map(|file| &file.path).collect::<Vec<_>>())?;
    Ok(files)
}

/// Checks that the sealed folder holds exactly the artifacts in the manifest
/// (`spec/sealed-folder.md`, section 5, step 4).
pub(crate) fn check_sealed(
    root: &Path,
    folder: BorrowedFd<'_>,
    paths: &[&RelativePath],
) -> Result<(), FolderError> {
    let mut expected = Expected::new(paths);
    let folders = expected.folders();
    let listed = beneath::walk(folder, &mut |below, file_type| {
        match file_type {
            FileType::Symlink => return Err(FolderError::Link(root.join(below)).into()),
            FileType::Directory if folders.contains(below) => return Ok(true),
            FileType::Directory => return Err(extra(below).into()),
            FileType::RegularFile => expected.found(below)?,
            _ => return Err(FolderError::Special(root.join(below)).into()),
        }
        Ok(false)
    });
    match listed {
        Ok(()) => expected.end(),
        Err(Walked::Refused(error)) => Err(error),
        Err(Walked::Io(error)) => Err(FolderError::io("list", root)(error)),
    }
}

/// Why a walk ended early.
enum Walked {
    Io(io::Error),
    Refused(FolderError),
}

impl From<io::Error> for Walked {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FolderError> for Walked {
    fn from(error: FolderError) -> Self {
        Self::Refused(error)
    }
}

/// Checks that an existing sealed folder holds only sealed files, so that replacing it loses
/// nothing else.
///
/// # Errors
///
/// [`FolderError::NotReplaced`], which names the first other file.
pub fn check_sealed_replaceable(root: &Path) -> Result<(), FolderError> {
    if fs::symlink_metadata(root).is_err() {
        return Ok(());
    }
    if !root.join(MANIFEST_NAME).is_file() {
        return Err(FolderError::NotReplaced(root.to_owned()));
    }
    walk(root, &mut |below, location, file_type| {
        let own = [MANIFEST_NAME, JOURNAL_NAME]
            .iter()
            .any(|name| below == Path::new(name));
        let sealed = below
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(SEALED_SUFFIX.as_bytes());
        if file_type.is_dir() || (file_type.is_file() && (own || sealed)) {
            return Ok(file_type.is_dir());
        }
        Err(FolderError::NotReplaced(location.to_owned()))
    })
}

/// Checks that an existing folder holds only files in this manifest.
pub(crate) fn check_replaceable(root: &Path, manifest: &Manifest) -> Result<(), FolderError> {
    if !root.exists() {
        return Ok(());
    }
    walk(root, &mut |below, location, file_type| {
        let known = below.to_str().and_then(|path| manifest.find(path));
        if file_type.is_dir() || (file_type.is_file() && known.is_some()) {
            return Ok(file_type.is_dir());
        }
        Err(FolderError::NotReplaced(location.to_owned()))
    })
}

fn relative(below: &Path) -> Result<RelativePath, FolderError> {
    let text = below
        .to_str()
        .ok_or_else(|| FolderError::NotUtf8(below.to_owned()))?;
    RelativePath::new(text)
}

/// Calls `visit` with the relative path, location and type of each entry; it returns whether to
/// descend into a folder.
fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Path, &Path, fs::FileType) -> Result<bool, FolderError>,
) -> Result<(), FolderError> {
    // A list instead of recursion: the system's path length limits nesting, not our stack.
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let location = root.join(&folder);
        let listing = fs::read_dir(&location).map_err(FolderError::io("list", &location))?;
        for entry in listing {
            let entry = entry.map_err(FolderError::io("list", &location))?;
            let at = entry.path();
            let file_type = entry.file_type().map_err(FolderError::io("read", &at))?;
            let below = folder.join(entry.file_name());
            if visit(&below, &at, file_type)? {
                folders.push(below);
            }
        }
    }
    Ok(())
}
