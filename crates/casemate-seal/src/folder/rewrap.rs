//! Changing the recipients of a sealed folder (`spec/sealed-folder.md`, section 6).

use std::{
    collections::HashSet,
    io::{self, Read},
    path::Path,
};

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
};

use rustix::fs::{AtFlags, FlockOperation, flock, fsync, unlinkat};

use super::{
    FileEntry, FolderError, FolderSource as _, JOURNAL_NAME, LocalFolder, MANIFEST_NAME,
    SealedFolder,
    each::for_each_file,
    open::{self, Released},
};
use crate::{
    Artifact, ListSigner, Origin, RecipientRecord, SealError, Source, change_recipients, file,
    rewrap::check_owner,
};

const FIRST_LINE: &str = "casemate-rewrap 1";
/// Maximum length of a journal, in bytes.
const JOURNAL_BYTES_MAX: u64 = 1 << 17;

/// The result of a rewrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewrappedFolder {
    /// Number of artifacts that were changed, including the manifest.
    pub changed: usize,
    /// Number of artifacts that already had the wanted recipients.
    pub skipped: usize,
}

/// Changes the recipients of every artifact in the folder to exactly `keep` and `added`; `keep`
/// must be recipients of the manifest.
///
/// If it is interrupted, each artifact still opens with an old or a new key, and the same call
/// finishes the work.
///
/// # Errors
///
/// [`FolderError`]; artifacts that were already changed stay changed.
pub fn rewrap_folder(
    sealed: SealedFolder,
    keys: &[&KemPrivateKey],
    keep: &[KeyId],
    added: &[&KemPublicKey],
    owner: Option<ListSigner<'_>>,
    progress: &(dyn Fn() + Sync),
) -> Result<RewrappedFolder, FolderError> {
    let mut wanted = keep.to_vec();
    for key in added {
        let id = key
            .id()
            .map_err(|error| FolderError::seal(MANIFEST_NAME)(error.into()))?;
        // Before the journal records that a rewrap has begun.
        if wanted.contains(&id) {
            let error = SealError::DuplicateRecipient(id);
            return Err(FolderError::seal(MANIFEST_NAME)(error));
        }
        wanted.push(id);
    }
    if wanted.is_empty() {
        return Err(FolderError::seal(MANIFEST_NAME)(SealError::NoRecipient));
    }
    // Release the manifest's lock, which would block the rewrap.
    let sealed = sealed.release()?;
    let folder = &sealed.folder;
    let journal = Path::new(JOURNAL_NAME);
    let failed = || FolderError::io("write", folder.shown(journal));
    flock(folder.descriptor(), FlockOperation::LockExclusive).map_err(|e| failed()(e.into()))?;
    let change = Change {
        keys,
        wanted: &wanted,
        added,
        owner,
    };
    check_before(&sealed, &change)?;
    // A temporary name would not belong to the folder: if we were killed now, the folder could not
    // be opened.
    let text = journal_text(&wanted);
    file::write_note(folder.descriptor(), journal, text.as_bytes()).map_err(failed())?;
    let apply = |entry: &FileEntry| {
        let place = entry.path.sealed();
        let changed = change.apply(folder, &place, entry.path.as_str(), &entry.root)?;
        progress();
        Ok(changed)
    };
    let mut changed = for_each_file(&sealed.manifest.files, tail_only, apply)?;
    let place = Path::new(MANIFEST_NAME);
    changed.push(change.apply(folder, place, MANIFEST_NAME, &sealed.manifest_root)?);
    progress();
    let (changed, skipped): (Vec<bool>, Vec<bool>) = changed.iter().partition(|changed| **changed);
    let done = RewrappedFolder {
        changed: changed.len(),
        skipped: skipped.len(),
    };
    unlinkat(folder.descriptor(), journal, AtFlags::empty()).map_err(|e| failed()(e.into()))?;
    fsync(folder.descriptor()).map_err(|e| failed()(e.into()))?;
    Ok(done)
}

/// Refuses, before anything is written, a rewrap that could not be finished.
fn check_before(sealed: &Released, change: &Change<'_>) -> Result<(), FolderError> {
    let folder = &sealed.folder;
    let now = open::read_manifest(folder)?;
    if !has_exactly(now.recipients(), &sealed.recipients) {
        return Err(FolderError::Concurrent);
    }
    change
        .check_signer(&now)
        .map_err(FolderError::seal(MANIFEST_NAME))?;
    let added: HashSet<_> = change
        .added
        .iter()
        .filter_map(|key| key.id().ok())
        .collect();
    let check = |entry: &FileEntry| {
        let path = entry.path.as_str();
        let artifact = open::read(folder, &entry.path.sealed(), path)?;
        open::check_version(entry, &artifact, sealed.publisher)?;
        change.check_recipients(&artifact, path)?;
        change
            .check_signer(&artifact)
            .map_err(FolderError::seal(path))?;
        let present: HashSet<_> = artifact.recipients().iter().map(|r| r.key).collect();
        let mut wanted = change.wanted.iter();
        if let Some(key) = wanted.find(|id| !present.contains(id) && !added.contains(id)) {
            let (path, key) = (path.to_owned(), *key);
            return Err(FolderError::LostRecipient { path, key });
        }
        Ok(())
    };
    for_each_file(&sealed.manifest.files, tail_only, check).map(drop)
}

