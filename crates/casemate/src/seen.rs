//! The highest revision of each folder that was seen here (`spec/sealed-directory.md`, section 5).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use casemate_crypto::encoding::KeyId;
use casemate_gateway::unix_seconds;
use casemate_seal::{
    directory::SealedDirectory,
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
        self.folders.retain(|folder| {
            let same = folder.publisher == new.publisher && folder.id == new.id;
            !same && folder.place != new.place
        });
        self.folders.push(new);
        let too_many = self.folders.len().saturating_sub(FOLDERS_MAX);
        self.folders.drain(..too_many);
    }
}

/// Refuses a version of a folder that is older than one seen here before, unless `minimum` says that it will do; warns of another folder at a known
/// place, and remembers what it sees.
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
        place: canonical(place),
        seen: unix_seconds(),
    };
    let path = context.home()?.join(FILE_NAME);
    let failed = |what: &str, reason: String| {
        let shown = path.display();
        context.printer.warning(&format!(
            "cannot {what} {shown}, so an older version of this folder would not be noticed: {reason}"
        ));
        Ok(())
    };
    // Two commands at once must not forget each other's folders.
    let locked = lock(&path);
    let mut seen = match read(&path) {
        Ok(seen) => seen,
        Err(reason) => return failed("read", reason),
    };
    if let Some(known) = seen.find(&new.publisher, &new.id)
        && known.revision > new.revision
        && minimum.is_none_or(|minimum| minimum > new.revision)
    {
        let (found, highest) = (new.revision, known.revision);
        let message = format!(
            "revision {found} is older than revision {highest}, which was seen here before"
        );
        let seen = time_text(known.seen);
        return Err(Fault::new(Outcome::No, message).hint(format!(
            "that was on {seen}; get the current version from the publisher, or accept this one with --min-revision {found}"
        )));
    }
    if let Some(other) = seen.other_at(&new.place, &new.id) {
        context.printer.warning(&format!(
            "another folder was here before: its id was {}, now it is {}",
            other.id, new.id
        ));
    }
    let highest = seen.find(&new.publisher, &new.id);
    let revision = highest.map_or(0, |known| known.revision).max(new.revision);
    seen.remember(Folder { revision, ..new });
    let written = serde_json::to_vec(&seen)
        .map_err(std::io::Error::other)
        .and_then(|bytes| file::write(&path, &bytes, Access::Owner, Existing::Replace));
    drop(locked);
    match written {
        Ok(()) => Ok(()),
        Err(error) => failed("write", error.to_string()),
    }
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
