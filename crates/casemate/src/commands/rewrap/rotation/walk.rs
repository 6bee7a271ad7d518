//! Finds what is sealed below a path on this machine.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use casemate_seal::{
    folder::{SEALED_SUFFIX, is_sealed_folder},
    looks_sealed,
};

/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 128;

/// Something that is rewrapped as a whole.
pub(super) enum Unit {
    Artifact(PathBuf),
    Folder {
        path: PathBuf,
        /// Its sealed files.
        files: Vec<PathBuf>,
    },
}

impl Unit {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Artifact(path) | Self::Folder { path, .. } => path,
        }
    }
}

/// What was found below a path.
#[derive(Default)]
pub(super) struct Found {
    pub(super) units: Vec<Unit>,
    /// What could not be looked at, and why.
    pub(super) missed: Vec<(PathBuf, io::Error)>,
}

/// Returns everything sealed at or below a path, in the order of the paths. Links below it are
/// reported, not followed.
pub(super) fn walk(path: &Path) -> Found {
    let mut found = Found::default();
    if path.is_dir() {
        below(path, &mut found, DEPTH_MAX);
    } else {
        found.units.push(Unit::Artifact(path.to_owned()));
    }
    found
}

fn below(folder: &Path, found: &mut Found, depth: usize) {
    if let Err(error) = list(folder, found, depth) {
        found.missed.push((folder.to_owned(), error));
    }
}

fn list(folder: &Path, found: &mut Found, depth: usize) -> io::Result<()> {
    let deep = || io::Error::other("folders are nested too deeply");
    let depth = depth.checked_sub(1).ok_or_else(deep)?;
    if is_sealed_folder(folder) {
        let mut files = Vec::new();
        sealed_files(folder, &mut files, depth)?;
        found.units.push(Unit::Folder {
            path: folder.to_owned(),
            files,
        });
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.path(), entry.file_type()?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            below(&path, found, depth);
        } else if kind.is_symlink() {
            let error = io::Error::other("it is a symbolic link; name its target");
            found.missed.push((path, error));
        } else if kind.is_file() {
            match is_artifact(&path) {
                Ok(true) => found.units.push(Unit::Artifact(path)),
                Ok(false) => {}
                Err(error) => found.missed.push((path, error)),
            }
        }
    }
    Ok(())
}

/// Returns whether a file is sealed, or should be.
fn is_artifact(path: &Path) -> io::Result<bool> {
    if path.to_string_lossy().ends_with(SEALED_SUFFIX) {
        return Ok(true);
    }
    Ok(looks_sealed(&File::open(path)?))
}

/// Collects the sealed files of a sealed folder. A folder in it with a manifest of its own is not
/// part of it.
fn sealed_files(folder: &Path, files: &mut Vec<PathBuf>, depth: usize) -> io::Result<()> {
    let deep = || io::Error::other("folders are nested too deeply");
    let depth = depth.checked_sub(1).ok_or_else(deep)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            if is_sealed_folder(&path) {
                let message = format!("{} is a sealed folder inside another one", path.display());
                return Err(io::Error::other(message));
            }
            sealed_files(&path, files, depth)?;
        } else if path.to_string_lossy().ends_with(SEALED_SUFFIX) {
            files.push(path);
        }
    }
    Ok(())
}
