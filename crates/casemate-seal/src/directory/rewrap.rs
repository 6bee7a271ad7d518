//! Changing the recipients of a directory (`spec/sealed-directory.md`, section 6).

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
    DirectoryError, FileEntry, JOURNAL_NAME, LocalFolder, MANIFEST_NAME, SealedDirectory,
    SealedFolder as _,
    each::for_each_file,
    open::{self, Released},
};
use crate::{
    Artifact, ListSigner, Origin, RecipientRecord, SealError, Source, change_recipients, file,
    rewrap::check_owner,
};

const FIRST_LINE: &str = "casemate-rewrap 1";
/// A journal longer than this was not written by us.
const JOURNAL_BYTES_MAX: u64 = 1 << 17;

/// What a rewrap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewrappedDirectory {
    /// Artifacts that were changed, the manifest among them.
    pub changed: usize,
    /// Artifacts that had the wanted recipients already.
    pub skipped: usize,
}

/// Gives every artifact of the directory exactly the recipients of `keep` and `added`; `keep` names present recipients of the manifest.
///
/// Interrupted anywhere, the directory still opens for whoever holds an old or a new key of each artifact, and the same call again finishes the work.
///
/// # Errors
///
/// [`DirectoryError`]; artifacts changed until then stay changed.
pub fn rewrap_directory(
    directory: SealedDirectory,
    keys: &[&KemPrivateKey],
    keep: &[KeyId],
    added: &[&KemPublicKey],
    owner: Option<ListSigner<'_>>,
    progress: &(dyn Fn() + Sync),
) -> Result<RewrappedDirectory, DirectoryError> {
    let mut wanted = keep.to_vec();
    for key in added {
        let id = key
            .id()
            .map_err(|error| DirectoryError::seal(MANIFEST_NAME)(error.into()))?;
        // Before a journal says that something was begun.
        if wanted.contains(&id) {
            let error = SealError::DuplicateRecipient(id);
            return Err(DirectoryError::seal(MANIFEST_NAME)(error));
        }
        wanted.push(id);
    }
    if wanted.is_empty() {
        return Err(DirectoryError::seal(MANIFEST_NAME)(SealError::NoRecipient));
    }
    // Gives up the manifest's lock, which would keep the rewrap out.
    let directory = directory.release()?;
    let folder = &directory.folder;
    let journal = Path::new(JOURNAL_NAME);
    let failed = || DirectoryError::io("write", folder.shown(journal));
    flock(folder.descriptor(), FlockOperation::LockExclusive).map_err(|e| failed()(e.into()))?;
    let change = Change {
        keys,
        wanted: &wanted,
        added,
        owner,
    };
    check_before(&directory, &change)?;
    // A temporary name would not belong to the folder, and a kill in that moment would make it one that nobody opens.
    let text = journal_text(&wanted);
    file::write_note(folder.descriptor(), journal, text.as_bytes()).map_err(failed())?;
    let apply = |entry: &FileEntry| {
        let place = entry.path.sealed();
        let changed = change.apply(folder, &place, entry.path.as_str(), &entry.root)?;
        progress();
        Ok(changed)
    };
    let mut changed = for_each_file(&directory.manifest.files, tail_only, apply)?;
    let place = Path::new(MANIFEST_NAME);
    changed.push(change.apply(folder, place, MANIFEST_NAME, &directory.manifest_root)?);
    progress();
    let (changed, skipped): (Vec<bool>, Vec<bool>) = changed.iter().partition(|changed| **changed);
    let done = RewrappedDirectory {
        changed: changed.len(),
        skipped: skipped.len(),
    };
    unlinkat(folder.descriptor(), journal, AtFlags::empty()).map_err(|e| failed()(e.into()))?;
    fsync(folder.descriptor()).map_err(|e| failed()(e.into()))?;
    Ok(done)
}

