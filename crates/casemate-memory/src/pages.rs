//! Pages that are neither swapped nor dumped. This is the only unsafe code in this crate; see
//! `SAFETY.md`.
#![expect(unsafe_code, reason = "SAFETY.md")]

use std::{ptr, slice};

use rustix::{
    io::{self, Errno},
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous},
    param::page_size,
};

/// Minimum length of a mapping, in bytes; small, because many systems let a user lock only 64 KiB.
const MAPPING_BYTES: usize = 16 * 1024;

/// Maps new pages, and returns the error if they could not be locked.
pub(crate) fn map() -> io::Result<(&'static mut [u8], Option<Errno>)> {
    let len = MAPPING_BYTES.max(page_size());
    // SAFETY: no address is requested, so the mapping is new (point 1).
    let start = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }?;
    // Fail rather than keep secrets in pages that could be in a core dump.
    // SAFETY: this is the whole mapping just created (point 3).
    unsafe { madvise(start, len, Advice::LinuxDontDump) }?;
    // SAFETY: this is the whole mapping just created (point 3).
    let locked = unsafe { mlock(start, len) };
    // SAFETY: the mapping is zeroed, has this length and is never unmapped, and this is the only
    // reference to it (points 1 and 2).
    let bytes = unsafe { slice::from_raw_parts_mut(start.cast::<u8>(), len) };
    Ok((bytes, locked.err()))
}
