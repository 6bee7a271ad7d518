//! The highest revision of each folder seen on this machine (`spec/sealed-folder.md`, section
//! 5).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use casemate_crypto::{encoding::KeyId, signature::SigningKey};
use casemate_environment::read_limited;
use casemate_gateway::unix_seconds;
use casemate_seal::{
    file::{self, Access, Existing},
    folder::{Manifest, SealedFiles, SealedFolder},
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    printer::time_text,
};

const FILE_NAME: &str = "seen.json";
const FILE_BYTES_MAX: usize = 16 << 20;
/// Most folders to remember; the least recently seen are forgotten first.
const FOLDERS_MAX: usize = 10_000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenFolders {
    #[serde(rename = "schema")]
    _schema: Schema,
    folders: Vec<SeenFolder>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Schema {
    #[default]
    #[serde(rename = "casemate.seen/1")]
    V1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenFolder {
    publisher: String,
    id: String,
    revision: u64,
    /// Root of the manifest's artifact: two versions never share a revision.
    root: String,
    /// Where it was last seen; empty if another folder has been there since.
    place: String,
    seen: u64,
}

impl SeenFolder {
    fn new(publisher: KeyId, manifest: &Manifest, root: &[u8], place: &str) -> Self {
        Self {
            publisher: publisher.to_hex(),
            id: manifest.id.to_string(),
            revision: manifest.revision,
            root: hex::encode(root),
            place: canonical(place),
            seen: unix_seconds(),
        }
    }
}

impl SeenFolders {
    fn find(&self, publisher: &str, id: &str) -> Option<&SeenFolder> {
        let mut folders = self.folders.iter();
        folders.find(|folder| folder.publisher == publisher && folder.id == id)
    }

    /// Returns another folder that was last seen at a place.
    fn other_at(&self, place: &str, id: &str) -> Option<&SeenFolder> {
        let mut folders = self.folders.iter();
        folders.find(|folder| folder.place == place && folder.id != id)
    }

    /// An older version updates only the place and the time.
    fn remember(&mut self, mut new: SeenFolder) {
        if let Some(known) = self.find(&new.publisher, &new.id)
            && known.revision > new.revision
        {
            (new.revision, new.root) = (known.revision, known.root.clone());
        }
        self.folders
            .retain(|folder| folder.publisher != new.publisher || folder.id != new.id);
        // Remember the folder that was here before, but not its place.
        for folder in &mut self.folders {
            if folder.place == new.place {
                folder.place.clear();
            }
        }
        self.folders.push(new);
        let too_many = self.folders.len().saturating_sub(FOLDERS_MAX);
        self.folders.drain(..too_many);
    }
}

/// Compares a folder with the version last seen on this machine, and remembers it.
///
/// Refuses an older version, unless `minimum` is exactly its revision, and a different version with
/// the same revision. Warns if a different folder was last seen at this place. Does nothing without
/// a `publisher`, whose signature the caller has verified.
pub(crate) fn check(
    context: &Context<'_>,
    sealed: &SealedFolder,
    publisher: Option<KeyId>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let Some(publisher) = publisher else {
        return Ok(());
    };
    let root = sealed.artifact().root();
    let new = SeenFolder::new(publisher, sealed.manifest(), root, place);
    change(context, |seen| {
        if let Some(known) = seen.find(&new.publisher, &new.id) {
            refuse_older(context, known, &new, minimum)?;
        }
        if let Some(other) = seen.other_at(&new.place, &new.id) {
            context.printer.warning(&format!(
                "a different folder was here before (id {}, now {})",
                other.id, new.id
            ));
        }
        seen.remember(new);
        Ok(())
    })
}

/// Remembers a folder that `signer` just sealed.
///
/// # Errors
///
/// The signer's key cannot be encoded, or there is no home folder.
pub(crate) fn record(
    context: &Context<'_>,
    signer: Option<&SigningKey>,
    sealed: &SealedFiles,
    place: &str,
) -> Result<(), Fault> {
    let Some(signer) = signer else {
        return Ok(());
    };
    let publisher = signer.verifying_key().id()?;
    let new = SeenFolder::new(publisher, &sealed.manifest, &sealed.root, place);
    change(context, |seen| {
        if let Some(known) = seen.find(&new.publisher, &new.id)
            && known.revision >= new.revision
        {
            let (made, highest) = (new.revision, known.revision);
            context.printer.warning(&format!(
                "this is revision {made}; anyone who has seen revision {highest} will refuse it"
            ));
        }
        seen.remember(new);
        Ok(())
    })
}

fn refuse_older(
    context: &Context<'_>,
    known: &SeenFolder,
    new: &SeenFolder,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let (found, highest) = (new.revision, known.revision);
    let seen = time_text(known.seen);
    if found == highest && known.root != new.root {
        let message = format!("a different revision {found} was already seen on this machine");
        return Err(Fault::new(Outcome::CheckFailed, message).hint(format!(
            "ask the publisher which of the two is right; the other was seen on {seen}"
        )));
    }
    if found >= highest {
        return Ok(());
    }
    let message = format!(
        "revision {found} is older than revision {highest}, which was already seen on this machine"
    );
    if minimum == Some(found) {
        context.printer.warning(&message);
        return Ok(());
    }
    Err(Fault::new(Outcome::CheckFailed, message).hint(format!(
        "get the current version, or accept this one with `--min-revision {found}`; revision {highest} was seen on {seen}"
    )))
}

/// Updates the file. If that is impossible, warns that rollback protection is lost.
fn change(
    context: &Context<'_>,
    job: impl FnOnce(&mut SeenFolders) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let path = context.home()?.join(FILE_NAME);
    let failed = |what: &str, reason: String| {
        let shown = path.display();
        context.printer.warning(&format!(
            "cannot {what} {shown}, so older versions of this folder cannot be detected: {reason}"
        ));
        Ok(())
    };
    // Concurrent commands must not overwrite each other's entries.
    let _locked = lock(&path);
    let mut seen = match read(&path) {
        Ok(seen) => seen,
        Err(reason) => return failed("read", reason),
    };
    job(&mut seen)?;
    let written = serde_json::to_vec(&seen)
        .map_err(std::io::Error::other)
        .and_then(|bytes| file::write(&path, &bytes, Access::Owner, Existing::Replace));
    written.or_else(|error| failed("write", error.to_string()))
}

/// Returns a local path without links and dots; an address stays as it is.
fn canonical(place: &str) -> String {
    let path = fs::canonicalize(place);
    path.map_or_else(|_| place.to_owned(), |path| path.display().to_string())
}

/// Locks the file while it is changed; `None` if the folder cannot be written or locked.
fn lock(path: &Path) -> Option<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::create(PathBuf::from(beside)).ok()?;
    flock(&file, FlockOperation::LockExclusive).ok()?;
    Some(file)
}

fn read(path: &Path) -> Result<SeenFolders, String> {
    if !path.exists() {
        return Ok(SeenFolders::default());
    }
    let bytes = read_limited(path, FILE_BYTES_MAX).map_err(|fault| fault.to_string())?;
    serde_json::from_slice(bytes.expose())
        .map_err(|error| format!("it is damaged ({error}); remove it to start over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(id: &str, place: &str, revision: u64) -> SeenFolder {
        SeenFolder {
            publisher: "p".to_owned(),
            id: id.to_owned(),
            revision,
            root: "r".to_owned(),
            place: place.to_owned(),
            seen: 1,
        }
    }

    #[test]
    fn a_folder_is_remembered_once_and_the_oldest_are_forgotten() {
        let mut seen = SeenFolders::default();
        seen.remember(folder("a", "/a", 1));
        seen.remember(folder("a", "/b", 2));
        assert_eq!(seen.folders, [folder("a", "/b", 2)]);
        seen.remember(folder("a", "/b", 1));
        assert_eq!(seen.find("p", "a").unwrap().revision, 2);
        assert!(seen.find("q", "a").is_none());
        assert_eq!(seen.other_at("/b", "c").unwrap().id, "a");
        assert!(seen.other_at("/b", "a").is_none());
        // Another folder takes over the place; what is known of the first stays.
        seen.remember(folder("c", "/b", 1));
        assert_eq!(seen.find("p", "a").unwrap().revision, 2);
        assert!(seen.other_at("/b", "c").is_none());
        for number in 0..FOLDERS_MAX {
            let name = number.to_string();
            seen.remember(folder(&name, &name, 1));
        }
        assert_eq!(seen.folders.len(), FOLDERS_MAX);
        assert!(seen.find("p", "a").is_none());
        let text = serde_json::to_string(&seen).unwrap();
        let again: SeenFolders = serde_json::from_str(&text).unwrap();
        assert_eq!(again.folders, seen.folders);
        serde_json::from_str::<SeenFolders>(r#"{"schema":"casemate.seen/2","folders":[]}"#)
            .unwrap_err();
    }
}
