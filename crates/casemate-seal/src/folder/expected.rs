//! What a sealed folder must hold, compared with a listing of it.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{FolderError, JOURNAL_NAME, MANIFEST_NAME, RelativePath};

/// The expected entries of a listing, without those already found.
#[derive(Debug)]
pub struct Expected<'m>(HashMap<PathBuf, &'m RelativePath>);

impl<'m> Expected<'m> {
    /// Expects everything that belongs to the folder, besides manifest and journal.
    pub fn new(paths: &[&'m RelativePath]) -> Self {
        let paths = paths.iter();
        Self(paths.map(|path| (path.sealed(), *path)).collect())
    }

    /// Checks a listing of all files against what belongs to the folder.
    ///
    /// # Errors
    ///
    /// Those of [`Self::found`] and [`Self::end`].
    pub fn check(paths: &[&'m RelativePath], listing: &[String]) -> Result<(), FolderError> {
        let mut expected = Self::new(paths);
        for path in listing {
            expected.found(Path::new(path))?;
        }
        expected.end()
    }

    /// Returns the folders that the files are in.
    pub(crate) fn folders(&self) -> HashSet<PathBuf> {
        let above = |path: &PathBuf| {
            let above: Vec<_> = path.ancestors().skip(1).map(Path::to_owned).collect();
            above
        };
        self.0.keys().flat_map(above).collect()
    }

    /// Records a file that was found.
    ///
    /// # Errors
    ///
    /// [`FolderError::Extra`] if it is not expected.
    pub fn found(&mut self, path: &Path) -> Result<(), FolderError> {
        let known = self.0.remove(path).is_some()
            || path == Path::new(MANIFEST_NAME)
            || path == Path::new(JOURNAL_NAME);
        if known { Ok(()) } else { Err(extra(path)) }
    }

    /// Finishes the listing.
    ///
    /// # Errors
    ///
    /// [`FolderError::Missing`], which names the first file that was not found.
    pub fn end(self) -> Result<(), FolderError> {
        let first = self.0.values().min();
        first.map_or(Ok(()), |path| Err(FolderError::Missing(path.to_string())))
    }
}

pub(crate) fn extra(path: &Path) -> FolderError {
    let shown = path.display().to_string();
    FolderError::Extra(shown.escape_debug().to_string())
}
