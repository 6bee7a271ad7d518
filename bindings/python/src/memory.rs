//! Folders in memory, for plaintext that other libraries read from files.

use std::{ffi::OsString, mem, path::PathBuf, process, sync::Mutex};

use casemate_seal::scratch::{Naming, ScratchFolder, remove_abandoned};
use pyo3::prelude::*;

use crate::{
    error::{CasemateError, from_environment},
    source::with_path,
};

/// A folder in memory that only this user can enter. It is removed at the end of a `with`
/// statement, or by the next program that makes one if this process is killed.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct MemoryFolder {
    folder: Mutex<Option<ScratchFolder>>,
    path: PathBuf,
    /// A forked process has a copy, which is not its own to remove.
    owner: u32,
}

#[pymethods]
impl MemoryFolder {
    /// Make a folder with room for `size` bytes.
    #[new]
    fn new(py: Python<'_>, size: u64) -> PyResult<Self> {
        let parent = casemate_environment::memory_folder(None, size).map_err(from_environment)?;
        let naming = Naming {
            prefix: OsString::from("casemate-python-"),
            suffix: "",
        };
        let made = py.detach(|| {
            remove_abandoned(&parent, &naming, &|_| true);
            ScratchFolder::create(&parent, &naming)
        });
        let folder = made.map_err(|error| with_path(error, &parent))?;
        Ok(Self {
            path: folder.path().to_owned(),
            folder: Mutex::new(Some(folder)),
            owner: process::id(),
        })
    }

    /// Return the path.
    fn __enter__(&self) -> PathBuf {
        self.path.clone()
    }

    /// Remove the folder with everything in it.
    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        let broken = |_| CasemateError::new_err("another thread failed while it used the folder");
        let Some(folder) = self.folder.lock().map_err(broken)?.take() else {
            return Ok(());
        };
        if process::id() != self.owner {
            mem::forget(folder);
            return Ok(());
        }
        py.detach(|| folder.remove())
            .map_err(|error| with_path(error, &self.path))
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        if process::id() != self.owner
            && let Ok(mut folder) = self.folder.lock()
        {
            mem::forget(folder.take());
        }
    }
}
