//! The same items in a build without object stores.
//!
//! [`Client::locate`] refuses every address, so no value of the other types exists.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use casemate_seal::{
    NewTail, Progress, ReadAt, Source, WriteAt,
    file::Existing,
    folder::{FolderError, FolderSource, RelativePath, SealTarget},
};
use rustls::ClientConfig;

use crate::{Sent, error::StoreError};

/// A client that finds no object store.
#[derive(Debug)]
pub struct Client(());

impl Client {
    /// Creates a client.
    ///
    /// # Errors
    ///
    /// None.
    pub fn new(
        _settings: impl IntoIterator<Item = (String, String)>,
        _tls: ClientConfig,
    ) -> Result<Self, StoreError> {
        Ok(Self(()))
    }

    /// Refuses every address.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotBuilt`].
    pub const fn locate(&self, _address: &str) -> Result<Location, StoreError> {
        Err(StoreError::NotBuilt)
    }
}

/// A type without values. The types around it hide that from callers, whose code would otherwise
/// be unreachable.
#[derive(Clone, Copy, Debug)]
enum Never {}

macro_rules! absent {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Never);
    )*};
}

absent![
    /// The location of an object or prefix.
    Location,
    /// An object.
    RemoteObject,
    /// A prefix that holds a sealed folder.
    RemoteFolder,
    /// An object being written.
    Upload,
];

impl Location {
    /// Returns the address.
    pub const fn address(&self) -> &str {
        match self.0 {}
    }

    /// Returns the prefix that the object is in.
    #[must_use]
    pub const fn above(&self) -> Self {
        match self.0 {}
    }

    /// Returns whether the location is a prefix.
    pub const fn is_prefix(&self) -> bool {
        match self.0 {}
    }

    /// Returns the object at `below`.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn join(&self, _below: &str) -> io::Result<Self> {
        match self.0 {}
    }
}

impl fmt::Display for Location {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl RemoteObject {
    /// Opens the object.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn open(location: &Location) -> io::Result<Self> {
        match location.0 {}
    }

    /// Returns its location.
    pub const fn location(&self) -> &Location {
        match self.0 {}
    }
}

impl ReadAt for RemoteObject {
    fn read_exact_at(&self, _out: &mut [u8], _offset: u64) -> io::Result<()> {
        match self.0 {}
    }

    fn byte_len(&self) -> io::Result<u64> {
        match self.0 {}
    }

    fn will_read(&self, _range: Range<u64>) {
        match self.0 {}
    }
}

impl RemoteFolder {
    /// Creates a folder at the prefix.
    #[expect(clippy::needless_pass_by_value, reason = "it has no values")]
    pub const fn new(location: Location, _existing: Existing) -> Self {
        match location.0 {}
    }

    /// Returns whether there is a manifest.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn has_manifest(&self) -> io::Result<bool> {
        match self.0 {}
    }
}

impl FolderSource for RemoteFolder {
    fn open(&self, _path: &Path) -> io::Result<Source> {
        match self.0 {}
    }

    fn check(&self, _paths: &[&RelativePath]) -> Result<(), FolderError> {
        match self.0 {}
    }

    fn shown(&self, _path: &Path) -> PathBuf {
        match self.0 {}
    }
}

impl SealTarget for RemoteFolder {
    type File = Upload;

    fn create(&self, _path: &Path, _len: u64) -> io::Result<Upload> {
        match self.0 {}
    }

    fn commit(&self, file: Upload) -> io::Result<()> {
        match file.0 {}
    }
}

impl Upload {
    /// Starts an object.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn create(location: &Location, _len: u64, _existing: Existing) -> io::Result<Self> {
        match location.0 {}
    }

    /// Makes the object visible.
    ///
    /// # Errors
    ///
    /// None.
    pub fn commit(self) -> io::Result<()> {
        match self.0 {}
    }
}

impl WriteAt for Upload {
    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        match self.0 {}
    }
}

/// Lists the objects below a prefix.
///
/// # Errors
///
/// None.
pub const fn list(prefix: &Location, _limit: usize) -> io::Result<Vec<String>> {
    match prefix.0 {}
}

/// Lists the sealed files and manifests below a prefix.
///
/// # Errors
///
/// None.
pub const fn list_sealed(prefix: &Location, _limit: usize) -> io::Result<Vec<Location>> {
    match prefix.0 {}
}

/// Replaces everything after the body of an object.
///
/// # Errors
///
/// None.
pub const fn replace_tail(object: &RemoteObject, _new: &NewTail) -> io::Result<()> {
    match object.0 {}
}

/// Returns the name of the journal of copies to `to`.
pub const fn journal_name(to: &Location) -> String {
    match to.0 {}
}

/// Copies an artifact.
///
/// # Errors
///
/// None.
pub fn send<R: ReadAt>(
    _source: &R,
    to: &Location,
    _existing: Existing,
    _journal: &Path,
    _progress: Progress<'_>,
) -> io::Result<Sent> {
    match to.0 {}
}
