//! What a sealed model says it came from (`spec/lineage.md`).

use std::{fmt, fs, path::Path};

use casemate_crypto::hash::sha384;
use serde::Deserialize;

use crate::fault::{Fault, Outcome};

/// Path of the statement in a sealed folder.
pub(crate) const NAME: &str = "casemate-lineage.json";
/// Maximum length of the statement, in bytes.
pub(crate) const BYTES_MAX: u64 = 1 << 20;
const SOURCES_MAX: usize = 1024;
const ROLE_CHARS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 256;
const NUMBER_MAX: u64 = (1 << 53) - 1;

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
        let found: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))?;
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
    if fs::symlink_metadata(path)
        .map_err(|error| Fault::file("read", path, error))?
        .is_file()
    {
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

fn file_digest(path: &Path) -> Result<String, Fault> {
    let bytes = fs::read(path).map_err(|error| Fault::file("read", path, error))?;
    Ok(hex::encode(sha384(&bytes)))
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), Fault> {
    let entries = fs::read_dir(folder).map_err(|error| Fault::file("read", folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Fault::file("read", folder, error))?;
        let refused = |what: &str| Fault::usage(format!("{}: {what}", entry.path().display()));
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| refused("the name is not UTF-8"))?;
        if name.chars().any(|c| c.is_control() || c == '\\') {
            return Err(refused("the name has a control character or a backslash"));
        }
        let below = format!("{prefix}{name}");
        let kind = entry
            .file_type()
            .map_err(|error| Fault::file("read", folder, error))?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{below}/"), files)?;
        } else if kind.is_file() {
            files.push(below);
        } else {
            return Err(refused(
                "it is a link or a special file, which has no digest",
            ));
        }
    }
    Ok(())
}
