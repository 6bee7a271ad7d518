//! Sealed folders below a prefix.

use std::{
    io,
    path::{Path, PathBuf},
};

use casemate_seal::{
    Source,
    file::Existing,
    folder::{
        Expected, FolderError, FolderSource, MANIFEST_NAME, RelativePath, SEALED_SUFFIX, SealTarget,
    },
    limits::FILES_MAX,
};
use object_store::{ObjectMeta, list::PaginatedListOptions};

use crate::{
    OBJECTS_MAX, RemoteObject, Upload,
    location::{Bucket, Location},
};

/// Most consecutive pages without an object in a listing.
const EMPTY_PAGES_MAX: usize = 100;

/// A prefix that holds or will hold a sealed folder.
#[derive(Clone, Debug)]
pub struct RemoteFolder {
    location: Location,
    existing: Existing,
}

impl RemoteFolder {
    /// Creates a folder at the prefix; `existing` determines what sealing to it does with existing
    /// objects.
    pub const fn new(location: Location, existing: Existing) -> Self {
        Self { location, existing }
    }

    /// Returns whether there is a manifest.
    ///
    /// # Errors
    ///
    /// The error of the object store.
    pub fn has_manifest(&self) -> io::Result<bool> {
        match RemoteObject::open(&self.location.join(MANIFEST_NAME)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn at(&self, path: &Path) -> io::Result<Location> {
        let text = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        self.location.join(text)
    }
}

/// Lists the objects below a prefix, by their paths relative to it.
///
/// # Errors
///
/// The error of the object store; [`io::ErrorKind::QuotaExceeded`] beyond `limit` objects.
pub fn list(prefix: &Location, limit: usize) -> io::Result<Vec<String>> {
    let above = prefix.path.as_ref();
    let (limit, mut seen) = (limit.min(OBJECTS_MAX), 0_usize);
    let mut found = Vec::new();
    let mut pages = Pages::of(prefix);
    while let Some(objects) = pages.next()? {
        for object in objects {
            seen = seen.saturating_add(1);
            if seen > OBJECTS_MAX {
                let message =
                    format!("the store lists more than {OBJECTS_MAX} objects for {prefix}");
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            found.extend(below(&object, above));
            if found.len() > limit {
                let message = format!("there are more than {limit} objects below {prefix}");
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
        }
    }
    Ok(found)
}

/// Returns the path of an object relative to a prefix.
fn below(object: &ObjectMeta, above: &str) -> Option<String> {
    let key = object.location.as_ref();
    let below = match above {
        "" => Some(key),
        above => key
            .strip_prefix(above)
            .and_then(|rest| rest.strip_prefix('/')),
    };
    // Web consoles create empty objects ending in a slash as folders; the client omits the slash.
    below.filter(|below| !below.is_empty()).map(str::to_owned)
}

/// A listing, page by page.
struct Pages<'a> {
    bucket: &'a Bucket,
    prefix: Option<String>,
    /// The token of the next page; `None` before the first.
    token: Option<String>,
    is_done: bool,
    empty: usize,
}

impl<'a> Pages<'a> {
    fn of(prefix: &'a Location) -> Self {
        let above = prefix.path.as_ref();
        Self {
            bucket: &prefix.bucket,
            prefix: (!above.is_empty()).then(|| format!("{above}/")),
            token: None,
            is_done: false,
            empty: 0,
        }
    }

    fn next(&mut self) -> io::Result<Option<Vec<ObjectMeta>>> {
        if self.is_done {
            return Ok(None);
        }
        let options = PaginatedListOptions {
            page_token: self.token.clone(),
            ..PaginatedListOptions::default()
        };
        let pages = &self.bucket.pages;
        let page = pages.list_paginated(self.prefix.as_deref(), options);
        let page = self.bucket.wait(page)?;
        // An object store could return empty pages forever.
        self.empty = if page.result.objects.is_empty() {
            self.empty.saturating_add(1)
        } else {
            0
        };
        let stuck = page.page_token.is_some() && page.page_token == self.token;
        if stuck || self.empty > EMPTY_PAGES_MAX {
            return Err(io::Error::other("the store's listing makes no progress"));
        }
        self.is_done = page.page_token.is_none();
        self.token = page.page_token;
        Ok(Some(page.result.objects))
    }
}

/// Lists the sealed files and manifests below a prefix, with manifests last, because they mark the
/// others as complete.
///
/// # Errors
///
/// As [`list`].
pub fn list_sealed(prefix: &Location, limit: usize) -> io::Result<Vec<Location>> {
    let is_manifest = |path: &String| path.rsplit('/').next() == Some(MANIFEST_NAME);
    let mut paths = list(prefix, limit)?;
    paths.retain(|path| path.ends_with(SEALED_SUFFIX) || is_manifest(path));
    paths.sort_by_cached_key(|path| (is_manifest(path), path.clone()));
    paths.iter().map(|path| prefix.join(path)).collect()
}

impl FolderSource for RemoteFolder {
    fn open(&self, path: &Path) -> io::Result<Source> {
        Ok(Box::new(RemoteObject::open(&self.at(path)?)?))
    }

    fn check(&self, paths: &[&RelativePath]) -> Result<(), FolderError> {
        let listing = list(&self.location, FILES_MAX.saturating_add(1)).map_err(|source| {
            FolderError::Io {
                what: "list",
                path: PathBuf::from(self.location.address()),
                source,
            }
        })?;
        Expected::check(paths, &listing)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        PathBuf::from(self.location.address()).join(path)
    }
}

impl SealTarget for RemoteFolder {
    type File = Upload;

    fn create(&self, path: &Path, len: u64) -> io::Result<Upload> {
        Upload::create(&self.at(path)?, len, self.existing)
    }

    fn commit(&self, file: Upload) -> io::Result<()> {
        file.commit()
    }
}
