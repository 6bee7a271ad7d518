//! Sealing a folder, from scratch or against its previous version.

use std::{collections::HashSet, fs::File, io, path::Path, sync::Arc};

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
    signature::SigningKey,
};

use super::{
    FileEntry, FolderError, FolderId, MANIFEST_NAME, MANIFEST_TYPE, Manifest, PublicList,
    RelativePath, SealTarget, SealedFolder, SourceFile, each::for_each_file, open, rewrap,
    stage::StagedFolder, tree,
};
use crate::{
    HashAlgorithm, ListSigner, Origin, Private, Progress, RecipientRecord, SealOptions, Sealed,
    SegmentSize, change_recipients, content_digest,
    file::{Access, Existing},
    limits::MANIFEST_BYTES_MAX,
    seal,
};

/// How to seal a folder.
#[derive(Debug)]
pub struct FolderOptions<'a> {
    /// The recipients; at least one.
    pub recipients: &'a [&'a KemPublicKey],
    /// The publisher, who signs each artifact and the manifest.
    pub signer: Option<&'a SigningKey>,
    /// The signer of the recipient lists, if only the owner may change recipients.
    pub owner: Option<ListSigner<'a>>,
    /// Content bytes per segment.
    pub segment_size: SegmentSize,
    /// The hash over the segments.
    pub hash: HashAlgorithm,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Returns the media type of a file, which is readable without a key.
    pub content_type: fn(&RelativePath) -> &'static str,
    /// When the version expires, in seconds since 1970-01-01 UTC.
    pub expires: Option<u64>,
    /// The previous version, whose unchanged files are reused.
    pub since: Option<Since<'a>>,
}

/// The previous version.
#[derive(Debug)]
pub struct Since<'a> {
    /// The opened folder.
    pub folder: &'a SealedFolder,
    /// Keys that open it.
    pub keys: &'a [&'a KemPrivateKey],
}

/// The result of sealing a folder.
#[derive(Clone, Debug)]
pub struct SealedFiles {
    /// The new manifest.
    pub manifest: Manifest,
    /// Number of files reused from the previous version.
    pub unchanged: usize,
    /// Total length of the artifacts, including the manifest, in bytes.
    pub artifact_len: u64,
    /// Root of the manifest's artifact, which identifies exactly this version.
    pub root: Vec<u8>,
}

/// Seals `files` into a folder at `destination`, which appears completely or not at all.
///
/// # Errors
///
/// [`FolderError`]; `destination` is then unchanged.
pub fn seal_folder(
    files: &[SourceFile],
    destination: &Path,
    existing: Existing,
    options: &FolderOptions<'_>,
    progress: Progress<'_>,
) -> Result<SealedFiles, FolderError> {
    let is_replaceable = &tree::check_sealed_replaceable;
    let stage = StagedFolder::create(destination, Access::Umask, existing, is_replaceable)?;
    let sealed = seal_folder_to(files, &stage, options, progress)?;
    stage.commit(destination, existing, is_replaceable)?;
    Ok(sealed)
}

/// Seals `files` to any target; the manifest is written last, so nothing can be opened before
/// everything is there.
///
/// # Errors
///
/// [`FolderError`]; [`FolderError::NotLocal`] if a previous version is given and it or the
/// target is not local.
pub fn seal_folder_to<T: SealTarget>(
    files: &[SourceFile],
    target: &T,
    options: &FolderOptions<'_>,
    progress: Progress<'_>,
) -> Result<SealedFiles, FolderError> {
    let mut entries = Vec::with_capacity(files.len());
    let mut public = Vec::with_capacity(files.len());
    let (mut unchanged, mut artifact_len) = (0_usize, 0_u64);
    let wanted = recipient_ids(options)?;
    let make = |source: &SourceFile| {
        let taken = take_over(source, target, options, &wanted, progress)?;
        let is_taken = taken.is_some();
        let new = || seal_file(source, target, options, &wanted, progress);
        Ok((taken.map_or_else(new, Ok)?, is_taken))
    };
    for (made, is_taken) in for_each_file(files, |source| source.len, make)? {
        unchanged = unchanged.saturating_add(usize::from(is_taken));
        artifact_len = artifact_len.saturating_add(made.artifact_len);
        public.push(made.entry.public(made.header));
        entries.push(made.entry);
    }
    let before = options.since.as_ref().map(|since| since.folder.manifest());
    let random =
        || FolderId::random().map_err(|error| FolderError::seal(MANIFEST_NAME)(error.into()));
    let manifest = Manifest {
        id: before.map_or_else(random, |before| Ok(before.id))?,
        revision: next_revision(before)?,
        files: entries,
        expires: options.expires,
    };
    let sealed = seal_manifest(&manifest, &PublicList::new(public), target, options)?;
    Ok(SealedFiles {
        manifest,
        unchanged,
        artifact_len: artifact_len.saturating_add(sealed.artifact_len),
        root: sealed.root,
    })
}

