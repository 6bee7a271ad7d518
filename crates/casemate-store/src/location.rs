//! Where objects are: buckets, addresses in them, and what one kind of store can do beyond the requests of all.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use object_store::{
    Attributes, ObjectMeta, ObjectStore, TagSet, list::PaginatedListStore,
    multipart::MultipartStore, path::Path,
};
use tokio::runtime::Handle;

use crate::error::io_error;

/// A bucket or container.
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) multipart: Arc<dyn MultipartStore>,
    pub(crate) pages: Arc<dyn PaginatedListStore>,
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) handle: Handle,
}

/// An object as it was when it was opened.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) location: &'a Location,
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) attributes: &'a Attributes,
}

/// What a store keeps beside the bytes of an object, and must keep for the object that replaces it.
pub(crate) struct Description {
    pub(crate) attributes: Attributes,
    pub(crate) tags: TagSet,
}

/// What one kind of store can do. The defaults are those of a store that reads and writes, and no more.
#[async_trait]
pub(crate) trait Provider: Send + Sync {
    /// Reads what the store keeps beside the bytes of an object.
    ///
    /// An error if the store has something that it does not show: it would be lost.
    async fn description(&self, version: Version<'_>) -> io::Result<Description> {
        Ok(Description {
            attributes: version.attributes.clone(),
            tags: TagSet::default(),
        })
    }

    /// Replaces an object by its first `body_len` bytes and `tail`, inside the store and only if it is still this version.
    ///
    /// `None` if the store has no such request. Otherwise the answer, which may have been lost on its way.
    async fn replace_tail(
        &self,
        _version: Version<'_>,
        _body_len: u64,
        _tail: &[u8],
    ) -> Option<io::Result<()>> {
        None
    }
}

/// A store that reads and writes.
pub(crate) struct Plain;

impl Provider for Plain {}

impl Bucket {
    /// Runs a request to its end, from a thread that is not one of the runtime's.
    pub(crate) fn wait<T>(
        &self,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        self.handle.block_on(request).map_err(io_error)
    }
}

/// An object, or a prefix that names many.
#[derive(Clone)]
pub struct Location {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) path: Path,
    pub(crate) is_prefix: bool,
    pub(crate) address: String,
}

impl Location {
    /// The address as it was given, without a slash at its end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The prefix that the object lies in.
    #[must_use]
    pub fn above(&self) -> Self {
        let up = |text: &str| text.rsplit_once('/').map(|(above, _)| above.to_owned());
        let path = up(self.path.as_ref()).unwrap_or_default();
        Self {
            bucket: Arc::clone(&self.bucket),
            // It is the beginning of one.
            path: Path::parse(path).unwrap_or_default(),
            is_prefix: true,
            address: up(&self.address).unwrap_or_default(),
        }
    }

    /// Whether the address ended in a slash or is that of a bucket: it names everything below, not one object.
    pub const fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// The object at `below`, a relative path with `/` between its parts.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if no store could hold such a name.
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
