//! What a sealed model says it came from (`spec/lineage.md`).

use std::{fmt, fs, io::Read as _, path::Path};

use casemate_crypto::hash::{Sha384, sha384};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::Deserialize;
use serde_json::Value;

use crate::fault::{Fault, Outcome};

/// Path of the statement in a sealed folder.
pub(crate) const NAME: &str = "casemate-lineage.json";
/// Maximum length of the statement, in bytes.
pub(crate) const BYTES_MAX: u64 = 1 << 20;
const SOURCES_MAX: usize = 1024;
const ROLE_CHARS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 256;
const NUMBER_MAX: u64 = (1 << 53) - 1;
const BLOCK_BYTES: usize = 1 << 20;

/// The statement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lineage {
    #[serde(rename = "casemate-lineage")]
    version: u8,
    pub(crate) step: Option<u64>,
    pub(crate) parent: Option<FolderReference>,
    pub(crate) sources: Vec<Origin>,
}

/// One version of a sealed folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FolderReference {
    folder: String,
    revision: u64,
    root: String,
}

/// A data set, code, or whatever else a model came from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(crate) role: String,
    pub(crate) name: String,
    folder: Option<String>,
    revision: Option<u64>,
    artifact: Option<String>,
    root: Option<String>,
    sha384: Option<String>,
}

/// What a source is, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Folder {
        id: String,
        revision: u64,
        root: String,
    },
    Artifact {
        id: String,
        root: String,
    },
    Files {
        sha384: String,
    },
}

impl Reference {
    /// Returns what stays the same when a source changes: the id of a folder or artifact.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Folder { id, .. } | Self::Artifact { id, .. } => Some(id),
            Self::Files { .. } => None,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { id, revision, root } => {
                write!(f, "folder {id}, revision {revision}, root {root}")
            }
            Self::Artifact { id, root } => write!(f, "artifact {id}, root {root}"),
            Self::Files { sha384 } => write!(f, "files, sha384 {sha384}"),
        }
    }
}

fn invalid(reason: &str) -> Fault {
    Fault::new(
        Outcome::CheckFailed,
        format!("{NAME} is not valid: {reason}"),
    )
}

impl Lineage {
    /// Reads a statement under all of its rules.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let failed = |error: serde_json::Error| invalid(&error.to_string());
        let found: Self = serde_json::from_slice(bytes).map_err(failed)?;
        // Serde also takes arrays for objects, and null for what is not there.
        check_form(&serde_json::from_slice(bytes).map_err(failed)?)?;
        if found.version != 1 {
            return Err(invalid(
                "it has another version than 1; use a newer casemate",
            ));
        }
        if found.sources.len() > SOURCES_MAX {
            return Err(invalid("it has more than 1,024 sources"));
        }
        let numbers = [
            found.step,
            found.parent.as_ref().map(|parent| parent.revision),
        ];
        if numbers
            .into_iter()
            .flatten()
            .any(|number| number > NUMBER_MAX)
        {
            return Err(invalid("a number is too large"));
        }
        if let Some(parent) = &found.parent {
            parent.reference()?;
        }
        for origin in &found.sources {
            origin.check()?;
        }
        Ok(found)
    }
}

/// Refuses values that have another form than section 1 gives them.
fn check_form(statement: &Value) -> Result<(), Fault> {
    let parent = statement.get("parent");
    let sources = statement.get("sources").and_then(Value::as_array);
    let objects = [statement].into_iter().chain(parent);
    for object in objects.chain(sources.into_iter().flatten()) {
        let fields = object
            .as_object()
            .ok_or_else(|| invalid("an object is not one"))?;
        if fields.values().any(Value::is_null) {
            return Err(invalid("a value is null; leave it out"));
        }
    }
    Ok(())
}

impl FolderReference {
    pub(crate) fn reference(&self) -> Result<Reference, Fault> {
        folder(&self.folder, self.revision, &self.root)
    }
}

