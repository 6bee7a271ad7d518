//! The highest revision of each folder that was seen here (`spec/sealed-directory.md`, section 5).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use casemate_crypto::encoding::KeyId;
use casemate_gateway::unix_seconds;
use casemate_seal::{
    directory::{SealedDirectory, SealedFiles},
    file::{self, Access, Existing},
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    context::{Context, read_limited},
    fault::{Fault, Outcome},
    printer::time_text,
};

const FILE_NAME: &str = "seen.json";
const FILE_BYTES_MAX: usize = 16 << 20;
/// Folders that are remembered; those seen longest ago are forgotten first.
const FOLDERS_MAX: usize = 10_000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    #[serde(rename = "schema")]
    _schema: Schema,
    folders: Vec<Folder>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Schema {
    #[default]
    #[serde(rename = "casemate.seen/1")]
    V1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    publisher: String,
    id: String,
    revision: u64,
    /// Root of the manifest's artifact: one revision is one version only.
    root: String,
    /// Where it was; empty if another folder has been there since.
    place: String,
    seen: u64,
}

impl Seen {
    fn find(&self, publisher: &str, id: &str) -> Option<&Folder> {
        let mut folders = self.folders.iter();
        folders.find(|folder| folder.publisher == publisher && folder.id == id)
    }

    /// Another folder that was at a place.
    fn other_at(&self, place: &str, id: &str) -> Option<&Folder> {
        let mut folders = self.folders.iter();
        folders.find(|folder| folder.place == place && folder.id != id)
    }

    fn remember(&mut self, new: Folder) {
        self.folders
            .retain(|folder| folder.publisher != new.publisher || folder.id != new.id);
        // What was at the place before is remembered all the same.
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

/// Refuses a version of a folder that is older than one seen here before, unless `minimum` names just this revision, and another version of the same
/// revision; warns of another folder at a known place, and remembers what it sees.
///
/// `publisher` is who was verified to have signed; without one there is nothing to go by.
pub(crate) fn check(
    context: &Context<'_>,
    directory: &SealedDirectory,
    publisher: Option<KeyId>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let Some(publisher) = publisher else {
        return Ok(());
    };
    let manifest = directory.manifest();
    let new = Folder {
        publisher: publisher.to_hex(),
        id: manifest.id.to_string(),
        revision: manifest.revision,
        root: hex::encode(directory.artifact().root()),
        place: canonical(place),
        seen: unix_seconds(),
    };
    change(context, |seen| {
        let known = seen.find(&new.publisher, &new.id).cloned();
        if let Some(known) = &known {
            refuse_older(context, known, &new, minimum)?;
        }
        if let Some(other) = seen.other_at(&new.place, &new.id) {
            context.printer.warning(&format!(
                "another folder was here before: its id was {}, now it is {}",
                other.id, new.id
            ));
        }
        let newest = known.filter(|known| known.revision > new.revision);
        let (place, at) = (new.place.clone(), new.seen);
        let newest = newest.unwrap_or(new);
        seen.remember(Folder {
            place,
            seen: at,
            ..newest
        });
        Ok(())
    })
}

/// Remembers what was just sealed.
pub(crate) fn record(
    context: &Context<'_>,
    publisher: Option<KeyId>,
    sealed: &SealedFiles,
    place: &str,
) {
    let Some(publisher) = publisher else {
        return;
    };
    let new = Folder {
        publisher: publisher.to_hex(),
        id: sealed.manifest.id.to_string(),
        revision: sealed.manifest.revision,
        root: hex::encode(&sealed.root),
        place: canonical(place),
        seen: unix_seconds(),
    };
    // Nothing refuses what was made here.
    _ = change(context, |seen| {
        seen.remember(new);
        Ok(())
    });
}

fn refuse_older(
    context: &Context<'_>,
    known: &Folder,
    new: &Folder,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let (found, highest) = (new.revision, known.revision);
    let seen = time_text(known.seen);
    if found == highest && known.root != new.root {
        let message = format!("this revision {found} is not the one that was seen here before");
        return Err(Fault::new(Outcome::No, message).hint(format!(
            "that was on {seen}; the publisher signed two versions under one number, or storage mixes two copies: ask the publisher"
        )));
    }
    if found >= highest {
        return Ok(());
    }
    let message =
        format!("revision {found} is older than revision {highest}, which was seen here before");
    if minimum == Some(found) {
        context.printer.warning(&message);
        return Ok(());
    }
    Err(Fault::new(Outcome::No, message).hint(format!(
        "that was on {seen}; get the current version from the publisher, or accept just this one with --min-revision {found}"
    )))
}

/// Changes the file, where it can be read and written; elsewhere a warning says what is missed.
fn change(
    context: &Context<'_>,
    job: impl FnOnce(&mut Seen) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let path = context.home()?.join(FILE_NAME);
    let failed = |what: &str, reason: String| {
        let shown = path.display();
        context.printer.warning(&format!(
            "cannot {what} {shown}, so an older version of this folder would not be noticed: {reason}"
        ));
        Ok(())
    };
    // Two commands at once must not forget each other's folders.
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

/// The place without links and dots, if it is a local one.
fn canonical(place: &str) -> String {
    let path = fs::canonicalize(place);
    path.map_or_else(|_| place.to_owned(), |path| path.display().to_string())
}

/// Held as long as the file is changed; none where the folder cannot be written or locked.
fn lock(path: &Path) -> Option<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::create(PathBuf::from(beside)).ok()?;
    flock(&file, FlockOperation::LockExclusive).ok()?;
    Some(file)
}

fn read(path: &Path) -> Result<Seen, String> {
    if !path.exists() {
        return Ok(Seen::default());
    }
    let bytes = read_limited(path, FILE_BYTES_MAX).map_err(|fault| fault.to_string())?;
    serde_json::from_slice(bytes.expose())
        .map_err(|error| format!("it is damaged ({error}); remove it to start anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(id: &str, place: &str, revision: u64) -> Folder {
        Folder {
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
        let mut seen = Seen::default();
        seen.remember(folder("a", "/a", 1));
        seen.remember(folder("a", "/b", 2));
        assert_eq!(seen.folders, [folder("a", "/b", 2)]);
        assert_eq!(seen.find("p", "a").unwrap().revision, 2);
        assert!(seen.find("q", "a").is_none());
        assert_eq!(seen.other_at("/b", "c").unwrap().id, "a");
        assert!(seen.other_at("/b", "a").is_none());
        // Another folder at the place takes the place, and not what is known.
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
        let again: Seen = serde_json::from_str(&text).unwrap();
        assert_eq!(again.folders, seen.folders);
        serde_json::from_str::<Seen>(r#"{"schema":"casemate.seen/2","folders":[]}"#).unwrap_err();
    }
}
