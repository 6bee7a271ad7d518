//! Paths on this machine and addresses of object stores, as inputs and outputs.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use casemate_seal::{
    Source,
    file::{self, Existing},
    folder::{FolderSource, LocalFolder, MANIFEST_NAME, is_sealed_folder},
};
use casemate_store::{Location, RemoteFolder, RemoteObject};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
};

/// A path, or an address such as `s3://bucket/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Local(PathBuf),
    Remote(String),
}

impl Place {
    /// Returns a parser for the command line, which accepts any bytes as a path.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|given| match misspelt(&given) {
            Some(message) => Err(message),
            None => Ok(Self::from(given)),
        })
    }

    /// Returns the local path, or the last part of an address, to derive a local output path from.
    pub(crate) fn file_name(&self) -> PathBuf {
        match self {
            Self::Local(path) => path.components().collect(),
            Self::Remote(address) => {
                let name = address.trim_end_matches('/').rsplit('/').next();
                PathBuf::from(name.unwrap_or_default())
            }
        }
    }

    pub(crate) fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Refuses an address that lost a slash: it would be the path of a local file.
fn misspelt(given: &OsStr) -> Option<String> {
    let text = given.to_str()?;
    let (scheme, rest) = text.split_once(":/")?;
    let is_scheme = ["s3", "gs", "az"].contains(&scheme);
    (is_scheme && !rest.starts_with('/'))
        .then(|| format!("write {scheme}://{rest} for an object, or ./{text} for a file"))
}

impl From<OsString> for Place {
    fn from(given: OsString) -> Self {
        match given.to_str() {
            Some(text) if casemate_store::is_address(text) => {
                match casemate_store::local_path(text) {
                    Some(path) => Self::Local(path),
                    None => Self::Remote(text.to_owned()),
                }
            }
            _ => Self::Local(given.into()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(address) => address.fmt(f),
        }
    }
}

/// A sealed file or folder at a path or address.
pub(crate) enum Sealed {
    File(Source),
    Folder(Box<dyn FolderSource>),
}

impl Context<'_> {
    /// Opens a sealed file or folder for reading.
    pub(crate) fn sealed(&self, place: &Place) -> Result<Sealed, Fault> {
        match place {
            Place::Local(path) if path.is_dir() => {
                if !is_sealed_folder(path) {
                    return Err(no_manifest(place));
                }
                let folder = LocalFolder::open(path.clone())
                    .map_err(|error| Fault::file("open", path, error))?;
                Ok(Sealed::Folder(Box::new(folder)))
            }
            Place::Local(path) => {
                let file =
                    file::open_shared(path).map_err(|error| Fault::file("open", path, error))?;
                Ok(Sealed::File(Box::new(file)))
            }
            Place::Remote(address) => {
                let location = self.locate(address)?;
                if let Some(object) = object(&location)? {
                    return Ok(Sealed::File(Box::new(object)));
                }
                let folder = RemoteFolder::new(location, Existing::Keep);
                if !has_manifest(&folder, address)? {
                    return Err(no_manifest(place));
                }
                Ok(Sealed::Folder(Box::new(folder)))
            }
        }
    }
}

/// Returns the object at an address; `None` if the address is a prefix, with or without its slash.
pub(crate) fn object(location: &Location) -> Result<Option<RemoteObject>, Fault> {
    if location.is_prefix() {
        return Ok(None);
    }
    match RemoteObject::open(location) {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = RemoteFolder::new(location.clone(), Existing::Keep);
            if has_manifest(&folder, location.address())? {
                return Ok(None);
            }
            Err(Fault::file("open", Path::new(location.address()), error))
        }
        Err(error) => Err(Fault::file("open", Path::new(location.address()), error)),
    }
}

fn has_manifest(folder: &RemoteFolder, address: &str) -> Result<bool, Fault> {
    let found = folder.has_manifest();
    found.map_err(|error| Fault::file("open", Path::new(address), error))
}

fn no_manifest(place: &Place) -> Fault {
    Fault::new(
        Outcome::CheckFailed,
        format!("{place} is not a sealed folder"),
    )
    .hint(format!(
        "it has no {MANIFEST_NAME}; seal it with `casemate seal`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths_are_distinguished() {
        let place = |text: &str| Place::from(OsString::from(text));
        for path in ["model.sealed", "./s3:/x", "/a/b", "a://", "://x"] {
            let local = Place::Local(PathBuf::from(path));
            assert_eq!(place(path) == local, path != "a://", "{path}");
        }
        assert_eq!(
            place("file:///a/b%20c"),
            Place::Local(PathBuf::from("/a/b c"))
        );
        let remote = place("s3://bucket/models/x.sealed");
        assert_eq!(remote.file_name(), Path::new("x.sealed"));
        assert_eq!(remote.to_text(), "s3://bucket/models/x.sealed");
    }
}
