//! Sorts the paths below a prefix or folder into artifacts, sealed folders and files that are not
//! sealed.

use std::collections::BTreeSet;

use casemate_seal::folder::{MANIFEST_NAME, SEALED_SUFFIX};

/// A single artifact, or a sealed folder.
pub(crate) struct SealedItem {
    pub(crate) path: String,
    pub(crate) is_folder: bool,
}

/// Artifacts and sealed folders, and files that are not sealed.
#[derive(Default)]
pub(crate) struct SealedListing {
    pub(crate) units: Vec<SealedItem>,
    pub(crate) plain: Vec<String>,
}

impl SealedListing {
    /// Sorts a listing.
    pub(crate) fn of(paths: Vec<String>) -> Self {
        let folders: BTreeSet<String> = paths
            .iter()
            .filter_map(|path| folder_of(path))
            .map(str::to_owned)
            .collect();
        let in_folder = |path: &str| {
            let mut above = path.match_indices('/').map(|(at, _)| path.get(..at));
            above.any(|folder| folder.is_some_and(|folder| folders.contains(folder)))
        };
        let mut below = Self::default();
        for path in paths {
            if let Some(folder) = folder_of(&path) {
                below.units.push(SealedItem {
                    path: folder.to_owned(),
                    is_folder: true,
                });
            } else if !path.ends_with(SEALED_SUFFIX) {
                below.plain.push(path);
            } else if !in_folder(&path) {
                // The artifacts of a folder are in its manifest.
                below.units.push(SealedItem {
                    path,
                    is_folder: false,
                });
            }
        }
        below
    }
}

/// Returns the folder, if the path is its manifest.
fn folder_of(path: &str) -> Option<&str> {
    let (folder, name) = path.rsplit_once('/')?;
    (name == MANIFEST_NAME).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_sorted_by_its_paths() {
        let paths = [
            "a.sealed",
            "notes.txt",
            "v1/manifest.casemate",
            "v1/model.sealed",
            "v1/sub/readme.md",
            "v1/sub/tokens.sealed",
            "v10/lone.sealed",
        ];
        let below = SealedListing::of(paths.map(str::to_owned).to_vec());
        let units: Vec<_> = below
            .units
            .iter()
            .map(|unit| (unit.path.as_str(), unit.is_folder))
            .collect();
        let expected = [
            ("a.sealed", false),
            ("v1", true),
            ("v10/lone.sealed", false),
        ];
        assert_eq!(units, expected);
        assert_eq!(below.plain, ["notes.txt", "v1/sub/readme.md"]);
    }
}
