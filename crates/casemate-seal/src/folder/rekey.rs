//! Sealing a folder again with new artifact keys (`spec/sealed-artifact.md`, section 8).

use std::{path::Path, sync::Arc};

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
    signature::SigningKey,
};

use super::{
    FileEntry, FolderError, MANIFEST_NAME, Manifest, PublicList, SealTarget, SealedFiles,
    SealedFolder,
    each::for_each_file,
    seal::{next_revision, write_one},
};
use crate::{
    Header, ListSigner, Opened, Private, Progress, ReadAt, SealError, SealOptions,
    rewrap::check_owner,
};

/// How to rekey an artifact or a sealed folder.
#[derive(Debug)]
pub struct RekeyOptions<'a> {
    /// The new recipients; at least one.
    pub recipients: &'a [&'a KemPublicKey],
    /// The publisher.
    pub signer: Option<&'a SigningKey>,
    /// The signer of the recipient lists.
    pub owner: Option<ListSigner<'a>>,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub created: u64,
}

impl<'a> RekeyOptions<'a> {
    /// Returns options that seal like `opened`, with a new id and key and the next revision.
    ///
    /// # Errors
    ///
    /// [`SealError::OwnerNeeded`], [`SealError::NoOwner`] or [`SealError::Owner`]  if `owner` may
    /// not sign its list of recipients; [`SealError::LastRevision`].
    pub fn sealing<R: ReadAt>(&self, opened: &'a Opened<R>) -> Result<SealOptions<'a>, SealError> {
        let artifact = opened.artifact();
        self.like(artifact.header(), opened.private(), artifact.public_part())
    }

    fn like(
        &self,
        header: &'a Header,
        private: &'a Private,
        public_part: &'a [u8],
    ) -> Result<SealOptions<'a>, SealError> {
        check_owner(header.owner(), self.owner)?;
        let next = |revision: u64| revision.checked_add(1).ok_or(SealError::LastRevision);
        Ok(SealOptions {
            recipients: self.recipients,
            signer: self.signer,
            segment_size: header.segment_size(),
            hash: header.hash(),
            created: self.created,
            content_type: header.content_type(),
            revision: header.revision().map(next).transpose()?,
            private,
            owner: self.owner,
            public_part,
            digest_content: true,
        })
    }
}

/// Seals every file and the manifest again, as the next revision of the same folder.
///
/// # Errors
///
/// [`FolderError`]; `target` is then not a valid sealed folder.
pub fn rekey_folder<T: SealTarget>(
    sealed: &SealedFolder,
    keys: &[&KemPrivateKey],
    target: &T,
    options: &RekeyOptions<'_>,
    progress: Progress<'_>,
) -> Result<SealedFiles, FolderError> {
    let before = sealed.manifest();
    let _alone = sealed.lock_alone()?;
    let mut manifest = Manifest {
        id: before.id,
        revision: next_revision(Some(before))?,
        files: Vec::with_capacity(before.files.len()),
        expires: before.expires,
    };
    let mut public = Vec::with_capacity(before.files.len());
    let sealed_to = options
        .recipients
        .iter()
        .map(|key| key.id())
        .collect::<Result<Arc<[KeyId]>, casemate_crypto::Error>>()
        .map_err(|error| FolderError::seal(MANIFEST_NAME)(error.into()))?;
    let seal = |entry: &FileEntry| {
        let opened = sealed.open_file(entry, keys)?;
        let (place, path) = (entry.path.sealed(), entry.path.as_str());
        let sealing = options.sealing(&opened).map_err(FolderError::seal(path))?;
        write_one(&opened, &place, path, target, &sealing, progress)
    };
    let mut artifact_len = 0_u64;
    let made = for_each_file(&before.files, |entry| entry.content_len, seal)?;
    for (entry, sealed) in before.files.iter().zip(made) {
        artifact_len = artifact_len.saturating_add(sealed.artifact_len);
        manifest.files.push(FileEntry {
            path: entry.path.clone(),
            content_len: sealed.content_len,
            id: sealed.id,
            root: sealed.root,
            digest: sealed.content.unwrap_or_default(),
            sealed_to: Arc::clone(&sealed_to),
        });
        let last = manifest.files.last();
        public.extend(last.map(|entry| entry.public(sealed.header_digest)));
    }
    let (header, private) = (sealed.artifact().header(), Private::default());
    let public = PublicList::new(public).encode();
    let sealing = options
        .like(header, &private, &public)
        .map_err(FolderError::seal(MANIFEST_NAME))?;
    let (place, content) = (Path::new(MANIFEST_NAME), manifest.encode());
    let sealed = write_one(&content, place, MANIFEST_NAME, target, &sealing, &|_| ())?;
    Ok(SealedFiles {
        manifest,
        unchanged: 0,
        artifact_len: artifact_len.saturating_add(sealed.artifact_len),
        root: sealed.root,
    })
}
