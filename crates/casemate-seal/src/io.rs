//! Reading and writing at an offset.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Mutex};

/// A source of bytes that several threads can read at any offset.
pub trait ReadAt: Send + Sync {
    /// Fills `out` from `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the source ends early, or the error of the source.
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the length, in bytes.
    ///
    /// # Errors
    ///
    /// The error of the source.
    fn byte_len(&self) -> io::Result<u64>;

    /// Returns the `len` bytes at `offset` without a copy, if they are contiguous in memory.
    fn in_memory(&self, _offset: u64, _len: usize) -> Option<&[u8]> {
        None
    }

    /// Announces that all of `range` will be read soon, roughly in order and each byte once, so
    /// that remote sources can fetch ahead.
    fn will_read(&self, _range: Range<u64>) {}
}

/// A source of any kind, such as a file or an object in an object store.
pub type Source = Box<dyn ReadAt>;

/// A sink of bytes that several threads can write at any offset.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// The error of the sink.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// A file that is changed in place and must survive a crash at any instant.
pub trait Durable: ReadAt + WriteAt {
    /// Flushes everything written to stable storage.
    ///
    /// # Errors
    ///
    /// The system's error; writes may then be lost.
    fn flush_to_storage(&self) -> io::Result<()>;

    /// Truncates or extends to `len` bytes atomically.
    ///
    /// # Errors
    ///
    /// The system's error.
    fn set_byte_len(&self, len: u64) -> io::Result<()>;
}

impl Durable for File {
    fn flush_to_storage(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn set_byte_len(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl WriteAt for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let found = self.in_memory(offset, out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn in_memory(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.get(start..start.checked_add(len)?)
    }

    fn byte_len(&self) -> io::Result<u64> {
        u64::try_from(self.len()).map_err(io::Error::other)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(out, offset)
    }

    fn in_memory(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.as_slice().in_memory(offset, len)
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.as_slice().byte_len()
    }
}

/// Grows as needed; for small artifacts in memory and for tests.
impl WriteAt for Mutex<Vec<u8>> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut buffer = self
            .lock()
            .map_err(|_| io::Error::other("another writer panicked"))?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start
            .checked_add(bytes.len())
            .ok_or(io::ErrorKind::InvalidInput)?;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        buffer
            .get_mut(start..end)
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(bytes);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(out, offset)
    }

    fn in_memory(&self, offset: u64, len: usize) -> Option<&[u8]> {
        (**self).in_memory(offset, len)
    }

    fn byte_len(&self) -> io::Result<u64> {
        (**self).byte_len()
    }

    fn will_read(&self, range: Range<u64>) {
        (**self).will_read(range);
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(out, offset)
    }

    fn in_memory(&self, offset: u64, len: usize) -> Option<&[u8]> {
        (**self).in_memory(offset, len)
    }

    fn byte_len(&self) -> io::Result<u64> {
        (**self).byte_len()
    }

    fn will_read(&self, range: Range<u64>) {
        (**self).will_read(range);
    }
}
