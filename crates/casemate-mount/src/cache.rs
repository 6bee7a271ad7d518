//! A cache of recently read segments.
//!
//! The kernel requests about 128 KiB at a time, a segment has a mebibyte, and several requests for
//! one segment come at once. So each segment is read and verified once, and kept until others
//! replace it.

use std::{
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// A segment, or `None` while the first reader loads it or if loading failed.
type Slot<C> = Arc<Mutex<Option<Arc<C>>>>;

/// Returns the number of threads that answer requests.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The most recent segments of all files.
pub(crate) struct Cache<C> {
    /// Slots, the most recent last.
    slots: Mutex<Vec<Kept<C>>>,
    /// Total capacity, in bytes.
    capacity: u64,
}

struct Kept<C> {
    file: usize,
    segment: u64,
    bytes: u64,
    slot: Slot<C>,
}

impl<C> Cache<C> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::default(),
            // Two read-ahead streams per thread, in segments of the usual size.
            capacity: (threads() as u64)
                .saturating_mul(4)
                .max(8)
                .saturating_mul(1 << 20),
        }
    }

    /// Returns the content of a segment of at most `bytes`. Of several concurrent callers, only one
    /// calls `read`.
    pub(crate) fn get<E>(
        &self,
        (file, segment): (usize, u64),
        bytes: u64,
        read: impl FnOnce() -> Result<C, E>,
    ) -> Result<Arc<C>, E> {
        let slot = self.slot(file, segment, bytes);
        let mut content = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = &*content {
            return Ok(Arc::clone(content));
        }
        let fresh = Arc::new(read()?);
        *content = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Returns whether a segment was requested recently.
    pub(crate) fn has(&self, file: usize, segment: u64) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().any(|kept| kept.is(file, segment))
    }

    fn slot(&self, file: usize, segment: u64, bytes: u64) -> Slot<C> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|kept| kept.is(file, segment));
        let slot = match known {
            Some(at) => slots.remove(at).slot,
            None => Slot::default(),
        };
        let sum = |slots: &[Kept<C>]| {
            slots
                .iter()
                .map(|kept| kept.bytes)
                .fold(bytes, u64::saturating_add)
        };
        // Keep the requested segment, regardless of its length.
        while !slots.is_empty() && sum(&slots) > self.capacity {
            slots.remove(0);
        }
        slots.push(Kept {
            file,
            segment,
            bytes,
            slot: Arc::clone(&slot),
        });
        slot
    }
}

impl<C> Kept<C> {
    fn is(&self, file: usize, segment: u64) -> bool {
        (self.file, self.segment) == (file, segment)
    }
}

/// Recently used files. Each has a descriptor, a lock and its segment hashes, so a view of many
/// files cannot keep all of them open.
pub(crate) struct Recent<T: ?Sized> {
    /// File numbers and open files, the most recent last.
    entries: Mutex<Vec<(usize, Arc<T>)>>,
}

/// Maximum number of files that stay open, far below the usual limit of 1,024 descriptors.
const OPEN_FILES: usize = 128;

impl<T: ?Sized> Recent<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }

    /// Returns an open file; calls `open` if it was not used recently.
    pub(crate) fn get<E>(
        &self,
        file: usize,
        open: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = entries.iter().position(|(known, _)| *known == file) {
            let entry = entries.remove(at);
            let found = Arc::clone(&entry.1);
            entries.push(entry);
            return Ok(found);
        }
        drop(entries);
        // Open it outside the lock: verifying takes a while, and it is harmless if two readers open
        // it.
        let fresh = open()?;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= OPEN_FILES {
            entries.remove(0);
        }
        entries.push((file, Arc::clone(&fresh)));
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Cache<u8>, file: usize, segment: u64, byte: u8) -> Arc<u8> {
        cache
            .get((file, segment), 1 << 20, || Ok::<_, ()>(byte))
            .unwrap()
    }

    #[test]
    fn a_segment_is_read_once_until_others_push_it_out() {
        let cache = Cache::new();
        let first = get(&cache, 0, 0, 7);
        let again = cache.get((0, 0), 1 << 20, || -> Result<_, ()> {
            panic!("read twice")
        });
        assert!(Arc::ptr_eq(&first, &again.unwrap()));
        assert_eq!(*get(&cache, 1, 0, 8), 8);
        for segment in 1..100 {
            get(&cache, 0, segment, 0);
        }
        assert_eq!(*get(&cache, 0, 0, 9), 9);
        let kept = cache.slots.lock().unwrap().len() as u64;
        assert!(kept * (1 << 20) <= cache.capacity);
        // A long segment takes the space of many.
        cache.get((0, 7), 64 << 20, || Ok::<_, ()>(1)).unwrap();
        assert_eq!(cache.slots.lock().unwrap().len(), 1);
    }

    #[test]
    fn few_files_stay_open() {
        let recent = Recent::new();
        for file in 0..1000 {
            recent.get(file, || Ok::<_, ()>(Arc::new(file))).unwrap();
        }
        assert_eq!(recent.entries.lock().unwrap().len(), OPEN_FILES);
        let again = recent.get(999, || Err("opened again"));
        assert_eq!(*again.unwrap(), 999);
        assert_eq!(recent.get(0, || Err("opened again")), Err("opened again"));
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = Cache::new();
        assert_eq!(
            cache.get((0, 0), 1 << 20, || Err("damaged")),
            Err("damaged")
        );
        assert_eq!(*get(&cache, 0, 0, 7), 7);
    }
}
