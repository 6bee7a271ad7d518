//! The content that `mount` and `run` show.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use casemate_mount::{MountedFile, ReadError};
use casemate_seal::{
    Artifact, Opened, Source,
    file::{Access, AtomicFile, Existing},
    folder::{FolderError, SealedFolder},
};

use crate::{
    args::Checks,
    context::Context,
    fault::Fault,
    folder,
    keyring::Keyring,
    owner::require_epoch,
    place::{Place, Sealed},
    progress, trust,
};

use super::name::plain_name;
use super::signed::Signed;

/// Name of a folder's copy in memory.
pub(super) const FOLDER: &str = "folder";

/// One file, or all files of a folder.
pub(super) enum Content {
    File(String, Opened<Source>),
    Folder(Arc<Folder>),
    Signed(Signed),
}

pub(super) struct Folder {
    sealed: SealedFolder,
    keys: Vec<casemate_crypto::kem::KemPrivateKey>,
}

impl Folder {
    fn open(&self, path: &str) -> Result<Opened<Source>, FolderError> {
        let entry = self
            .sealed
            .manifest()
            .find(path)
            .ok_or_else(|| FolderError::Missing(path.to_owned()))?;
        let keys: Vec<_> = self.keys.iter().collect();
        self.sealed.open_file(entry, &keys)
    }
}

impl Content {
    pub(super) fn open(
        context: &Context<'_>,
        input: &Place,
        checks: &Checks,
    ) -> Result<Self, Fault> {
        let mut keyring = Keyring::new(context);
        let origin = &checks.origin;
        let trusted_signers = origin.trusted_signers();
        if let Some(signature) = &checks.signature {
            let signature = (signature.as_path(), checks.ignore.as_slice());
            let signed = Signed::open(context, &mut keyring, input, signature, trusted_signers)?;
            return Ok(Self::Signed(signed));
        }
        let source = match context.sealed(input)? {
            Sealed::File(source) => source,
            Sealed::Folder(folder) => {
                let keys = keyring.openers()?;
                let borrowed: Vec<_> = keys.iter().collect();
                let found =
                    folder::open_folder(context, &mut keyring, folder, &borrowed, trusted_signers)?;
                trust::require_id(&found.manifest().id, origin.id.as_deref())?;
                let place = input.to_text();
                folder::check_current(
                    context,
                    &found,
                    trusted_signers,
                    &place,
                    origin.min_revision,
                )?;
                require_epoch(found.artifact(), origin.min_epoch)?;
                let sealed = found;
                return Ok(Self::Folder(Arc::new(Folder { sealed, keys })));
            }
        };
        let artifact = Artifact::read(source)?;
        let signer =
            trust::expected_signer_with_warning(context, &mut keyring, &artifact, trusted_signers)?;
        if let Some(minimum) = origin.min_revision {
            artifact.require_revision(minimum)?;
        }
        require_epoch(&artifact, origin.min_epoch)?;
        trust::require_id(&artifact.header().id(), origin.id.as_deref())?;
        let key = keyring.opener(&artifact)?;
        let origin = signer.as_ref().map_or(
            casemate_seal::Origin::Unchecked,
            casemate_seal::Origin::SignedBy,
        );
        let opened = artifact.open(&key, origin)?;
        Ok(Self::File(name_of(&input.file_name()), opened))
    }

    /// Returns the path of the file or folder when it is mounted at `place`.
    pub(super) fn below(&self, place: &Path) -> PathBuf {
        match self.single() {
            Some(name) => place.join(name),
            None => place.to_owned(),
        }
    }

    /// Returns the file name, if the content is one file.
    fn single(&self) -> Option<&str> {
        match self {
            Self::File(name, _) => Some(name),
            Self::Folder(_) => None,
            Self::Signed(signed) => signed.single(),
        }
    }

    /// Returns the path of a copy in `place`. A folder gets a subfolder of its own, so that its
    /// staging folder also lies inside `place`.
    pub(super) fn copied(&self, place: &Path) -> PathBuf {
        match self.single() {
            Some(name) => place.join(name),
            None => place.join(FOLDER),
        }
    }

    pub(super) fn into_files(self) -> Vec<MountedFile> {
        match self {
            Self::File(path, opened) => {
                let content_len = opened.content_len();
                let opened: Arc<dyn casemate_mount::Content> = Arc::new(opened);
                vec![MountedFile {
                    path,
                    content_len,
                    open: Box::new(move || Ok(Arc::clone(&opened))),
                }]
            }
            Self::Signed(signed) => signed.into_files(),
            Self::Folder(folder) => {
                let entries = folder.sealed.manifest().files.iter();
                let file = |entry: &casemate_seal::folder::FileEntry| {
                    let (folder, path) = (Arc::clone(&folder), entry.path.clone());
                    MountedFile {
                        path: entry.path.to_string(),
                        content_len: entry.content_len,
                        open: Box::new(move || {
                            let opened = folder.open(path.as_str());
                            Ok(Arc::new(opened.map_err(ReadError::new)?))
                        }),
                    }
                };
                entries.map(file).collect()
            }
        }
    }

    /// Returns the total length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Signed(signed) => signed.len(),
            Self::File(_, opened) => opened.content_len(),
            Self::Folder(folder) => folder.sealed.manifest().content_len(),
        }
    }

    /// Writes everything into `place`, a private folder in memory.
    pub(super) fn copy_to(&self, place: &Path) -> Result<(), Fault> {
        match self {
            Self::Signed(signed) => signed.copy_to(&self.copied(place)),
            Self::File(name, opened) => {
                let path = place.join(name);
                let failed = |error| Fault::file("write", &path, error);
                let target =
                    AtomicFile::create(&path, Access::Owner, Existing::Keep).map_err(failed)?;
                let bar = progress::bar(opened.content_len(), "opening");
                opened.copy_to(target.file(), &|bytes| bar.inc(bytes))?;
                bar.finish_and_clear();
                target.commit(Existing::Keep).map_err(failed)
            }
            Self::Folder(folder) => {
                let keys: Vec<_> = folder.keys.iter().collect();
                let bar = progress::bar(folder.sealed.manifest().content_len(), "opening");
                let copied =
                    folder
                        .sealed
                        .copy_to(&place.join(FOLDER), Existing::Keep, &keys, &|bytes| {
                            bar.inc(bytes);
                        });
                bar.finish_and_clear();
                Ok(copied?)
            }
        }
    }
}

/// Returns the artifact's file name without its extension. The name inside the artifact is the
/// publisher's choice, and this one goes into paths and perhaps into a shell.
fn name_of(input: &Path) -> String {
    plain_name(&input.with_extension(""))
}
