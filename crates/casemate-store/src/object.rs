//! Reading objects on demand.

use std::{
    fmt, io,
    ops::Range,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use casemate_seal::ReadAt;
use futures_util::{FutureExt, StreamExt};
use object_store::{Attributes, GetOptions, GetRange, ObjectMeta};

use crate::{
    io_error::{Changed, io_error},
    location::{Location, Version},
    read_ahead::{Fetch, ReadAhead},
};

/// Returns whether the object at `location` has `len` bytes and ends in `end`.
///
/// This detects success after a response was lost: no two artifacts, and no two versions of one
/// artifact's tail, have the same bytes.
pub(crate) fn ends_with(location: &Location, len: u64, end: &[u8]) -> io::Result<bool> {
    let object = RemoteObject::open(location)?;
    if object.meta().size != len || end.is_empty() {
        return Ok(false);
    }
    let mut found = vec![0; end.len()];
    object.read_exact_at(&mut found, len.saturating_sub(end.len() as u64))?;
    Ok(found == end)
}

/// An object at the version that was opened. If it is replaced, reads fail instead of mixing two
/// versions.
#[derive(Clone)]
pub struct RemoteObject(Arc<Inner>);

struct Inner {
    location: Location,
    meta: ObjectMeta,
    attributes: Attributes,
    ahead: Mutex<Option<Arc<ReadAhead>>>,
}

impl RemoteObject {
    /// Opens the object by requesting its length and version.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::PermissionDenied`], or the network error after
    /// the retries.
    pub fn open(location: &Location) -> io::Result<Self> {
        let bucket = &location.bucket;
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = bucket.wait(bucket.store.get_opts(&location.path, head))?;
        Ok(Self(Arc::new(Inner {
            location: location.clone(),
            meta: found.meta,
            attributes: found.attributes,
            ahead: Mutex::default(),
        })))
    }

    /// Returns its location.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    pub(crate) fn version(&self) -> Version<'_> {
        Version {
            location: &self.0.location,
            meta: &self.0.meta,
            attributes: &self.0.attributes,
        }
    }

    pub(crate) fn meta(&self) -> &ObjectMeta {
        &self.0.meta
    }

    /// Returns its content type, metadata and other attributes, except for storage class and tags,
    /// which the client does not read.
    pub(crate) fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }
}

impl Inner {
    /// Returns the read-ahead state. The lock is released on return: holding it during a request
    /// would serialise readers.
    fn ahead(&self) -> Option<Arc<ReadAhead>> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.clone()
    }

    /// Reads `range` of the version that was opened.
    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: self.meta.e_tag.clone(),
            ..GetOptions::default()
        };
        let found = self
            .location
            .bucket
            .store
            .get_opts(&self.location.path, options)
            .await
            .map_err(io_error)?;
        // Object stores without entity tags use these conditions.
        if found.meta.size != self.meta.size || found.meta.e_tag != self.meta.e_tag {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed));
        }
        let expected = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(expected);
        let mut stream = found.into_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(io_error)?;
            if part.len() > expected.saturating_sub(bytes.len()) {
                return Err(wrong_length(expected));
            }
            bytes.extend_from_slice(&part);
        }
        if bytes.len() != expected {
            return Err(wrong_length(expected));
        }
        Ok(bytes.into())
    }
}

fn wrong_length(expected: usize) -> io::Error {
    let message = format!("the store returned the wrong length for a request of {expected} bytes");
    io::Error::other(message)
}

impl ReadAt for RemoteObject {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = &self.0;
        let end = offset
            .checked_add(out.len() as u64)
            .filter(|end| *end <= inner.meta.size)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if out.is_empty() {
            return Ok(());
        }
        let range = offset..end;
        if let Some(ahead) = inner.ahead().filter(|ahead| ahead.covers(&range)) {
            return ahead.read(inner, out, offset);
        }
        let handle = &inner.location.bucket.handle;
        let bytes = handle.block_on(inner.fetch(range))?;
        out.copy_from_slice(&bytes);
        Ok(())
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.meta.size)
    }

    fn will_read(&self, range: Range<u64>) {
        let end = range.end.min(self.0.meta.size);
        let range = range.start.min(end)..end;
        let mut ahead = self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = Some(Arc::new(ReadAhead::new(range)));
    }
}

impl Fetch for Inner {
    fn start(
        self: &Arc<Self>,
        range: Range<u64>,
        deliver: impl FnOnce(io::Result<Bytes>) + Send + 'static,
    ) {
        let fetching = Arc::clone(self);
        let handle = &self.location.bucket.handle;
        // The task ends within its retry limits, and its result is dropped if no reader waits for
        // it.
        drop(handle.spawn(async move {
            // A waiting thread must get a result, even if a library panics.
            let fetched = AssertUnwindSafe(fetching.fetch(range)).catch_unwind().await;
            deliver(fetched.unwrap_or_else(|_| Err(io::Error::other("a request panicked"))));
        }));
    }

    fn fetch_now(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.location.bucket.handle.block_on(self.fetch(range))
    }
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteObject")
            .field(&self.0.location)
            .finish()
    }
}
