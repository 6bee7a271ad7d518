//! Headers of model files.

use std::collections::BTreeMap;

use casemate_models::SafetensorsHeader;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::error::chain;

/// Name, type, shape, and where the data start and end.
type Row = (String, String, Vec<u64>, u64, u64);

/// Read the JSON header of a safetensors file that `data_len` bytes of data follow: its tensors in the order of their data, and its metadata.
#[pyfunction]
pub(crate) fn safetensors_header(
    py: Python<'_>,
    json: &[u8],
    data_len: u64,
) -> PyResult<(Vec<Row>, BTreeMap<String, String>)> {
    let header = py.detach(|| SafetensorsHeader::parse(json, data_len));
    let header = header.map_err(|error| PyValueError::new_err(chain(&error)))?;
    let rows = header.tensors.into_iter().map(|tensor| {
        let range = tensor.range;
        (
            tensor.name,
            tensor.dtype,
            tensor.shape,
            range.start,
            range.end,
        )
    });
    Ok((rows.collect(), header.metadata))
}
