//! The manifest's CBOR (`spec/sealed-folder.md`, section 3).

use std::{collections::HashMap, fmt, sync::Arc};

use casemate_cbor::{Reader, encode};
use casemate_crypto::encoding::KeyId;

use super::{FolderError, PublicEntry, RelativePath};
use crate::{
    ArtifactId,
    limits::{FILES_MAX, MANIFEST_BYTES_MAX, RECIPIENTS_MAX},
};

const VERSION: u64 = 1;

/// A random id that a folder keeps in all its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FolderId([u8; Self::BYTES]);

impl FolderId {
    /// Length of a folder id, in bytes.
    pub const BYTES: usize = 16;

    /// Generates a random id.
    ///
    /// # Errors
    ///
    /// [`casemate_crypto::Error::Randomness`].
    pub fn random() -> Result<Self, casemate_crypto::Error> {
        casemate_crypto::random::bytes().map(Self)
    }
}

/// Shows 32 hex digits.
impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path, relative to the folder.
    pub path: RelativePath,
    /// Length of the content, in bytes.
    pub content_len: u64,
    /// The artifact's id.
    pub id: ArtifactId,
    /// The artifact's root.
    pub root: Vec<u8>,
    /// Digest of the content; it has the length of the root.
    pub digest: Vec<u8>,
    /// The recipients when the artifact was sealed, regardless of the recipients now.
    pub sealed_to: Arc<[KeyId]>,
}

impl FileEntry {
    /// Returns the public entry of the file, with the digest of its artifact's header.
    pub(crate) fn public(&self, header: [u8; 48]) -> PublicEntry {
        PublicEntry {
            path: self.path.clone(),
            header,
            root: self.root.clone(),
        }
    }
}

/// The artifacts of one version of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The id of the folder.
    pub id: FolderId,
    /// The revision, starting at 1.
    pub revision: u64,
    /// The files, in ascending order of their paths.
    pub files: Vec<FileEntry>,
    /// When the version expires, in seconds since 1970-01-01 UTC.
    pub expires: Option<u64>,
}

impl Manifest {
    /// Returns the total length of the content, in bytes.
    pub fn content_len(&self) -> u64 {
        let add = |sum: u64, file: &FileEntry| sum.saturating_add(file.content_len);
        self.files.iter().fold(0, add)
    }

