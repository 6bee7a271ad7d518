//! The files of a folder that are ignored when it is sealed.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::EnvironmentError;

/// The file with the patterns of a folder.
const IGNORE_FILE: &str = ".casemateignore";

/// Patterns in the syntax of `.gitignore`, from a folder's `.casemateignore` and from the user.
#[derive(Debug)]
pub struct Excluded(Gitignore);

impl Excluded {
    /// Reads the folder's own patterns and adds the user's.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::Pattern`].
    pub fn read(root: &Path, patterns: &[String]) -> Result<Self, EnvironmentError> {
        // Paths are already relative to the folder, so the patterns need no root.
        let mut builder = GitignoreBuilder::new("");
        let file = root.join(IGNORE_FILE);
        if file.is_file()
            && let Some(error) = builder.add(&file)
        {
            return Err(EnvironmentError::Pattern(error));
        }
        for pattern in patterns {
            builder
                .add_line(None, pattern)
                .map_err(EnvironmentError::Pattern)?;
        }
        builder.build().map(Self).map_err(EnvironmentError::Pattern)
    }

    /// Returns whether a file or folder is ignored, by its path relative to the folder.
    pub fn contains(&self, path: &Path, is_folder: bool) -> bool {
        path == Path::new(IGNORE_FILE) || self.0.matched(path, is_folder).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_folder_and_of_the_user_apply() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(IGNORE_FILE), "*.tmp\n!keep.tmp\n").unwrap();
        let excluded = Excluded::read(folder.path(), &["cache/".to_owned()]).unwrap();
        for (path, is_folder, expected) in [
            ("a.tmp", false, true),
            ("sub/a.tmp", false, true),
            ("keep.tmp", false, false),
            ("cache", true, true),
            ("cache", false, false),
            (".casemateignore", false, true),
            ("model.bin", false, false),
        ] {
            assert_eq!(
                excluded.contains(Path::new(path), is_folder),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Excluded::read(folder.path(), &["[z-a]".to_owned()]).unwrap_err();
        assert!(matches!(refused, EnvironmentError::Pattern(_)), "{refused}");
    }
}
