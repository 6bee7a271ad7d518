//! Opening (`spec/sealed-directory.md`, section 5).

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use casemate_crypto::{encoding::KeyId, kem::KemPrivateKey, signature::VerifyingKey};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::{
    DirectoryError, FileEntry, LocalFolder, MANIFEST_NAME, MANIFEST_TYPE, Manifest, PublicEntry,
    PublicList, SealedFolder, each::for_each_file, stage::StagedDirectory, tree,
};
use crate::{
    Artifact, OpenError, Opened, Origin, Progress, ReadAt, Source,
    file::{Access, Existing},
    limits::MANIFEST_BYTES_MAX,
};

/// Whether a folder has a manifest.
pub fn is_sealed_directory(root: &Path) -> bool {
    root.join(MANIFEST_NAME).is_file()
}

/// Reads the manifest's artifact, which says who signed it and who can open it. In a local folder rewraps are kept out while it is held.
///
/// # Errors
///
/// [`DirectoryError::Open`], naming the manifest.
pub fn read_manifest(folder: &dyn SealedFolder) -> Result<Artifact<Source>, DirectoryError> {
    read(folder, Path::new(MANIFEST_NAME), MANIFEST_NAME)
}

pub(crate) fn read(
    folder: &dyn SealedFolder,
    place: &Path,
    path: &str,
) -> Result<Artifact<Source>, DirectoryError> {
    let source = folder.open(place);
    let source = source.map_err(DirectoryError::io("open", folder.shown(place)))?;
    Artifact::read(source).map_err(DirectoryError::open(path))
}

/// What is known of a directory whose manifest is not held open any more.
pub(crate) struct Released {
    pub(crate) folder: LocalFolder,
    pub(crate) manifest: Manifest,
    /// Root of the manifest's artifact.
    pub(crate) manifest_root: Vec<u8>,
    /// Recipients of the manifest's artifact.
    pub(crate) recipients: Vec<KeyId>,
    pub(crate) publisher: Option<KeyId>,
}

/// A directory whose manifest is verified and whose listing is complete.
pub struct SealedDirectory {
    folder: Box<dyn SealedFolder>,
    manifest: Manifest,
    artifact: Artifact<Source>,
    public: PublicList,
}

impl SealedDirectory {
    /// Opens the manifest with the first of `keys` that can, and checks that the folder holds exactly what it says.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]; for the manifest's artifact as [`Artifact::open`] under [`DirectoryError::Open`].
    pub fn open(
        folder: Box<dyn SealedFolder>,
        artifact: Artifact<Source>,
        keys: &[&KemPrivateKey],
        origin: Origin<'_>,
    ) -> Result<Self, DirectoryError> {
        let failed = || DirectoryError::open(MANIFEST_NAME);
        let opened = artifact
            .open(key_for(&artifact, keys).map_err(failed())?, origin)
            .map_err(failed())?;
        if artifact.header().content_type() != MANIFEST_TYPE {
            return Err(DirectoryError::Manifest("its content type is another one"));
        }
        let content = opened
            .read_all(MANIFEST_BYTES_MAX as u64, &|_| ())
            .map_err(failed())?;
        let manifest = Manifest::decode(&content).map_err(DirectoryError::not_as_sealed)?;
        let public = PublicList::decode(artifact.public_part());
        let public = public.map_err(DirectoryError::not_as_sealed)?;
        if !public.agrees_with(&manifest) {
            return Err(DirectoryError::Manifest(
                "its public list does not match it",
            ));
        }
        folder
            .check(&public.paths())
            .map_err(DirectoryError::not_as_sealed)?;
        Ok(Self {
            folder,
            manifest,
            artifact,
            public,
        })
    }

    /// Lets go of the manifest's file, which a rewrap needs for itself. The directory must be a local one.
    pub(crate) fn release(self) -> Result<Released, DirectoryError> {
        let folder = self.folder.local().ok_or(DirectoryError::NotLocal)?;
        let recipients = self.artifact.recipients().iter().map(|r| r.key);
        Ok(Released {
            folder: folder.clone(),
            manifest_root: self.artifact.root().to_vec(),
            recipients: recipients.collect(),
            publisher: self.artifact.header().publisher(),
            manifest: self.manifest,
        })
    }

    /// What the directory holds.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's artifact.
    pub const fn artifact(&self) -> &Artifact<Source> {
        &self.artifact
    }

    /// Refuses a version older than `minimum`.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Revision`].
    pub const fn require_revision(&self, minimum: u64) -> Result<(), DirectoryError> {
        let found = self.manifest.revision;
        if found >= minimum {
            return Ok(());
        }
        Err(DirectoryError::Revision { found, minimum })
    }

    /// Keeps changes of recipients out of a local folder until the descriptor is closed.
    pub(crate) fn lock_alone(&self) -> Result<Option<OwnedFd>, DirectoryError> {
        let Some(folder) = self.folder.local() else {
            return Ok(None);
        };
        let failed = || DirectoryError::io("lock", folder.root());
        let own = folder.descriptor().try_clone_to_owned().map_err(failed())?;
        // A descriptor of its own, so that the lock ends with it.
        let opened = openat(&own, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| failed()(errno.into()))?;
        flock(&opened, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| failed()(errno.into()))?;
        Ok(Some(opened))
    }

