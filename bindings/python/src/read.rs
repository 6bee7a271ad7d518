//! Reads at an offset, as Python asks for them.

use numpy::{PyArray1, PyArrayMethods as _, PyReadwriteArray1, PyUntypedArrayMethods as _};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::error::CasemateError;

/// Up to `length` bytes from `offset` of content that has `size`; fewer only at the end. `read` runs without the interpreter.
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
        // Also from after the end, as any file has it.
        return Ok(PyBytes::new(py, b""));
    }
    PyBytes::new_with(py, length, |out| py.detach(|| read(out)))
}

/// A new array of `length` bytes from `offset` of content that has `size`. `read` runs without the interpreter, and nobody else has the array until it is done.
pub(crate) fn array(
    py: Python<'_>,
    size: u64,
    offset: u64,
    length: usize,
    read: impl FnOnce(&mut [u8]) -> PyResult<()> + Send,
) -> PyResult<Bound<'_, PyArray1<u8>>> {
    if offset.saturating_add(length as u64) > size {
        return Err(PyValueError::new_err("the range reaches past the end"));
    }
    let array = PyArray1::zeros(py, length, false);
    into(py, size, offset, array.readwrite(), read)?;
    Ok(array)
}

/// Fills an array from `offset` of content that has `size`. `read` runs without the interpreter.
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
        return Err(PyValueError::new_err("the array reaches past the end"));
    }
    let slice = out
        .as_slice_mut()
        .map_err(|_| CasemateError::new_err("the array cannot be written"))?;
    py.detach(|| read(slice))
}
