//! Sources of bytes: a local file, a Python object that reads at an offset, or buffers in memory.

use std::{fs::File, io, path::Path};

use casemate_seal::{ReadAt, file};
use pyo3::{
    exceptions::PyEOFError,
    prelude::*,
    types::{PyBytes, PyBytesMethods},
};

/// The bytes of an artifact.
pub(crate) enum Source {
    File(File),
    Python { object: Py<PyAny>, len: u64 },
}

impl Source {
    /// Accepts a path, or an object with `size` and `read_at(offset, length) -> bytes`.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.hasattr("read_at")? {
            let len = object.getattr("size")?.extract()?;
            let object = object.clone().unbind();
            return Ok(Self::Python { object, len });
        }
        let path: std::path::PathBuf = object.extract()?;
        Ok(Self::File(open(object.py(), &path)?))
    }
}

fn open(py: Python<'_>, path: &Path) -> PyResult<File> {
    // The lock may wait for a rewrap to finish.
    py.detach(|| file::open_shared(path))
        .map_err(|error| with_path(error, path))
}

pub(crate) fn with_path(error: io::Error, path: &Path) -> PyErr {
    match error.raw_os_error() {
        Some(code) => {
            let text = io::Error::from_raw_os_error(code).to_string();
            let text = text
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned();
            pyo3::exceptions::PyOSError::new_err((code, text, path.to_path_buf()))
        }
        None if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = format!(
                "{} already exists; pass force=True to replace it",
                path.display()
            );
            pyo3::exceptions::PyFileExistsError::new_err(text)
        }
        None if error.kind() == io::ErrorKind::ResourceBusy => {
            let text = format!("{}: {error}", path.display());
            pyo3::exceptions::PyBlockingIOError::new_err(text)
        }
        None => PyErr::from(error),
    }
}

impl ReadAt for Source {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => ReadAt::read_exact_at(file, out, offset),
            Self::Python { object, .. } => Python::attach(|py| {
                let answer = object.call_method1(py, "read_at", (offset, out.len()))?;
                let found = answer
                    .bind(py)
                    .cast::<PyBytes>()
                    .map_err(PyErr::from)?
                    .as_bytes();
                if found.len() != out.len() {
                    let (got, wanted) = (found.len(), out.len());
                    return Err(PyEOFError::new_err(format!(
                        "the source returned {got} bytes instead of {wanted}"
                    )));
                }
                out.copy_from_slice(found);
                Ok(())
            })
            .map_err(io::Error::from),
        }
    }

    fn byte_len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.byte_len(),
            Self::Python { len, .. } => Ok(*len),
        }
    }
}

/// Buffers that are sealed as one concatenated content.
pub(crate) struct Parts<'a> {
    parts: Vec<(u64, &'a [u8])>,
    len: u64,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(slices: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut len = 0_u64;
        let mut parts = Vec::new();
        for slice in slices {
            if !slice.is_empty() {
                parts.push((len, slice));
                len = len.saturating_add(slice.len() as u64);
            }
        }
        Self { parts, len }
    }
}

impl ReadAt for Parts<'_> {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let first = self.parts.partition_point(|(start, _)| *start <= offset);
        let (mut rest, mut at) = (out, offset);
        for (start, slice) in self.parts.iter().skip(first.saturating_sub(1)) {
            if rest.is_empty() {
                break;
            }
            let skip = usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
            let found = slice.get(skip..).unwrap_or_default();
            let take = found.len().min(rest.len());
            let (to, after) = rest.split_at_mut(take);
            to.copy_from_slice(found.get(..take).unwrap_or_default());
            rest = after;
            at = at.saturating_add(take as u64);
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn in_memory(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let after = self.parts.partition_point(|(start, _)| *start <= offset);
        let (start, slice) = self.parts.get(after.checked_sub(1)?)?;
        slice.in_memory(offset.checked_sub(*start)?, len)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}
