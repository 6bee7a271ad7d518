//! Pages that are neither swapped nor dumped. The only unsafe code of this crate; see `SAFETY.md`.
#![expect(unsafe_code, reason = "SAFETY.md")]

use std::{ptr, slice};

use rustix::{
    io::{self, Errno},
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous},
    param::page_size,
};

/// Least bytes of a mapping: small, because many systems let a user lock 64 KiB only.
const MAPPING_BYTES: usize = 16 * 1024;

/// New pages, and why they could not be locked, if they could not.
pub(crate) fn map() -> io::Result<(&'static mut [u8], Option<Errno>)> {
    let len = MAPPING_BYTES.max(page_size());
    // SAFETY: with no address asked for, the mapping is new (point 1).
    let start = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }?;
    // Secrets that would be in a core dump are worse than none in these pages.
    // SAFETY: it is the mapping just made, whole (point 3).
    unsafe { madvise(start, len, Advice::LinuxDontDump) }?;
    // SAFETY: it is the mapping just made, whole (point 3).
    let locked = unsafe { mlock(start, len) };
    // SAFETY: zeros of the mapping's length, which is never unmapped and of which this is the only reference (points 1 and 2).
    let bytes = unsafe { slice::from_raw_parts_mut(start.cast::<u8>(), len) };
    Ok((bytes, locked.err()))
}
