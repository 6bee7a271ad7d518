//! The public list of a folder's artifacts (`spec/sealed-folder.md`, section 3.2).

use casemate_cbor::{CborError, Reader, encode};

use super::{FolderError, Manifest, RelativePath};
use crate::limits::FILES_MAX;

/// The public information about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicEntry {
    /// Its path, relative to the folder.
    pub path: RelativePath,
    /// SHA-384 of the artifact's header.
    pub header: [u8; 48],
    /// The artifact's root.
    pub root: Vec<u8>,
}

/// The artifacts that belong together, readable without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicList(Vec<PublicEntry>);

const NOT_ONE: FolderError = FolderError::Manifest("the public list is not valid");

impl PublicList {
    /// Lists `files`, which must be in ascending order of their paths.
    pub const fn new(files: Vec<PublicEntry>) -> Self {
        Self(files)
    }

    /// Returns the files, in ascending order of their paths.
    pub fn files(&self) -> &[PublicEntry] {
        &self.0
    }

    pub(crate) fn find(&self, path: &str) -> Option<&PublicEntry> {
        let found = self.0.binary_search_by(|file| file.path.as_str().cmp(path));
        found.ok().and_then(|at| self.0.get(at))
    }

    pub(crate) fn paths(&self) -> Vec<&RelativePath> {
        self.0.iter().map(|file| &file.path).collect()
    }

    /// Returns the deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        encode(|e| {
            e.array(self.0.len() as u64)?;
            for file in &self.0 {
                e.array(3)?.str(file.path.as_str())?;
                e.bytes(&file.header)?.bytes(&file.root)?;
            }
            Ok(())
        })
    }

    /// Reads a list and checks every rule.
    ///
    /// # Errors
    ///
    /// [`FolderError::Manifest`], [`FolderError::Path`] or [`FolderError::TooManyFiles`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FolderError> {
        let refused = |_: CborError| NOT_ONE;
        let d = &mut Reader::new(bytes, "public list");
        let count = d.array().map_err(refused)?;
        let actual = usize::try_from(count).unwrap_or(usize::MAX);
        if actual > FILES_MAX {
            return Err(FolderError::TooManyFiles { actual });
        }
        let mut files = Vec::new();
        for _ in 0..actual {
            d.array_of(3).map_err(refused)?;
            let path = RelativePath::new(d.text().map_err(refused)?)?;
            let header = d.fixed("header").map_err(refused)?;
            let root = d.bytes().map_err(refused)?.to_vec();
            files.push(PublicEntry { path, header, root });
        }
        let list = Self(files);
        RelativePath::check_list(&list.paths())?;
        if list.0.is_empty() || list.encode() != bytes {
            return Err(NOT_ONE);
        }
        Ok(list)
    }

    /// Returns whether it lists the same artifacts as the manifest.
    pub(crate) fn agrees_with(&self, manifest: &Manifest) -> bool {
        let same = |(public, file): (&PublicEntry, &super::FileEntry)| {
            public.path == file.path && public.root == file.root
        };
        self.0.len() == manifest.files.len() && self.0.iter().zip(&manifest.files).all(same)
    }
}
