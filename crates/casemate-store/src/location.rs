//! Locations of objects: buckets, addresses in them, and requests that only some kinds of object
//! store support.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use object_store::{
    Attributes, ObjectMeta, ObjectStore, TagSet, list::PaginatedListStore,
    multipart::MultipartStore, path::Path,
};
use tokio::runtime::Handle;

use crate::io_error::io_error;

/// A bucket or container.
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) multipart: Arc<dyn MultipartStore>,
    pub(crate) pages: Arc<dyn PaginatedListStore>,
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) handle: Handle,
}

/// The version of an object that was opened.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) location: &'a Location,
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) attributes: &'a Attributes,
}

/// The attributes of an object, which its replacement must keep.
pub(crate) struct Description {
    pub(crate) attributes: Attributes,
    pub(crate) tags: TagSet,
}

/// The capabilities of a kind of object store. The defaults suit a store that only reads and
/// writes.
#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// Reads what the store keeps beside the bytes of an object. The default returns the attributes
    /// that came with the object and asks for no tags.
    async fn description(&self, version: Version<'_>) -> io::Result<Description> {
        Ok(Description {
            attributes: version.attributes.clone(),
            tags: TagSet::default(),
        })
    }

    /// Replaces an object with its first `body_len` bytes and `tail`, inside the object store and
    /// only if it is still this version.
    ///
    /// Returns `None` if the object store has no such request; otherwise its response, which may
    /// have been lost in transit.
    async fn replace_tail(
        &self,
        _version: Version<'_>,
        _body_len: u64,
        _tail: &[u8],
    ) -> Option<io::Result<()>> {
        None
    }
}

/// An object store that only reads and writes.
pub(crate) struct Plain;

impl Provider for Plain {}

impl Bucket {
    /// Blocks until a request is finished. Must not be called from a thread of the runtime.
    pub(crate) fn wait<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        self.handle.block_on(request).map_err(io_error)
    }
}

/// The location of an object, or of all objects below a prefix.
#[derive(Clone)]
pub struct Location {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) path: Path,
    pub(crate) is_prefix: bool,
    pub(crate) address: String,
}

impl Location {
    /// Returns the address as given, without a trailing slash.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the prefix that the object is in.
    #[must_use]
    pub fn above(&self) -> Self {
        let up = |text: &str| text.rsplit_once('/').map(|(above, _)| above.to_owned());
        let path = up(self.path.as_ref()).unwrap_or_default();
        Self {
            bucket: Arc::clone(&self.bucket),
            // The parent's address is a prefix of this one.
            path: Path::parse(path).unwrap_or_default(),
            is_prefix: true,
            address: up(&self.address).unwrap_or_default(),
        }
    }

    /// Returns whether the location is a prefix: its address ends in a slash or is that of a
    /// bucket.
    pub const fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// Returns the object at `below`, a relative path with `/` between its components.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the name is not valid in any object store.
    pub fn join(&self, below: &str) -> io::Result<Self> {
        let whole = if self.path.as_ref().is_empty() {
            below.to_owned()
        } else {
            format!("{}/{below}", self.path)
        };
        let path = Path::parse(whole)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self {
            bucket: Arc::clone(&self.bucket),
            path,
            is_prefix: false,
            address: format!("{}/{below}", self.address),
        })
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.address).finish()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
