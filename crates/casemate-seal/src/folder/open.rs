//! Opening a sealed folder (`spec/sealed-folder.md`, section 5).

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use casemate_crypto::{encoding::KeyId, kem::KemPrivateKey, signature::VerifyingKey};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::{
    FileEntry, FolderError, FolderSource, LocalFolder, MANIFEST_NAME, MANIFEST_TYPE, Manifest,
    PublicEntry, PublicList, each::for_each_file, stage::StagedFolder, tree,
};
use crate::{
    Artifact, OpenError, Opened, Origin, Progress, ReadAt, Source,
    file::{Access, Existing},
    limits::MANIFEST_BYTES_MAX,
};

/// Returns whether the folder at `root` has a manifest.
pub fn is_sealed_folder(root: &Path) -> bool {
    root.join(MANIFEST_NAME).is_file()
}

/// Reads the manifest's artifact, which names its signer and recipients.
///
/// In a local folder, rewraps are blocked until the artifact is dropped.
///
/// # Errors
///
/// [`FolderError::Open`] for the manifest.
pub fn read_manifest(folder: &dyn FolderSource) -> Result<Artifact<Source>, FolderError> {
    read(folder, Path::new(MANIFEST_NAME), MANIFEST_NAME)
}

pub(crate) fn read(
    folder: &dyn FolderSource,
    place: &Path,
    path: &str,
) -> Result<Artifact<Source>, FolderError> {
    let source = folder
        .open(place)
        .map_err(FolderError::io("open", folder.shown(place)))?;
    Artifact::read(source).map_err(FolderError::open(path))
}

/// What is known about a folder after its manifest was closed.
pub(crate) struct Released {
    pub(crate) folder: LocalFolder,
    pub(crate) manifest: Manifest,
    /// Root of the manifest's artifact.
    pub(crate) manifest_root: Vec<u8>,
    /// Recipients of the manifest's artifact.
    pub(crate) recipients: Vec<KeyId>,
    pub(crate) publisher: Option<KeyId>,
}

/// A sealed folder with a verified manifest and a complete listing.
pub struct SealedFolder {
    folder: Box<dyn FolderSource>,
    manifest: Manifest,
    artifact: Artifact<Source>,
    public: PublicList,
}

impl SealedFolder {
    /// Opens the manifest with the first of `keys` that fits, and checks that the folder holds
    /// exactly the files it lists.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; for the manifest's artifact, [`FolderError::Open`] with the errors of
    /// [`Artifact::open`].
    pub fn open(
        folder: Box<dyn FolderSource>,
        artifact: Artifact<Source>,
        keys: &[&KemPrivateKey],
        origin: Origin<'_>,
    ) -> Result<Self, FolderError> {
        let failed = || FolderError::open(MANIFEST_NAME);
        let opened = artifact
            .open(key_for(&artifact, keys).map_err(failed())?, origin)
            .map_err(failed())?;
        if artifact.header().content_type() != MANIFEST_TYPE {
            return Err(FolderError::Manifest("wrong content type"));
        }
        let content = opened
            .read_all(MANIFEST_BYTES_MAX as u64, &|_| ())
            .map_err(failed())?;
        let manifest = Manifest::decode(&content).map_err(FolderError::not_as_sealed)?;
        let public =
            PublicList::decode(artifact.public_part()).map_err(FolderError::not_as_sealed)?;
        if !public.agrees_with(&manifest) {
            return Err(FolderError::Manifest("the public list does not match it"));
        }
        folder
            .check(&public.paths())
            .map_err(FolderError::not_as_sealed)?;
        Ok(Self {
            folder,
            manifest,
            artifact,
            public,
        })
    }

    /// Closes the manifest's file, which a rewrap must lock exclusively. The folder must be local.
    pub(crate) fn release(self) -> Result<Released, FolderError> {
        let folder = self.folder.local().ok_or(FolderError::NotLocal)?;
        let recipients = self.artifact.recipients().iter().map(|r| r.key);
        Ok(Released {
            folder: folder.clone(),
            manifest_root: self.artifact.root().to_vec(),
            recipients: recipients.collect(),
            publisher: self.artifact.header().publisher(),
            manifest: self.manifest,
        })
    }

