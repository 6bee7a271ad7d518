//! Writing an object in parts, several in parallel; it becomes visible when it is complete.

use std::{
    collections::BTreeMap,
    fmt, io, mem,
    panic::AssertUnwindSafe,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use casemate_seal::{WriteAt, file::Existing};
use futures_util::FutureExt;
use object_store::{
    Attributes, MultipartId, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    multipart::PartId, path::Path,
};

use crate::{
    io_error::io_error,
    location::{Bucket, Location},
    object::ends_with,
};

/// Length of a part, in bytes, unless the object would have too many.
const PART: u64 = 8 << 20;
/// Most parts of one object; S3 allows 10,000.
const PARTS_MAX: u64 = 9_000;
/// Maximum number of concurrent parts.
const UNDER_WAY: usize = 4;

/// An object being written. If it is dropped before [`Upload::commit`], nothing readable remains.
pub struct Upload(Arc<Inner>);

struct Inner {
    location: Location,
    part_len: u64,
    existing: Existing,
    attributes: Attributes,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The parts being filled.
    open: BTreeMap<u64, Part>,
    under_way: usize,
    id: Option<MultipartId>,
    done: BTreeMap<u64, PartId>,
    failed: Option<io::Error>,
    /// End of the bytes written so far.
    end: u64,
    /// The sent part with the highest number, which shares its bytes with the request.
    last: (u64, Bytes),
    committed: bool,
}

#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    filled: u64,
}

impl Upload {
    /// Starts an object at `location` with an expected length of about `len` bytes.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] if the object exists and `existing` is [`Existing::Keep`].
    pub fn create(location: &Location, len: u64, existing: Existing) -> io::Result<Self> {
        Self::with_attributes(location, len, existing, Attributes::default())
    }

    /// Like [`Self::create`], with attributes for the object.
    pub(crate) fn with_attributes(
        location: &Location,
        len: u64,
        existing: Existing,
        attributes: Attributes,
    ) -> io::Result<Self> {
        if existing == Existing::Keep {
            refuse_existing(location)?;
        }
        Ok(Self(Arc::new(Inner {
            location: location.clone(),
            part_len: part_len(len),
            existing,
            attributes,
            state: Mutex::default(),
            changed: Condvar::new(),
        })))
    }

    /// Waits for all parts and makes the object visible.
    ///
    /// # Errors
    ///
    /// The error of the object store; the object is then unchanged.
    pub fn commit(self) -> io::Result<()> {
        let inner = &self.0;
        let (id, last) = {
            let mut state = inner.state();
            let last = mem::take(&mut state.open);
            (state.id.clone(), last)
        };
        // At most the last part is not full, and it has no gaps.
        if last.len() > 1
            || last
                .values()
                .any(|part| part.filled != part.bytes.len() as u64)
        {
            return Err(missing());
        }
        match id {
            None => inner.put_whole(last)?,
            Some(id) => inner.complete(&id, last)?,
        }
        inner.state().committed = true;
        Ok(())
    }
}

fn missing() -> io::Error {
    io::Error::other("a part of the object was never written")
}

/// Returns the length of a part of an object with about `len` bytes, including tail and footer.
pub(crate) fn part_len(len: u64) -> u64 {
    // Add a thousandth of the content for tags and hashes.
    let generous = len.saturating_add(len >> 8);
    let needed = generous.div_ceil(PARTS_MAX);
    needed.next_multiple_of(1 << 20).max(PART)
}