    /// Returns the file at `path`.
    pub fn find(&self, path: &str) -> Option<&FileEntry> {
        let found = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path));
        found.ok().and_then(|at| self.files.get(at))
    }

    /// Returns the deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut sets: Vec<&[KeyId]> = Vec::new();
        let (mut places, mut shared) = (HashMap::new(), HashMap::new());
        let set_of: Vec<_> = self
            .files
            .iter()
            .map(|file| {
                // Most files share one set, and comparing sets by value is slow.
                *shared.entry(file.sealed_to.as_ptr()).or_insert_with(|| {
                    *places.entry(&*file.sealed_to).or_insert_with(|| {
                        sets.push(&file.sealed_to);
                        sets.len().saturating_sub(1) as u64
                    })
                })
            })
            .collect();
        encode(|e| {
            let entries = if self.expires.is_some() { 6 } else { 5 };
            e.map(entries)?.u8(0)?.u64(VERSION)?;
            e.u8(1)?.bytes(&self.id.0)?.u8(2)?.u64(self.revision)?;
            e.u8(3)?.array(self.files.len() as u64)?;
            for (file, set) in self.files.iter().zip(set_of) {
                e.array(6)?.str(file.path.as_str())?.u64(file.content_len)?;
                e.bytes(file.id.as_bytes())?
                    .bytes(&file.root)?
                    .bytes(&file.digest)?
                    .u64(set)?;
            }
            e.u8(4)?.array(sets.len() as u64)?;
            for set in sets {
                e.array(set.len() as u64)?;
                for key in set {
                    e.bytes(key.as_bytes())?;
                }
            }
            if let Some(expires) = self.expires {
                e.u8(5)?.u64(expires)?;
            }
            Ok(())
        })
    }

    /// Reads a manifest and checks every rule.
    ///
    /// # Errors
    ///
    /// [`FolderError::Manifest`], [`FolderError::Path`] or [`FolderError::TooManyFiles`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FolderError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(FolderError::Manifest("longer than 64 MiB"));
        }
        let d = &mut Reader::new(bytes, "manifest");
        let entries = d.map()?;
        d.key(0)?;
        if d.uint()? != VERSION {
            return Err(FolderError::Manifest("unknown version"));
        }
        if ![5, 6].contains(&entries) {
            return Err(d.refused().into());
        }
        d.key(1)?;
        let id = d.fixed("id")?;
        d.key(2)?;
        let revision = d.uint()?;
        if revision == 0 {
            return Err(FolderError::Manifest("revisions start at 1"));
        }
        d.key(3)?;
        let count = d.array()?;
        let actual = usize::try_from(count).unwrap_or(usize::MAX);
        if actual > FILES_MAX {
            return Err(FolderError::TooManyFiles { actual });
        }
        if actual == 0 {
            return Err(FolderError::Manifest("it lists no files"));
        }
        // Grows as entries are read, so a large count alone allocates nothing.
        let (mut files, mut sets_of) = (Vec::new(), Vec::new());
        for _ in 0..actual {
            let (file, set) = read_file(d)?;
            files.push(file);
            sets_of.push(set);
        }
        d.key(4)?;
        let sets = read_sets(d, files.len())?;
        for (file, set) in files.iter_mut().zip(sets_of) {
            let set = usize::try_from(set).ok().and_then(|set| sets.get(set));
            file.sealed_to = Arc::clone(set.ok_or_else(|| d.refused())?);
        }
        let expires = if entries == 6 {
            d.key(5)?;
            Some(d.uint()?)
        } else {
            None
        };
        let paths: Vec<_> = files.iter().map(|file| &file.path).collect();
        RelativePath::check_list(&paths)?;
        let manifest = Self {
            id: FolderId(id),
            revision,
            files,
            expires,
        };
        if manifest.encode() != bytes {
            return Err(FolderError::Manifest("not in deterministic encoding"));
        }
        Ok(manifest)
    }
}

/// Reads a file entry without the keys it was sealed to, and the index of their set.
fn read_file(d: &mut Reader<'_>) -> Result<(FileEntry, u64), FolderError> {
    d.array_of(6)?;
    let path = RelativePath::new(d.text()?)?;
    let content_len = d.uint()?;
    let id = d.fixed("id")?;
    let root = d.bytes()?.to_vec();
    let digest = d.bytes()?.to_vec();
    if ![32, 48].contains(&root.len()) || digest.len() != root.len() {
        return Err(FolderError::Manifest(
            "a root or digest has the wrong length",
        ));
    }
    let file = FileEntry {
        path,
        content_len,
        id: ArtifactId::from_bytes(id),
        root,
        digest,
        sealed_to: Arc::default(),
    };
    Ok((file, d.uint()?))
}

/// Reads the sets of keys that files were sealed to; there are at most as many sets as files.
fn read_sets(d: &mut Reader<'_>, files: usize) -> Result<Vec<Arc<[KeyId]>>, FolderError> {
    let len = |d: &mut Reader<'_>, most: usize| {
        let len = usize::try_from(d.array()?).unwrap_or(usize::MAX);
        let fits = (1..=most).contains(&len);
        fits.then_some(len).ok_or_else(|| d.refused())
    };
    let mut sets = Vec::new();
    for _ in 0..len(d, files)? {
        let mut keys = Vec::new();
        for _ in 0..len(d, RECIPIENTS_MAX)? {
            keys.push(KeyId::from_bytes(d.fixed("key id")?));
        }
        sets.push(keys.into());
    }
    Ok(sets)
}
