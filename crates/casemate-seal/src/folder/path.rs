//! Paths in a manifest (`spec/sealed-folder.md`, section 3.1).

use std::{fmt, path::PathBuf};

use super::{FolderError, JOURNAL_NAME, MANIFEST_NAME, SEALED_SUFFIX};
use crate::limits::{COMPONENT_BYTES_MAX, COMPONENTS_MAX, PATH_BYTES_MAX};

/// A relative path that can be joined safely to a folder: not absolute, without `..`, and
/// printable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

impl RelativePath {
    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// [`FolderError::Path`], which names the broken rule.
    pub fn new(text: &str) -> Result<Self, FolderError> {
        let refuse = |rule| FolderError::Path {
            path: text.escape_debug().take(200).collect(),
            rule,
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(refuse("is longer than 1,024 bytes"));
        }
        if text.split('/').count() > COMPONENTS_MAX {
            return Err(refuse("has more than 64 components"));
        }
        for component in text.split('/') {
            if component.is_empty() {
                return Err(refuse("is absolute or has an empty component"));
            }
            if component == "." || component == ".." {
                return Err(refuse("has a component `.` or `..`"));
            }
            if component.len() > COMPONENT_BYTES_MAX {
                return Err(refuse("has a component longer than 240 bytes"));
            }
            let unsafe_to_show = |c: char| {
                c.is_control()
                    || matches!(c, '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            if component.contains(unsafe_to_show) {
                return Err(refuse("has a backslash or a control character"));
            }
        }
        if [MANIFEST_NAME, JOURNAL_NAME].contains(&text.split('/').next().unwrap_or_default()) {
            return Err(refuse("begins with a name reserved for the sealed folder"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns the path of the file's artifact.
    pub fn sealed(&self) -> PathBuf {
        PathBuf::from(format!("{}{SEALED_SUFFIX}", self.0))
    }

    /// Refuses a list in which one file would have to be a folder containing another, decrypted or
    /// sealed.
    pub(crate) fn check_list(paths: &[&Self]) -> Result<(), FolderError> {
        for pair in paths.windows(2) {
            if let [first, second] = pair
                && first >= second
            {
                return Err(FolderError::Manifest("paths are not in ascending order"));
            }
        }
        let names: std::collections::HashSet<&str> =
            paths.iter().map(|path| path.as_str()).collect();
        for path in paths {
            for (at, _) in path.0.match_indices('/') {
                let folder = path.0.get(..at).unwrap_or_default();
                let sealed = folder.strip_suffix(SEALED_SUFFIX);
                if names.contains(folder) || sealed.is_some_and(|file| names.contains(file)) {
                    return Err(FolderError::Path {
                        path: path.0.clone(),
                        rule: "lies below another file in the list, or below its artifact",
                    });
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_paths_are_taken_and_others_refused_for_their_rule() {
        for path in [
            "a",
            "a/b.c",
            "Ünï/模型.safetensors",
            "...",
            "a b",
            ".hidden/x",
        ] {
            assert_eq!(RelativePath::new(path).unwrap().as_str(), path);
        }
        for (path, rule) in [
            ("", "empty"),
            ("/etc/passwd", "absolute"),
            ("a//b", "empty"),
            ("a/", "empty"),
            ("..", "`..`"),
            ("a/../b", "`..`"),
            ("./a", "`.`"),
            ("a\\b", "backslash"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("a\u{7f}", "control"),
            ("a\u{9b}31m", "control"),
            ("a\u{202e}b", "control"),
            ("manifest.casemate", "reserved"),
            (".casemate-rewrap/x", "reserved"),
        ] {
            let refused = RelativePath::new(path).unwrap_err().to_string();
            assert!(refused.contains(rule), "{path:?}: {refused}");
        }
        for (longest, too_long) in [
            ("a".repeat(240), "a".repeat(241)),
            (vec!["a"; 64].join("/"), vec!["a"; 65].join("/")),
            (
                vec!["a".repeat(204); 5].join("/"),
                vec!["a".repeat(205); 5].join("/"),
            ),
        ] {
            RelativePath::new(&longest).unwrap();
            RelativePath::new(&too_long).unwrap_err();
        }
    }

    #[test]
    fn no_file_may_be_a_folder_of_another() {
        let check = |list: &[&str]| {
            let paths: Vec<_> = list.iter().map(|p| RelativePath::new(p).unwrap()).collect();
            RelativePath::check_list(&paths.iter().collect::<Vec<_>>())
        };
        check(&["a", "a.sealed", "ab/c", "b"]).unwrap();
        check(&["a/b", "a/c"]).unwrap();
        for list in [
            &["a", "a/b"][..],
            &["a", "a.sealed/b"],
            &["a", "a.b", "a/c"],
            &["a", "a"],
            &["b", "a"],
        ] {
            check(list).expect_err(&list.join(" "));
        }
    }
}
