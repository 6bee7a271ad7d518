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

#[cfg(test)]
mod tests {
    use super::*;

    fn check_source(source: &impl ReadAt) {
        assert_eq!(source.byte_len().unwrap(), 5);
        let read = |offset, len| {
            let mut out = vec![0xee; len];
            source.read_exact_at(&mut out, offset).map(|()| out)
        };
        assert_eq!(read(0, 5).unwrap(), b"hello");
        assert_eq!(read(1, 3).unwrap(), b"ell");
        assert_eq!(read(5, 0).unwrap(), b"");
        for (offset, len) in [(0, 6), (4, 2), (5, 1), (6, 1)] {
            let refused = read(offset, len).unwrap_err();
            assert_eq!(
                refused.kind(),
                io::ErrorKind::UnexpectedEof,
                "{offset} {len}"
            );
        }
    }

    #[test]
    fn every_source_reads_the_same_and_ends_where_it_ends() {
        let bytes = b"hello".to_vec();
        check_source(&bytes);
        check_source(&bytes.as_slice());
        check_source(&Box::new(bytes.clone()));
        let source: Source = Box::new(bytes.clone());
        check_source(&source);
        let file = tempfile::tempfile().unwrap();
        WriteAt::write_all_at(&file, &bytes, 0).unwrap();
        check_source(&file);
    }

    #[test]
    fn memory_is_lent_and_files_are_not() {
        let bytes = b"hello".to_vec();
        assert_eq!(bytes.in_memory(1, 3), Some(&b"ell"[..]));
        assert_eq!(bytes.as_slice().in_memory(0, 5), Some(&b"hello"[..]));
        assert_eq!((&&bytes).in_memory(5, 0), Some(&b""[..]));
        for (offset, len) in [(0, 6), (6, 0), (u64::MAX, 1), (1, usize::MAX)] {
            assert_eq!(bytes.in_memory(offset, len), None, "{offset} {len}");
        }
        let source: Source = Box::new(bytes);
        assert_eq!(source.in_memory(0, 1), Some(&b"h"[..]));
        assert_eq!(tempfile::tempfile().unwrap().in_memory(0, 0), None);
    }

    #[test]
    fn a_sink_in_memory_grows_and_is_filled_in_any_order() {
        let sink = Mutex::new(Vec::new());
        sink.write_all_at(b"lo", 3).unwrap();
        assert_eq!(*sink.lock().unwrap(), b"\0\0\0lo");
        sink.write_all_at(b"hel", 0).unwrap();
        sink.write_all_at(b"", 2).unwrap();
        assert_eq!(sink.into_inner().unwrap(), b"hello");
        let sink = Mutex::new(Vec::new());
        let refused = sink.write_all_at(b"x", u64::MAX).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(sink.lock().unwrap().is_empty());
    }

    #[test]
    fn a_file_is_cut_and_extended() {
        let file = tempfile::tempfile().unwrap();
        WriteAt::write_all_at(&file, b"hello", 0).unwrap();
        file.set_byte_len(2).unwrap();
        file.flush_to_storage().unwrap();
        assert_eq!(file.byte_len().unwrap(), 2);
        file.set_byte_len(3).unwrap();
        let mut read = [1; 3];
        ReadAt::read_exact_at(&file, &mut read, 0).unwrap();
        assert_eq!(&read, b"he\0");
    }
}