pub(super) fn next_revision(before: Option<&Manifest>) -> Result<u64, FolderError> {
    let next = before.map_or(Some(1), |before| before.revision.checked_add(1));
    next.ok_or(FolderError::Manifest(
        "it already has the highest possible revision",
    ))
}

/// Returns the key ids of the recipients.
fn recipient_ids(options: &FolderOptions<'_>) -> Result<Arc<[KeyId]>, FolderError> {
    let ids: Result<_, _> = options.recipients.iter().map(|key| key.id()).collect();
    ids.map_err(|error: casemate_crypto::Error| FolderError::seal(MANIFEST_NAME)(error.into()))
}

/// The artifact of a file, new or reused.
struct Made {
    entry: FileEntry,
    header: [u8; 48],
    artifact_len: u64,
}

fn seal_file<T: SealTarget>(
    source: &SourceFile,
    target: &T,
    options: &FolderOptions<'_>,
    wanted: &Arc<[KeyId]>,
    progress: Progress<'_>,
) -> Result<Made, FolderError> {
    let path = &source.path;
    let content = open_source(source)?;
    let sealed_path = path.sealed();
    let names = Names {
        place: &sealed_path,
        path: path.as_str(),
        name: path.file_name(),
        content_type: (options.content_type)(path),
        public_part: &[],
    };
    let sealed = seal_one(&content, &names, target, options, progress)?;
    let digest = sealed.content.unwrap_or_default();
    let entry = FileEntry {
        path: path.clone(),
        content_len: sealed.content_len,
        id: sealed.id,
        root: sealed.root,
        digest,
        sealed_to: Arc::clone(wanted),
    };
    Ok(Made {
        entry,
        header: sealed.header_digest,
        artifact_len: sealed.artifact_len,
    })
}

fn seal_manifest<T: SealTarget>(
    manifest: &Manifest,
    public: &PublicList,
    target: &T,
    options: &FolderOptions<'_>,
) -> Result<Sealed, FolderError> {
    let content = manifest.encode();
    if content.len() > MANIFEST_BYTES_MAX {
        return Err(FolderError::Manifest("longer than 64 MiB"));
    }
    let names = Names {
        place: Path::new(MANIFEST_NAME),
        path: MANIFEST_NAME,
        name: "",
        content_type: MANIFEST_TYPE,
        public_part: &public.encode(),
    };
    seal_one(&content, &names, target, options, &|_| ())
}

/// The names of an artifact in the folder.
struct Names<'a> {
    /// Its path in the folder.
    place: &'a Path,
    /// Its name in errors.
    path: &'a str,
    /// Its name in the publisher part.
    name: &'a str,
    content_type: &'a str,
    public_part: &'a [u8],
}

fn seal_one<T: SealTarget>(
    content: &impl crate::ReadAt,
    names: &Names<'_>,
    target: &T,
    options: &FolderOptions<'_>,
    progress: Progress<'_>,
) -> Result<Sealed, FolderError> {
    let private = Private {
        name: names.name.to_owned(),
        ..Private::default()
    };
    let sealing = SealOptions {
        recipients: options.recipients,
        signer: options.signer,
        segment_size: options.segment_size,
        hash: options.hash,
        created: options.created,
        content_type: names.content_type,
        revision: None,
        private: &private,
        owner: options.owner,
        public_part: names.public_part,
        digest_content: true,
    };
    write_one(content, names.place, names.path, target, &sealing, progress)
}

/// Seals one artifact to its place in the folder.
pub(super) fn write_one<T: SealTarget>(
    content: &impl crate::ReadAt,
    place: &Path,
    path: &str,
    target: &T,
    sealing: &SealOptions<'_>,
    progress: Progress<'_>,
) -> Result<Sealed, FolderError> {
    let failed = || FolderError::io("write the artifact of", path);
    let len = content.byte_len().map_err(failed())?;
    let file = target.create(place, len).map_err(failed())?;
    let sealed = seal(content, &file, sealing, progress).map_err(FolderError::seal(path))?;
    target.commit(file).map_err(failed())?;
    Ok(sealed)
}

