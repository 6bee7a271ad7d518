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
        /// The manifest and the files.
        artifacts: u64,
    },
}

impl Unit {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Artifact(path) | Self::Folder { path, .. } => path,
        }
    }
}

/// Returns everything sealed at or below a path, in the order of the paths. Links are not followed.
pub(super) fn walk(path: &Path) -> Result<Vec<Unit>, (PathBuf, io::Error)> {
    let mut units = Vec::new();
    if path.is_dir() {
        below(path, &mut units, DEPTH_MAX)?;
    } else {
        units.push(Unit::Artifact(path.to_owned()));
    }
    Ok(units)
}

fn below(folder: &Path, units: &mut Vec<Unit>, depth: usize) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    let Some(depth) = depth.checked_sub(1) else {
        return Err(failed(io::Error::other("folders are nested too deeply")));
    };
    if is_sealed_folder(folder) {
        let artifacts = sealed_files(folder, depth)
            .map_err(failed)?
            .saturating_add(1);
        units.push(Unit::Folder {
            path: folder.to_owned(),
            artifacts,
        });
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().map_err(failed)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            below(&path, units, depth)?;
        } else if kind.is_file() && is_artifact(&path).map_err(|error| (path.clone(), error))? {
            units.push(Unit::Artifact(path));
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

fn sealed_files(folder: &Path, depth: usize) -> io::Result<u64> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(io::Error::other("folders are nested too deeply"));
    };
    let mut count = 0_u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count = count.saturating_add(sealed_files(&entry.path(), depth)?);
        } else if entry.path().to_string_lossy().ends_with(SEALED_SUFFIX) {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}