    /// Returns the manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the manifest's artifact.
    pub const fn artifact(&self) -> &Artifact<Source> {
        &self.artifact
    }

    /// Refuses a version older than `minimum`.
    ///
    /// # Errors
    ///
    /// [`FolderError::Revision`].
    pub const fn require_revision(&self, minimum: u64) -> Result<(), FolderError> {
        let found = self.manifest.revision;
        if found >= minimum {
            return Ok(());
        }
        Err(FolderError::Revision { found, minimum })
    }

    /// Blocks changes of recipients in a local folder until the descriptor is closed.
    pub(crate) fn lock_alone(&self) -> Result<Option<OwnedFd>, FolderError> {
        let Some(folder) = self.folder.local() else {
            return Ok(None);
        };
        let failed = || FolderError::io("lock", folder.root());
        let own = folder.descriptor().try_clone_to_owned().map_err(failed())?;
        // A separate descriptor, so that closing it releases the lock.
        let opened = openat(&own, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed()(errno.into()))?;
        flock(&opened, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| failed()(errno.into()))?;
        Ok(Some(opened))
    }

    /// Opens the artifact of `entry` as a file, if the folder is local.
    pub(crate) fn local_file(&self, entry: &FileEntry) -> io::Result<Option<File>> {
        let folder = self.folder.local();
        folder
            .map(|folder| folder.file(&entry.path.sealed()))
            .transpose()
    }

    /// Reads the artifact of `entry` and checks that it is the version in the manifest.
    ///
    /// # Errors
    ///
    /// [`FolderError::OtherVersion`], [`FolderError::Io`] or [`FolderError::Open`].
    pub fn read(&self, entry: &FileEntry) -> Result<Artifact<Source>, FolderError> {
        let path = entry.path.as_str();
        let artifact = read(&*self.folder, &entry.path.sealed(), path)?;
        check_version(entry, &artifact, self.artifact.header().publisher())?;
        let public = self.public.find(path).map(|public| public.header);
        if public != Some(artifact.header().digest()) {
            let (path, what) = (path.to_owned(), "header");
            return Err(FolderError::OtherVersion { path, what });
        }
        Ok(artifact)
    }

    /// Opens the file of `entry` with the first of `keys` that fits.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and [`FolderError::Open`] with the errors of [`Artifact::open`].
    pub fn open_file(
        &self,
        entry: &FileEntry,
        keys: &[&KemPrivateKey],
    ) -> Result<Opened<Source>, FolderError> {
        let failed = || FolderError::open(entry.path.as_str());
        let artifact = self.read(entry)?;
        let key = key_for(&artifact, keys).map_err(failed())?;
        // The manifest's signature covers the root, which was compared above.
        artifact.open(key, Origin::Unchecked).map_err(failed())
    }

    /// Opens every file and checks each of its segments against the manifest, without decrypting
    /// them.
    ///
    /// # Errors
    ///
    /// As [`Self::open_file`] and [`Artifact::verify_segments`].
    pub fn verify_files(
        &self,
        keys: &[&KemPrivateKey],
        progress: Progress<'_>,
    ) -> Result<(), FolderError> {
        let verify = |entry: &FileEntry| {
            // The list of recipients is authenticated only when the artifact is opened.
            self.open_file(entry, keys)?
                .artifact()
                .verify_segments(progress)
                .map_err(FolderError::open(entry.path.as_str()))
        };
        for_each_file(&self.manifest.files, |entry| entry.content_len, verify).map(drop)
    }

    /// Writes every decrypted file below `destination`, which appears completely or not at all.
    ///
    /// # Errors
    ///
    /// As [`Self::open_file`] and [`Opened::copy_to`].
    pub fn copy_to(
        &self,
        destination: &Path,
        existing: Existing,
        keys: &[&KemPrivateKey],
        progress: Progress<'_>,
    ) -> Result<(), FolderError> {
        let is_replaceable = |folder: &Path| tree::check_replaceable(folder, &self.manifest);
        let stage = StagedFolder::create(destination, Access::Owner, existing, &is_replaceable)?;
        self.copy_into(&stage, keys, progress)?;
        stage.commit(destination, existing, &is_replaceable)
    }

