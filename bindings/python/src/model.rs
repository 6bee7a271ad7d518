//! Headers of model files, and what pickles would import.

use std::collections::BTreeMap;

use casemate_models::{Pickle, SafetensorsHeader, scan_pickle as scan};
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

/// What a pickle would import and call if somebody loaded it.
#[pyclass(frozen, module = "casemate.torch")]
pub(crate) struct PickleScan(Pickle);

#[pymethods]
impl PickleScan {
    /// Names it would import, each `module name`.
    #[getter]
    fn imports(&self) -> Vec<&str> {
        self.0.imports.iter().map(String::as_str).collect()
    }

    /// Those of them that weights do not need.
    #[getter]
    fn suspicious(&self) -> Vec<&str> {
        self.0.suspicious().collect()
    }

    /// Whether a name is made while it runs, so that `imports` may be incomplete.
    #[getter]
    const fn computed_names(&self) -> bool {
        self.0.computed_names
    }

    /// Whether something follows that was not looked at.
    #[getter]
    const fn unread(&self) -> bool {
        self.0.unread
    }

    /// Whether loading it without `weights_only` could run somebody's code.
    #[getter]
    fn dangerous(&self) -> bool {
        self.0.is_dangerous()
    }

    fn __repr__(&self) -> String {
        let suspicious: Vec<_> = self.0.suspicious().collect();
        let dangerous = if self.0.is_dangerous() {
            "True"
        } else {
            "False"
        };
        format!("PickleScan(dangerous={dangerous}, suspicious={suspicious:?})")
    }
}

/// List what a pickle would import and call, without importing or calling anything. Raises `ValueError` for bytes that are no pickle.
#[pyfunction]
pub(crate) fn scan_pickle(py: Python<'_>, data: Vec<u8>) -> PyResult<PickleScan> {
    let found = py.detach(|| scan(&data));
    found
        .map(PickleScan)
        .map_err(|error| PyValueError::new_err(chain(&error)))
}