    /// The artifact of `entry` as a file, if the folder is a local one.
    pub(crate) fn local_file(&self, entry: &FileEntry) -> io::Result<Option<File>> {
        let folder = self.folder.local();
        folder
            .map(|folder| folder.file(&entry.path.sealed()))
            .transpose()
    }

    /// Reads the artifact of `entry` and checks that it is the version that the manifest says.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::OtherVersion`], [`DirectoryError::Io`] or [`DirectoryError::Open`].
    pub fn read(&self, entry: &FileEntry) -> Result<Artifact<Source>, DirectoryError> {
        let path = entry.path.as_str();
        let artifact = read(&*self.folder, &entry.path.sealed(), path)?;
        check_version(entry, &artifact, self.artifact.header().publisher())?;
        let public = self.public.find(path).map(|public| public.header);
        if public != Some(artifact.header().digest()) {
            let (path, what) = (path.to_owned(), "header");
            return Err(DirectoryError::OtherVersion { path, what });
        }
        Ok(artifact)
    }

    /// Opens the file of `entry` with the first of `keys` that can.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and as [`Artifact::open`] under [`DirectoryError::Open`].
    pub fn open_file(
        &self,
        entry: &FileEntry,
        keys: &[&KemPrivateKey],
    ) -> Result<Opened<Source>, DirectoryError> {
        let failed = || DirectoryError::open(entry.path.as_str());
        let artifact = self.read(entry)?;
        let key = key_for(&artifact, keys).map_err(failed())?;
        // The manifest's signature covers the root, which was compared.
        artifact.open(key, Origin::Unchecked).map_err(failed())
    }

    /// Opens every file and checks each of its segments against the manifest, without decrypting them.
    ///
    /// # Errors
    ///
    /// As [`Self::open_file`] and [`Artifact::verify_segments`].
    pub fn verify_files(
        &self,
        keys: &[&KemPrivateKey],
        progress: Progress<'_>,
    ) -> Result<(), DirectoryError> {
        let verify = |entry: &FileEntry| {
            // The list of recipients is authentic only for who opens it.
            self.open_file(entry, keys)?
                .artifact()
                .verify_segments(progress)
                .map_err(DirectoryError::open(entry.path.as_str()))
        };
        for_each_file(&self.manifest.files, |entry| entry.content_len, verify).map(drop)
    }

    /// Writes every file in the clear below `destination`, which appears whole or not at all.
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
    ) -> Result<(), DirectoryError> {
        let is_replaceable = |folder: &Path| tree::check_replaceable(folder, &self.manifest);
        let stage = StagedDirectory::create(destination, Access::Owner, existing, &is_replaceable)?;
        self.copy_into(&stage, keys, progress)?;
        stage.commit(destination, existing, &is_replaceable)
    }

    fn copy_into(
        &self,
        stage: &StagedDirectory,
        keys: &[&KemPrivateKey],
        progress: Progress<'_>,
    ) -> Result<(), DirectoryError> {
        let copy = |entry: &FileEntry| {
            let opened = self.open_file(entry, keys)?;
            let path = PathBuf::from(entry.path.as_str());
            let failed = || DirectoryError::io("write", &path);
            let target = stage.file(&path).map_err(failed())?;
            opened
                .copy_to(target.file(), progress)
                .map_err(DirectoryError::open(entry.path.as_str()))?;
            target.commit(Existing::Keep).map_err(failed())
        };
        for_each_file(&self.manifest.files, |entry| entry.content_len, copy).map(drop)
    }
}

/// Checks a directory without a key that opens it: that `signer` signed the list of its files, that these files are there and no others, and
/// every segment of each. What the files hold, and who can open them, stays unchecked.
///
/// # Errors
///
/// [`DirectoryError`].
pub fn verify_without_key(
    folder: &dyn SealedFolder,
    manifest: &Artifact<Source>,
    signer: &VerifyingKey,
    progress: Progress<'_>,
) -> Result<PublicList, DirectoryError> {
    manifest
        .verify_signature(signer)
        .map_err(DirectoryError::open(MANIFEST_NAME))?;
    if manifest.header().content_type() != MANIFEST_TYPE {
        return Err(DirectoryError::Manifest("its content type is another one"));
    }
    manifest
        .verify_segments(&|_| ())
        .map_err(DirectoryError::open(MANIFEST_NAME))?;
    let list = PublicList::decode(manifest.public_part());
    let list = list.map_err(DirectoryError::not_as_sealed)?;
    folder
        .check(&list.paths())
        .map_err(DirectoryError::not_as_sealed)?;
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
            return Err(DirectoryError::OtherVersion { path, what });
        }
        artifact
            .verify_segments(progress)
            .map_err(DirectoryError::open(path))
    };
    // How long they are is not in the list.
    for_each_file(list.files(), |_| 0, verify)?;
    Ok(list)
}

impl std::fmt::Debug for SealedDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedDirectory")
            .field("folder", &self.folder.shown(Path::new("")))
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_version<R: ReadAt>(
    entry: &FileEntry,
    artifact: &Artifact<R>,
    publisher: Option<KeyId>,
) -> Result<(), DirectoryError> {
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
    Err(DirectoryError::OtherVersion { path, what })
}

/// The first of `keys` to which the artifact is sealed.
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