    fn copy_into(
        &self,
        stage: &StagedFolder,
        keys: &[&KemPrivateKey],
        progress: Progress<'_>,
    ) -> Result<(), FolderError> {
        let copy = |entry: &FileEntry| {
            let opened = self.open_file(entry, keys)?;
            let path = PathBuf::from(entry.path.as_str());
            let failed = || FolderError::io("write", &path);
            let target = stage.file(&path).map_err(failed())?;
            opened
                .copy_to(target.file(), progress)
                .map_err(FolderError::open(entry.path.as_str()))?;
            target.commit(Existing::Keep).map_err(failed())
        };
        for_each_file(&self.manifest.files, |entry| entry.content_len, copy).map(drop)
    }
}

/// Verifies a sealed folder without a key that opens it.
///
/// Checks that `signer` signed the list of files, that exactly these files exist, and every segment
/// of each. Does not check the content of the files or who can open them.
///
/// # Errors
///
/// [`FolderError`].
pub fn verify_without_key(
    folder: &dyn FolderSource,
    manifest: &Artifact<Source>,
    signer: &VerifyingKey,
    progress: Progress<'_>,
) -> Result<PublicList, FolderError> {
    manifest
        .verify_signature(signer)
        .map_err(FolderError::open(MANIFEST_NAME))?;
    if manifest.header().content_type() != MANIFEST_TYPE {
        return Err(FolderError::Manifest("wrong content type"));
    }
    manifest
        .verify_segments(&|_| ())
        .map_err(FolderError::open(MANIFEST_NAME))?;
    let list = PublicList::decode(manifest.public_part()).map_err(FolderError::not_as_sealed)?;
    folder
        .check(&list.paths())
        .map_err(FolderError::not_as_sealed)?;
    let verify = |file: &PublicEntry| {
        let path = file.path.as_str();
        let artifact = read(folder, &file.path.sealed(), path)?;
        let header = artifact.header();
        let what = if header.digest() != file.header {
            Some("header")
        } else if artifact.root() != file.root {
            Some("root")
        } else if header.publisher() != manifest.header().publisher() {
            Some("publisher")
        } else {
            None
        };
        if let Some(what) = what {
            let path = path.to_owned();
            return Err(FolderError::OtherVersion { path, what });
        }
        artifact
            .verify_segments(progress)
            .map_err(FolderError::open(path))
    };
    // The list does not include their lengths.
    for_each_file(list.files(), |_| 0, verify)?;
    Ok(list)
}

impl std::fmt::Debug for SealedFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFolder")
            .field("folder", &self.folder.shown(Path::new("")))
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_version<R: ReadAt>(
    entry: &FileEntry,
    artifact: &Artifact<R>,
    publisher: Option<KeyId>,
) -> Result<(), FolderError> {
    let what = if artifact.header().id() != entry.id {
        "artifact id"
    } else if artifact.root() != entry.root {
        "root"
    } else if artifact.header().content_len() != entry.content_len {
        "length"
    } else if artifact.header().publisher() != publisher {
        "publisher"
    } else {
        return Ok(());
    };
    let path = entry.path.as_str().to_owned();
    Err(FolderError::OtherVersion { path, what })
}

/// Returns the first of `keys` that the artifact is sealed to.
pub(crate) fn key_for<'k, R: ReadAt>(
    artifact: &Artifact<R>,
    keys: &[&'k KemPrivateKey],
) -> Result<&'k KemPrivateKey, OpenError> {
    let mut first = None;
    for key in keys {
        let id: KeyId = key.public_key().id().map_err(|_| OpenError::Rejected)?;
        if artifact.recipients().iter().any(|record| record.key == id) {
            return Ok(key);
        }
        first = first.or(Some(id));
    }
    Err(first.map_or(OpenError::Rejected, |key| OpenError::NotARecipient { key }))
}
