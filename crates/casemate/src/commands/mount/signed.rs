//! Models that are signed but not sealed.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use casemate_mount::{MountedFile, ReadError};
use casemate_oms::{SignedFile, Trusted};
use casemate_seal::file::{Access, AtomicFile, Existing};

use super::name::plain_name;
use crate::{
    context::Context, fault::Fault, keyring::Keyring, place::Place, progress, signature,
    trust::TrustedSigners,
};

/// Bytes that are checked and written at once.
const BLOCK: usize = 32 << 20;

/// A signed model whose content is checked as it is read.
pub(super) struct Signed {
    /// Each file and the path to show it at: its local name, or a plain word.
    files: Vec<(String, SignedFile)>,
    is_folder: bool,
}

impl Signed {
    pub(super) fn open(
        context: &Context<'_>,
        keyring: &mut Keyring<'_>,
        input: &Place,
        (signature, ignore): (&Path, &[PathBuf]),
        trusted_signers: TrustedSigners<'_>,
    ) -> Result<Self, Fault> {
        let Place::Local(model) = input else {
            let message = "cannot check a model in an object store as it is read";
            return Err(Fault::usage(message).hint("copy it to this machine, or seal it"));
        };
        let ignore = signature::ignored(ignore, signature, model);
        let signature = signature::read(signature)?;
        let signer = signature::signer(context, keyring, &signature, trusted_signers)?;
        let trusted = Trusted {
            signer: Some(&signer),
            classical: None,
        };
        let opened = signature.open(model, &ignore, &trusted)?;
        let is_folder = !matches!(opened.files(), [file] if file.name() == ".");
        let files = opened.files().iter().map(|file| {
            let path = if is_folder {
                file.name().to_owned()
            } else {
                plain_name(model)
            };
            (path, file.clone())
        });
        let files = files.collect();
        Ok(Self { files, is_folder })
    }

    /// Returns the file name, if the model is one file.
    pub(super) fn single(&self) -> Option<&str> {
        let first = self.files.first().filter(|_| !self.is_folder);
        first.map(|(path, _)| path.as_str())
    }

    pub(super) fn len(&self) -> u64 {
        let lens = self.files.iter().map(|(_, file)| file.content_len());
        lens.fold(0, u64::saturating_add)
    }

    pub(super) fn into_files(self) -> Vec<MountedFile> {
        let files = self.files.into_iter();
        let mounted = |(path, file): (String, SignedFile)| MountedFile {
            path,
            content_len: file.content_len(),
            // The mount has its own cache.
            open: Box::new(move || {
                let opened = file.open().map_err(ReadError::new)?;
                Ok(Arc::new(opened.without_recent()))
            }),
        };
        files.map(mounted).collect()
    }

    /// Checks everything and writes it to `target`, in a private folder.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), Fault> {
        let bar = progress::bar(self.len(), "opening");
        let mut buffer = vec![0; BLOCK];
        for (path, file) in &self.files {
            let place = if self.is_folder {
                target.join(path)
            } else {
                target.to_owned()
            };
            let failed = |error| Fault::file("write", &place, error);
            if let Some(parent) = place.parent() {
                let made = fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent);
                made.map_err(failed)?;
            }
            let written =
                AtomicFile::create(&place, Access::Owner, Existing::Keep).map_err(failed)?;
            let checked = file.open()?;
            let mut at = 0;
            while at < checked.content_len() {
                let rest = checked.content_len().saturating_sub(at);
                let take = usize::try_from(rest).unwrap_or(usize::MAX).min(BLOCK);
                let part = buffer.get_mut(..take).unwrap_or_default();
                checked.read_at(part, at)?;
                written.file().write_all_at(part, at).map_err(failed)?;
                bar.inc(take as u64);
                at = at.saturating_add(take as u64);
            }
            written.commit(Existing::Keep).map_err(failed)?;
        }
        bar.finish_and_clear();
        Ok(())
    }
}