/// Refuses, before anything is written, what could not be finished as wanted.
fn check_before(directory: &Released, change: &Change<'_>) -> Result<(), DirectoryError> {
    let folder = &directory.folder;
    let now = open::read_manifest(folder)?;
    if !has_exactly(now.recipients(), &directory.recipients) {
        return Err(DirectoryError::Concurrent);
    }
    change
        .check_signer(&now)
        .map_err(DirectoryError::seal(MANIFEST_NAME))?;
    let added: HashSet<_> = change
        .added
        .iter()
        .filter_map(|key| key.id().ok())
        .collect();
    let check = |entry: &FileEntry| {
        let path = entry.path.as_str();
        let artifact = open::read(folder, &entry.path.sealed(), path)?;
        open::check_version(entry, &artifact, directory.publisher)?;
        change.check_recipients(&artifact, path)?;
        change
            .check_signer(&artifact)
            .map_err(DirectoryError::seal(path))?;
        let present: HashSet<_> = artifact.recipients().iter().map(|r| r.key).collect();
        let mut wanted = change.wanted.iter();
        if let Some(key) = wanted.find(|id| !present.contains(id) && !added.contains(id)) {
            let (path, key) = (path.to_owned(), *key);
            return Err(DirectoryError::LostRecipient { path, key });
        }
        Ok(())
    };
    for_each_file(&directory.manifest.files, tail_only, check).map(drop)
}

/// However long a file is, only its end is read and written.
const fn tail_only(_: &FileEntry) -> u64 {
    0
}

/// What to make of each artifact.
struct Change<'a> {
    keys: &'a [&'a KemPrivateKey],
    wanted: &'a [KeyId],
    added: &'a [&'a KemPublicKey],
    owner: Option<ListSigner<'a>>,
}

impl Change<'_> {
    /// Refuses a list of recipients that is not the one that was made, which only who opens the artifact can tell. Who has removed their own key in
    /// an interrupted attempt cannot any more, and has nothing left to do there.
    fn check_recipients(
        &self,
        artifact: &Artifact<Source>,
        path: &str,
    ) -> Result<(), DirectoryError> {
        match open::key_for(artifact, self.keys) {
            Err(_) if has_exactly(artifact.recipients(), self.wanted) => Ok(()),
            found => found
                .and_then(|key| artifact.open(key, Origin::Unchecked).map(drop))
                .map_err(DirectoryError::open(path)),
        }
    }

    /// Refuses what whoever signs the list could not sign.
    fn check_signer(&self, artifact: &Artifact<Source>) -> Result<(), SealError> {
        if has_exactly(artifact.recipients(), self.wanted) {
            return Ok(());
        }
        check_owner(artifact.header().owner(), self.owner)?;
        let before = artifact.recipient_list().map(|list| list.epoch);
        let epoch = self.owner.map(|owner| owner.next_epoch(before));
        epoch.transpose().map(drop)
    }

    /// Changes one artifact, unless it is as wanted; says whether it did.
    fn apply(
        &self,
        folder: &LocalFolder,
        place: &Path,
        path: &str,
        expected_root: &[u8],
    ) -> Result<bool, DirectoryError> {
        let target = file::open_exclusive_below(folder.descriptor(), place);
        let target = target.map_err(DirectoryError::io("open", folder.shown(place)))?;
        let artifact = Artifact::read(&target).map_err(DirectoryError::open(path))?;
        if artifact.root() != expected_root {
            let (path, what) = (path.to_owned(), "root");
            return Err(DirectoryError::OtherVersion { path, what });
        }
        if has_exactly(artifact.recipients(), self.wanted) {
            return Ok(false);
        }
        let key = open::key_for(&artifact, self.keys).map_err(DirectoryError::open(path))?;
        let present: HashSet<_> = artifact.recipients().iter().map(|r| r.key).collect();
        let missing = self.added.iter().copied();
        let missing: Vec<_> = missing
            .filter(|key| !key.id().is_ok_and(|id| present.contains(&id)))
            .collect();
        let keep = |record: &RecipientRecord| self.wanted.contains(&record.key);
        // It was compared with the signed manifest.
        let changed =
            change_recipients(&target, key, Origin::Unchecked, &keep, &missing, self.owner);
        changed.map_err(|source| DirectoryError::Rewrap {
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

/// The recipients that an unfinished rewrap wanted, to tell about it; they are not authenticated. Empty if the journal is unreadable.
///
/// # Errors
///
/// The system's error; a missing journal is `None`.
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