/// Returns 0, because only the tail of a file is read and written.
const fn tail_only(_: &FileEntry) -> u64 {
    0
}

/// The change to make to each artifact.
struct Change<'a> {
    keys: &'a [&'a KemPrivateKey],
    wanted: &'a [KeyId],
    added: &'a [&'a KemPublicKey],
    owner: Option<ListSigner<'a>>,
}

impl Change<'_> {
    /// Refuses a forged list of recipients.
    ///
    /// Only a recipient can detect this. A caller who removed their own key in an interrupted
    /// attempt cannot check, and has nothing left to do for that artifact.
    fn check_recipients(&self, artifact: &Artifact<Source>, path: &str) -> Result<(), FolderError> {
        match open::key_for(artifact, self.keys) {
            Err(_) if has_exactly(artifact.recipients(), self.wanted) => Ok(()),
            found => found
                .and_then(|key| artifact.open(key, Origin::Unchecked).map(drop))
                .map_err(FolderError::open(path)),
        }
    }

    /// Refuses an artifact whose recipient list the given owner or delegate may not sign.
    fn check_signer(&self, artifact: &Artifact<Source>) -> Result<(), SealError> {
        if has_exactly(artifact.recipients(), self.wanted) {
            return Ok(());
        }
        check_owner(artifact.header().owner(), self.owner)?;
        let before = artifact.recipient_list().map(|list| list.epoch);
        let epoch = self.owner.map(|owner| owner.next_epoch(before));
        epoch.transpose().map(drop)
    }

    /// Changes one artifact unless it has the wanted recipients; returns whether it was changed.
    fn apply(
        &self,
        folder: &LocalFolder,
        place: &Path,
        path: &str,
        expected_root: &[u8],
    ) -> Result<bool, FolderError> {
        let target = file::open_exclusive_below(folder.descriptor(), place)
            .map_err(FolderError::io("open", folder.shown(place)))?;
        let artifact = Artifact::read(&target).map_err(FolderError::open(path))?;
        if artifact.root() != expected_root {
            let (path, what) = (path.to_owned(), "root");
            return Err(FolderError::OtherVersion { path, what });
        }
        if has_exactly(artifact.recipients(), self.wanted) {
            return Ok(false);
        }
        let key = open::key_for(&artifact, self.keys).map_err(FolderError::open(path))?;
        let present: HashSet<_> = artifact.recipients().iter().map(|r| r.key).collect();
        let missing: Vec<_> = self
            .added
            .iter()
            .copied()
            .filter(|key| !key.id().is_ok_and(|id| present.contains(&id)))
            .collect();
        let keep = |record: &RecipientRecord| self.wanted.contains(&record.key);
        // It was compared with the signed manifest above.
        let changed =
            change_recipients(&target, key, Origin::Unchecked, &keep, &missing, self.owner);
        changed.map_err(|source| FolderError::Rewrap {
            path: path.to_owned(),
            source,
        })?;
        Ok(true)
    }
}

pub(crate) fn has_exactly(records: &[RecipientRecord], wanted: &[KeyId]) -> bool {
    let present: HashSet<_> = records.iter().map(|record| record.key).collect();
    present == wanted.iter().copied().collect()
}

fn journal_text(wanted: &[KeyId]) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    for id in wanted {
        text.push_str(&id.to_hex());
        text.push('\n');
    }
    text
}

/// Returns the recipients that an unfinished rewrap wanted, for display only: they are not
/// authenticated. Empty if the journal is unreadable.
///
/// # Errors
///
/// The system's error; a missing journal is not an error but `None`.
pub fn unfinished_rewrap(folder: &LocalFolder) -> io::Result<Option<Vec<KeyId>>> {
    let file = match folder.file(Path::new(JOURNAL_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    let read = file.take(JOURNAL_BYTES_MAX).read_to_string(&mut text);
    let mut lines = text.lines();
    if read.is_err() || lines.next() != Some(FIRST_LINE) {
        return Ok(Some(Vec::new()));
    }
    Ok(Some(lines.filter_map(|line| line.parse().ok()).collect()))
}