pub(crate) fn refuse_existing(location: &Location) -> io::Result<()> {
    let bucket = &location.bucket;
    match bucket.wait(bucket.store.head(&location.path)) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Starts a multipart object, with attributes if the object store supports them for such objects.
pub(crate) async fn start(
    bucket: &Bucket,
    path: &Path,
    options: PutMultipartOptions,
) -> object_store::Result<MultipartId> {
    match bucket.multipart.create_multipart_opts(path, options).await {
        Err(object_store::Error::NotSupported { .. }) => {
            bucket.multipart.create_multipart(path).await
        }
        started => started,
    }
}

/// Writes an object in one request.
///
/// If the response was lost, the client's retry is refused because of the object from the first
/// request. So the object itself is checked.
pub(crate) fn put(location: &Location, bytes: Vec<u8>, options: PutOptions) -> io::Result<()> {
    let bytes = Bytes::from(bytes);
    let bucket = &location.bucket;
    let payload = PutPayload::from(bytes.clone());
    let put = bucket.store.put_opts(&location.path, payload, options);
    let Err(error) = bucket.wait(put) else {
        return Ok(());
    };
    if ends_with(location, bytes.len() as u64, &bytes).unwrap_or(false) {
        return Ok(());
    }
    Err(error)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an object of one part without a multipart upload, so that the object store itself can
    /// refuse to replace an existing one.
    fn put_whole(&self, last: BTreeMap<u64, Part>) -> io::Result<()> {
        let bytes: Vec<u8> = last.into_values().flat_map(|part| part.bytes).collect();
        let mode = match self.existing {
            Existing::Keep => PutMode::Create,
            Existing::Replace => PutMode::Overwrite,
        };
        let options = PutOptions {
            mode,
            attributes: self.attributes.clone(),
            ..PutOptions::default()
        };
        put(&self.location, bytes, options)
    }

    fn complete(self: &Arc<Self>, id: &MultipartId, last: BTreeMap<u64, Part>) -> io::Result<()> {
        for (number, part) in last {
            self.send(number, part.bytes.into())?;
        }
        let parts = {
            let mut state = self.state();
            while state.under_way > 0 {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            if !state.done.keys().copied().eq(0..state.done.len() as u64) {
                return Err(missing());
            }
            mem::take(&mut state.done).into_values().collect()
        };
        if self.existing == Existing::Keep {
            // The store's own refusal is not to be had for multipart uploads everywhere; this
            // leaves a moment.
            refuse_existing(&self.location)?;
        }
        let bucket = &self.location.bucket;
        let completed = bucket
            .multipart
            .complete_multipart(&self.location.path, id, parts);
        let Err(error) = bucket.wait(completed) else {
            return Ok(());
        };
        let (len, end) = {
            let state = self.state();
            (state.end, state.last.1.clone())
        };
        if ends_with(&self.location, len, &end).unwrap_or(false) {
            return Ok(());
        }
        Err(error)
    }

    /// Sends a part in the background, after waiting while too many are in progress.
    fn send(self: &Arc<Self>, number: u64, bytes: Bytes) -> io::Result<()> {
        let id = {
            let mut state = self.state();
            while state.under_way >= UNDER_WAY && state.failed.is_none() {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(error) = state.failed.take() {
                // Keep a copy for the next caller, as far as an error can be copied.
                state.failed = Some(io::Error::new(error.kind(), error.to_string()));
                return Err(error);
            }
            if state.id.is_none() {
                let bucket = &self.location.bucket;
                let options = PutMultipartOptions {
                    attributes: self.attributes.clone(),
                    ..PutMultipartOptions::default()
                };
                let created = start(bucket, &self.location.path, options);
                state.id = Some(bucket.wait(created)?);
            }
            state.under_way = state.under_way.saturating_add(1);
            if number >= state.last.0 {
                state.last = (number, bytes.clone());
            }
            state.id.clone().unwrap_or_default()
        };
        let inner = Arc::clone(self);
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        drop(self.location.bucket.handle.spawn(async move {
            let payload = PutPayload::from(bytes);
            let location = &inner.location;
            let put = location
                .bucket
                .multipart
                .put_part(&location.path, &id, index, payload);
            // A waiting thread must get a result, even if a library panics.
            let put = AssertUnwindSafe(put).catch_unwind().await;
            let put = match put {
                Ok(put) => put.map_err(io_error),
                Err(_) => Err(io::Error::other("a request panicked")),
            };
            let mut state = inner.state();
            state.under_way = state.under_way.saturating_sub(1);
            match put {
                Ok(part) => _ = state.done.insert(number, part),
                Err(error) => _ = state.failed.get_or_insert(error),
            }
            drop(state);
            inner.changed.notify_all();
        }));
        Ok(())
    }

    /// Copies bytes into their part, and returns the part when it is full.
    fn fill(&self, number: u64, skip: u64, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        if state.done.contains_key(&number) {
            return Err(io::Error::other("a part of the object was written twice"));
        }
        let part = state.open.entry(number).or_default();
        let start = usize::try_from(skip).map_err(io::Error::other)?;
        let end = start.saturating_add(bytes.len());
        if part.bytes.capacity() == 0 && self.part_len > end as u64 {
            // Allocate once: most parts are filled completely.
            part.bytes
                .reserve_exact(usize::try_from(self.part_len).unwrap_or(end));
        }
        if part.bytes.len() < end {
            part.bytes.resize(end, 0);
        }
        let slot = part.bytes.get_mut(start..end);
        slot.ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(bytes);
        part.filled = part.filled.saturating_add(bytes.len() as u64);
        let full = part.filled >= self.part_len;
        let written = number
            .saturating_mul(self.part_len)
            .saturating_add(end as u64);
        state.end = state.end.max(written);
        Ok(full
            .then(|| state.open.remove(&number))
            .flatten()
            .map(|part| part.bytes))
    }
}

/// Writes the object. Every byte must be written exactly once, in roughly ascending order.
impl WriteAt for Upload {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let part_len = self.0.part_len;
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let number = at.checked_div(part_len).unwrap_or(0);
            let skip = at.saturating_sub(number.saturating_mul(part_len));
            let room = part_len.saturating_sub(skip).min(rest.len() as u64);
            let (part, after) = rest.split_at(usize::try_from(room).unwrap_or(rest.len()));
            if let Some(full) = self.0.fill(number, skip, part)? {
                self.0.send(number, full.into())?;
            }
            rest = after;
            at = at.saturating_add(room);
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let inner = &self.0;
        let mut state = inner.state();
        if state.committed {
            return;
        }
        while state.under_way > 0 {
            state = inner
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(id) = state.id.take() {
            drop(state);
            let bucket = &inner.location.bucket;
            // The parts cannot be read; the object store keeps them until its lifecycle rules
            // remove them.
            _ = bucket.wait(bucket.multipart.abort_multipart(&inner.location.path, &id));
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.0.location).finish()
    }
}
