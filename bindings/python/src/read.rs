//! Reads at an offset, for Python.

use numpy::{PyArray1, PyArrayMethods as _, PyReadwriteArray1, PyUntypedArrayMethods as _};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::error::CasemateError;

/// Returns up to `length` bytes from `offset` of content of `size` bytes; fewer only at the end.
/// `read` runs without the interpreter lock.
pub(crate) fn bytes(
    py: Python<'_>,
    size: u64,
    offset: u64,
    length: usize,
    read: impl FnOnce(&mut [u8]) -> PyResult<()> + Send,
) -> PyResult<Bound<'_, PyBytes>> {
    let rest = size.saturating_sub(offset);
    let length = usize::try_from(rest).unwrap_or(usize::MAX).min(length);
    if length == 0 {
        // Also past the end, like any file.
        return Ok(PyBytes::new(py, b""));
    }
    PyBytes::new_with(py, length, |out| py.detach(|| read(out)))
}

/// Returns a new array of `length` bytes from `offset` of content of `size` bytes. `read` runs
/// without the interpreter lock; the array is not shared until it is filled.
pub(crate) fn array(
    py: Python<'_>,
    size: u64,
    offset: u64,
    length: usize,
    read: impl FnOnce(&mut [u8]) -> PyResult<()> + Send,
) -> PyResult<Bound<'_, PyArray1<u8>>> {
    if offset.saturating_add(length as u64) > size {
        return Err(PyValueError::new_err("the range extends past the end"));
    }
    let array = PyArray1::zeros(py, length, false);
    into(py, size, offset, array.readwrite(), read)?;
    Ok(array)
}

/// Fills an array from `offset` of content of `size` bytes. `read` runs without the interpreter
/// lock.
pub(crate) fn into(
    py: Python<'_>,
    size: u64,
    offset: u64,
    mut out: PyReadwriteArray1<'_, u8>,
    read: impl FnOnce(&mut [u8]) -> PyResult<()> + Send,
) -> PyResult<()> {
    if !out.is_c_contiguous() {
        return Err(PyValueError::new_err("the array is not contiguous"));
    }
    if offset.saturating_add(out.len() as u64) > size {
        return Err(PyValueError::new_err("the array extends past the end"));
    }
    let slice = out
        .as_slice_mut()
        .map_err(|_| CasemateError::new_err("the array is not writable"))?;
    py.detach(|| read(slice))
}
