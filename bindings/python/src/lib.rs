//! The Python module `casemate._casemate`: artifacts, folders, keys and training
//! channels. Users import the Python layer above it.
//!
//! Every call that encrypts, decrypts, hashes or unlocks releases the interpreter.
#![expect(clippy::disallowed_methods, reason = "a program reads the clock")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "Python passes arguments by value, and map_err passes errors by value"
)]
#![expect(
    clippy::unused_self,
    reason = "Python calls these methods on an object"
)]

mod artifact;
mod error;
mod folder;
mod hybrid;
mod judge;
mod keys;
mod memory;
mod model;
mod read;
mod rewrap;
mod seal;
mod signed;
mod source;
mod train;
mod trust;

use std::path::PathBuf;

use casemate_crypto::encoding::KEY_FILE_BYTES_MAX;
use casemate_environment::without_line_end;
use pyo3::{prelude::*, types::PyBytes};

/// Read a file that opens a key store; a file that others can read is refused.
#[pyfunction]
fn read_passphrase(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = casemate_environment::read_secret(&path, KEY_FILE_BYTES_MAX)
        .map_err(error::from_environment)?;
    Ok(PyBytes::new(py, without_line_end(bytes.expose())))
}

/// The compiled part of the package `casemate`.
#[pymodule]
mod _casemate {
    #[pymodule_export]
    use super::artifact::{Artifact, Opened};
    #[pymodule_export]
    use super::error::{CasemateError, KeyStoreError, NotARecipientError, VerificationError};
    #[pymodule_export]
    use super::folder::Folder;
    #[pymodule_export]
    use super::hybrid::{decapsulate, encapsulate, sign, verify};
    #[pymodule_export]
    use super::keys::{KeyStore, PrivateKey, PublicKey};
    #[pymodule_export]
    use super::memory::MemoryFolder;
    #[pymodule_export]
    use super::model::{PickleScan, safetensors_header, scan_pickle};
    #[pymodule_export]
    use super::read_passphrase;
    #[pymodule_export]
    use super::rewrap::{rewrap_file, rewrap_folder};
    #[pymodule_export]
    use super::seal::{seal, seal_folder};
    #[pymodule_export]
    use super::signed::{ModelSignature, SignedContent, SignedModel, sign_model};
    #[pymodule_export]
    use super::train::{
        Accountant, Aggregate, AggregationClient, AggregationFloors, AggregationPolicy,
        AggregationRound, AggregationServer,
    };
    #[pymodule_export]
    use super::train::{Channel, Initiator, Responder, Roster, sign_roster};
    #[pymodule_export]
    use super::train::{
        MaskedReduction, MaskedRing, RingConfirmation, RingMasker, RingRendezvous, RingUnmasker,
    };
    #[pymodule_export]
    use super::trust::TrustList;
    use super::{Bound, PyModule, PyModuleMethods as _, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