fn open_source(source: &SourceFile) -> Result<File, FolderError> {
    File::open(&source.location).map_err(FolderError::io("read", &source.location))
}

/// Returns whether an artifact of the previous version can be reused if it holds the same content.
fn is_as_wanted(
    artifact: &crate::Artifact<crate::Source>,
    entry: &FileEntry,
    options: &FolderOptions<'_>,
    wanted: &[KeyId],
) -> Result<bool, casemate_crypto::Error> {
    let header = artifact.header();
    // Anyone who ever had the artifact key may have kept it, so a file once sealed to anyone else
    // gets a new one.
    let wanted: HashSet<_> = wanted.iter().collect();
    let mut had = entry.sealed_to.iter();
    let mut have = artifact.recipients().iter();
    let shared = had.all(|key| wanted.contains(key)) && have.all(|r| wanted.contains(&r.key));
    let publisher = options.signer.map(|key| key.verifying_key().id());
    let owner = options.owner.map(|owner| owner.owner());
    // An artifact by a publisher other than the manifest's would be refused, so it is sealed again.
    Ok(shared
        && header.segment_size() == options.segment_size
        && header.hash() == options.hash
        && header.publisher() == publisher.transpose()?
        && header.owner() == owner.transpose()?)
}

/// Copies the artifact of the previous version if the content is the same, and changes it to the
/// new recipients.
fn take_over<T: SealTarget>(
    source: &SourceFile,
    target: &T,
    options: &FolderOptions<'_>,
    wanted: &Arc<[KeyId]>,
    progress: Progress<'_>,
) -> Result<Option<Made>, FolderError> {
    let Some(since) = &options.since else {
        return Ok(None);
    };
    let path = source.path.as_str();
    let Some(entry) = since.folder.manifest().find(path) else {
        return Ok(None);
    };
    if entry.content_len != source.len {
        return Ok(None);
    }
    let artifact = since.folder.read(entry)?;
    let header = artifact.header();
    let as_wanted = is_as_wanted(&artifact, entry, options, wanted);
    if !as_wanted.map_err(|error| FolderError::seal(path)(error.into()))? {
        return Ok(None);
    }
    let content = open_source(source)?;
    // Report progress only once it is known that nothing is sealed again, so that no byte counts
    // twice.
    let digest = content_digest(&content, header.segment_size(), header.hash(), &|_| ())
        .map_err(FolderError::seal(path))?;
    if digest != entry.digest {
        return Ok(None);
    }
    let failed = || FolderError::io("copy the artifact of", path);
    let from = since.folder.local_file(entry).map_err(failed())?;
    let place = target.local(&source.path.sealed()).map_err(failed())?;
    let (Some(mut from), Some(place)) = (from, place) else {
        return Err(FolderError::NotLocal);
    };
    let mut copy = place.file();
    // Shares blocks if the file system supports it.
    io::copy(&mut from, &mut copy).map_err(failed())?;
    let copied = crate::Artifact::read(copy).map_err(FolderError::open(path))?;
    open::check_version(entry, &copied, header.publisher())?;
    let key = open::key_for(&copied, since.keys).map_err(FolderError::open(path))?;
    // The manifest claims that this artifact holds this content. The signer of the previous version
    // may be another, and its files may have been damaged since, so check the content before
    // signing it.
    let opened = copied
        .open(key, Origin::Unchecked)
        .map_err(FolderError::open(path))?;
    let held = content_digest(&opened, header.segment_size(), header.hash(), &|_| ())
        .map_err(FolderError::seal(path))?;
    if held != digest {
        let (path, what) = (path.to_owned(), "content");
        return Err(FolderError::OtherVersion { path, what });
    }
    if !rewrap::has_exactly(copied.recipients(), wanted) {
        let nobody = |_: &RecipientRecord| false;
        let (recipients, owner) = (options.recipients, options.owner);
        change_recipients(copy, key, Origin::Unchecked, &nobody, recipients, owner).map_err(
            |source| FolderError::Rewrap {
                path: path.to_owned(),
                source,
            },
        )?;
    }
    let len = copy.metadata().map_err(failed())?.len();
    place.commit(Existing::Keep).map_err(failed())?;
    progress(source.len);
    Ok(Some(Made {
        entry: FileEntry {
            // The new recipients also learn this artifact's key.
            sealed_to: Arc::clone(wanted),
            ..entry.clone()
        },
        header: header.digest(),
        artifact_len: len,
    }))
}