impl Origin {
    fn check(&self) -> Result<(), Fault> {
        let role_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let role =
            (1..=ROLE_CHARS_MAX).contains(&self.role.len()) && self.role.chars().all(role_char);
        let name = (1..=NAME_CHARS_MAX).contains(&self.name.chars().count())
            && !self.name.chars().any(char::is_control);
        if !role || !name {
            return Err(invalid("a source has a role or a name that is not allowed"));
        }
        self.reference().map(drop)
    }

    pub(crate) fn reference(&self) -> Result<Reference, Fault> {
        let fields = (
            &self.folder,
            self.revision,
            &self.artifact,
            &self.root,
            &self.sha384,
        );
        match fields {
            (Some(id), Some(revision), None, Some(root), None) => folder(id, revision, root),
            (None, None, Some(id), Some(root), None) if is_hex(id, &[32]) && is_root(root) => {
                Ok(Reference::Artifact {
                    id: id.clone(),
                    root: root.clone(),
                })
            }
            (None, None, None, None, Some(digest)) if is_hex(digest, &[96]) => {
                Ok(Reference::Files {
                    sha384: digest.clone(),
                })
            }
            _ => Err(invalid(
                "a source is neither a folder, an artifact, nor files",
            )),
        }
    }
}

fn folder(id: &str, revision: u64, root: &str) -> Result<Reference, Fault> {
    if is_hex(id, &[32]) && is_root(root) && (1..=NUMBER_MAX).contains(&revision) {
        return Ok(Reference::Folder {
            id: id.to_owned(),
            revision,
            root: root.to_owned(),
        });
    }
    Err(invalid(
        "a folder has an id, a revision or a root that is not one",
    ))
}

fn is_root(text: &str) -> bool {
    is_hex(text, &[64, 96])
}

fn is_hex(text: &str, lengths: &[usize]) -> bool {
    let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    lengths.contains(&text.len()) && text.bytes().all(digit)
}

/// Returns the digest of plaintext files (section 2).
pub(crate) fn digest_of(path: &Path) -> Result<String, Fault> {
    let kind = fs::symlink_metadata(path)
        .map_err(|error| Fault::file("read", path, error))?
        .file_type();
    if !kind.is_dir() {
        return file_digest(path);
    }
    let mut files = Vec::new();
    list(path, "", &mut files)?;
    files.sort_unstable();
    let mut lines = String::new();
    for below in files {
        let digest = file_digest(&path.join(&below))?;
        lines.extend([digest.as_str(), "  ", below.as_str(), "\n"]);
    }
    Ok(hex::encode(sha384(lines.as_bytes())))
}

fn refused(path: &Path, what: &str) -> Fault {
    Fault::usage(format!("{}: {what}", path.display()))
}

const NOT_A_FILE: &str = "it is a link or a special file, which has no digest";

fn file_digest(path: &Path) -> Result<String, Fault> {
    let failed = |error| Fault::file("read", path, error);
    // What was listed as a file may be something else by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::LOOP) => return Err(refused(path, NOT_A_FILE)),
        Err(error) => return Err(failed(error.into())),
    };
    let mut file = fs::File::from(opened);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(refused(path, NOT_A_FILE));
    }
    let mut hash = Sha384::default();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block).map_err(failed)? {
            0 => return Ok(hex::encode(hash.finish())),
            count => hash.update(block.get(..count).unwrap_or_default()),
        }
    }
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Fault> {
    let failed = |error| Fault::file("read", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| refused(&path, "the name is not UTF-8"))?;
        if name.chars().any(|c| c.is_control() || c == '\\') {
            let rule = "the name has a control character or a backslash";
            return Err(refused(&path, rule));
        }
        let below = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            list(&path, &format!("{below}/"), files)?;
        } else if kind.is_file() {
            files.push(below);
        } else {
            return Err(refused(&path, NOT_A_FILE));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_valid_for_every_implementation_or_for_none() {
        let text = include_str!("../../../vectors/lineage.json");
        let cases: Vec<Value> = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 50);
        for case in &cases {
            let bytes = hex::decode(case["hex"].as_str().unwrap()).unwrap();
            let found = Lineage::decode(&bytes);
            let valid = case["valid"].as_bool().unwrap();
            assert_eq!(found.is_ok(), valid, "{}: {found:?}", case["what"]);
        }
    }
}
