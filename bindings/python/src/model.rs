//! Headers of model files, and imports of pickles.

use std::collections::BTreeMap;

use casemate_models::{
    Format, ModelError, Pickle, SafetensorsHeader, read_model, scan_pickle as scan,
};
use pyo3::{exceptions::PyValueError, prelude::*, pybacked::PyBackedBytes};

use crate::error::chain;

/// Name, type, shape, and start and end of the data.
type Row = (String, String, Vec<u64>, u64, u64);

/// Read the JSON header of a safetensors file with `data_len` bytes of data. Returns the tensors in
/// the order of their data, and the metadata.
#[pyfunction]
pub(crate) fn safetensors_header(
    py: Python<'_>,
    json: &[u8],
    data_len: u64,
) -> PyResult<(Vec<Row>, BTreeMap<String, String>)> {
    let header = py
        .detach(|| SafetensorsHeader::parse(json, data_len))
        .map_err(|error| PyValueError::new_err(chain(&error)))?;
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

/// What a pickle would import and call when loaded.
#[pyclass(frozen, module = "casemate.torch")]
pub(crate) struct PickleScan(Pickle);

#[pymethods]
impl PickleScan {
    /// The names it would import, each as `module name`.
    #[getter]
    fn imports(&self) -> Vec<&str> {
        self.0.imports.iter().map(String::as_str).collect()
    }

    /// The imported names that weights do not need.
    #[getter]
    fn suspicious(&self) -> Vec<&str> {
        self.0.suspicious().collect()
    }

    /// Whether a name is computed while it runs, so that `imports` may be incomplete.
    #[getter]
    const fn computed_names(&self) -> bool {
        self.0.computed_names
    }

    /// Whether a part of it was not scanned.
    #[getter]
    const fn unread(&self) -> bool {
        self.0.unread
    }

    /// Whether loading it without `weights_only` could run arbitrary code.
    #[getter]
    fn dangerous(&self) -> bool {
        self.0.is_dangerous()
    }

    fn __repr__(&self) -> String {
        let suspicious: Vec<_> = self.0.suspicious().collect();
        let text = |is: bool| if is { "True" } else { "False" };
        format!(
            "PickleScan(dangerous={}, suspicious={suspicious:?}, computed_names={}, unread={})",
            text(self.0.is_dangerous()),
            text(self.0.computed_names),
            text(self.0.unread)
        )
    }
}

/// List what a pickle would import and call, without importing or calling anything.
///
/// `data` is a pickle, or a file written by `torch.save`, of which every pickle is scanned. Raises
/// `ValueError` for other bytes.
#[pyfunction]
pub(crate) fn scan_pickle(py: Python<'_>, data: PyBackedBytes) -> PyResult<PickleScan> {
    let found = py
        .detach(|| all_pickles(&data))
        .map_err(|error| PyValueError::new_err(chain(&error)))?;
    Ok(PickleScan(found))
}

fn all_pickles(data: &[u8]) -> Result<Pickle, ModelError> {
    let model = match read_model(&data) {
        // A plain pickle reports its own errors.
        Ok(Some(model)) if matches!(model.format, Format::PyTorch | Format::TorchScript) => model,
        Err(error) if data.starts_with(b"PK") => return Err(error),
        _ => return scan(&data),
    };
    let mut all = Pickle::default();
    for (_, pickle) in model.pickles {
        all.computed_names |= pickle.computed_names;
        all.unread |= pickle.unread;
        all.is_script |= pickle.is_script;
        all.imports.extend(pickle.imports);
    }
    Ok(all)
}
