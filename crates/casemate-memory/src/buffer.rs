//! Reusable segment buffers: getting new pages from the system costs more than all the
//! cryptography.

use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::Mutex,
};

use zeroize::Zeroize;

/// Maximum number of spare buffers in the process.
const SPARE_MAX: usize = 8;
/// Maximum length of a spare buffer, in bytes. Longer ones are freed.
const SPARE_BYTES_MAX: usize = (1 << 20) + 4096;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A byte buffer that is wiped on drop. A new buffer has zeros of unspecified length.
pub struct Buffer(Vec<u8>);

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buffer(..)")
    }
}

impl Default for Buffer {
    fn default() -> Self {
        // Never wait for another thread: it might not exist after a fork.
        let spare = SPARE.try_lock().ok().and_then(|mut spare| spare.pop());
        Self(spare.unwrap_or_default())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0);
        // Wipe the whole capacity, including remains after a shorter segment, and as a slice: a
        // vector is wiped byte by byte.
        bytes.resize(bytes.capacity(), 0);
        bytes.as_mut_slice().zeroize();
        if (1..=SPARE_BYTES_MAX).contains(&bytes.capacity())
            && let Ok(mut spare) = SPARE.try_lock()
            && spare.len() < SPARE_MAX
        {
            spare.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_wiped_and_not_without_bound() {
        let mut first = Buffer::default();
        first.resize(1 << 20, 7);
        drop(first);
        let again: Vec<_> = (0..=SPARE_MAX).map(|_| Buffer::default()).collect();
        let mut found = again.iter().filter(|buffer| buffer.capacity() >= 1 << 20);
        assert!(
            found
                .next()
                .is_some_and(|buffer| buffer.iter().all(|byte| *byte == 0))
        );
        drop(again);
        let many = (0..2 * SPARE_MAX).map(|_| {
            let mut buffer = Buffer::default();
            buffer.resize(1000, 7);
            buffer
        });
        drop(many.collect::<Vec<_>>());
        let mut longer = Buffer::default();
        longer.resize(SPARE_BYTES_MAX + 1, 7);
        drop(longer);
        let spare = SPARE.lock().unwrap();
        assert!(spare.len() <= SPARE_MAX);
        assert!(
            spare
                .iter()
                .all(|bytes| bytes.capacity() <= SPARE_BYTES_MAX)
        );
    }
}
