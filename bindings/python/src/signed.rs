//! Models that are signed but not sealed.

use std::path::PathBuf;

use casemate_crypto::signature::VerifyingKey;
use casemate_environment::Signed;
use casemate_oms::{
    BUNDLE_BYTES_MAX, CheckedFile, ModelSignature as Signature, SignedModel as Model, Signing,
    Trusted, path_inside,
};
use casemate_seal::file::{self, Access, Existing};
use numpy::{PyArray1, PyReadwriteArray1};
use pyo3::{exceptions::PyKeyError, prelude::*, types::PyBytes};

use crate::{
    error::{CasemateError, from_environment, from_oms, from_signing},
    keys::{PrivateKey, PublicKey},
    read,
    source::with_path,
};

/// Sign the model at `model`, a file or a folder, without the paths in `ignore`, and write the
/// signature to `signature`.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "named in Python")]
#[pyo3(signature = (model, signature, sign, *, ignore, follow_links, policy, force))]
pub(crate) fn sign_model(
    py: Python<'_>,
    model: PathBuf,
    signature: PathBuf,
    sign: &PrivateKey,
    ignore: Vec<PathBuf>,
    follow_links: bool,
    policy: Option<&str>,
    force: bool,
) -> PyResult<()> {
    let policy = casemate_environment::policy(policy).map_err(from_environment)?;
    let signer = sign.signer()?;
    crate::keys::check(&policy, &[], Some(signer.verifying_key()))?;
    let signing = Signing {
        signer: Some(signer),
        classical: None,
        ignore: &ignore,
        output: Some(&signature),
        follow_links,
        segment_hash: policy.hash(),
    };
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    py.detach(|| casemate_oms::check_output(&signature, force))
        .map_err(from_signing)?;
    let bundle = py
        .detach(|| casemate_oms::sign(&model, &signing, &|_| ()))
        .map_err(from_signing)?;
    py.detach(|| file::write(&signature, &bundle, Access::Umask, existing))
        .map_err(|error| with_path(error, &signature))
}

/// A detached signature that was read but not verified.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct ModelSignature {
    signature: Signature,
    path: PathBuf,
}

#[pymethods]
impl ModelSignature {
    /// Read a signature file.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let found = std::fs::metadata(&path).map_err(|error| with_path(error, &path))?;
        if !found.is_file() {
            // Opening a planted pipe would block forever.
            let message = format!("{} is not a regular file", path.display());
            return Err(CasemateError::new_err(message));
        }
        let bytes = py
            .detach(|| casemate_environment::read_limited(&path, BUNDLE_BYTES_MAX))
            .map_err(from_environment)?;
        let signature = py
            .detach(|| Signature::decode(bytes.expose()))
            .map_err(from_oms)?;
        Ok(Self { signature, path })
    }

    /// Ids of the keys that it names as signers, not verified.
    #[getter]
    fn signers(&self) -> Vec<String> {
        self.signature.signers().map(str::to_owned).collect()
    }

    /// Verify the signature by `signer`, without checking the model.
    fn verify(&self, py: Python<'_>, signer: &PublicKey, policy: Option<&str>) -> PyResult<()> {
        let key = self.checked(py, signer, policy)?;
        py.detach(|| self.signature.verify_signer(key))
            .map_err(from_oms)
    }

    /// Open the model at `path`, signed by `signer`. Its files are checked as they are read.
    /// Unsigned files below `ignore` are skipped.
    fn open(
        &self,
        py: Python<'_>,
        path: PathBuf,
        signer: &PublicKey,
        mut ignore: Vec<PathBuf>,
        policy: Option<&str>,
    ) -> PyResult<SignedModel> {
        let key = self.checked(py, signer, policy)?;
        let trusted = Trusted {
            signer: Some(key),
            classical: None,
        };
        ignore.extend(path_inside(&self.path, &path));
        let model = py.detach(|| self.signature.open(&path, &ignore, &trusted));
        model.map(SignedModel).map_err(from_oms)
    }
}

impl ModelSignature {
    /// Returns the key of a signer that is valid for this signature and that the policy allows.
    fn checked<'k>(
        &self,
        py: Python<'_>,
        signer: &'k PublicKey,
        policy: Option<&str>,
    ) -> PyResult<&'k VerifyingKey> {
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let digest = py.detach(|| self.signature.message_digest());
        let key = signer.verifier_for(&Signed { date: None, digest })?;
        crate::keys::check(&policy, &[], Some(key))?;
        Ok(key)
    }
}

/// A signed model whose file names were compared with the signature.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct SignedModel(Model);

#[pymethods]
impl SignedModel {
    /// The publisher's name for the model; never use it as a path.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Names and lengths of the files, sorted.
    #[getter]
    fn files(&self) -> Vec<(String, u64)> {
        let files = self.0.files().iter();
        files
            .map(|file| (file.name().to_owned(), file.content_len()))
            .collect()
    }

    /// Open one file.
    fn open_file(&self, py: Python<'_>, path: &str) -> PyResult<SignedContent> {
        let file = self
            .0
            .find(path)
            .ok_or_else(|| PyKeyError::new_err(path.to_owned()))?;
        let opened = py.detach(|| file.open());
        opened.map(SignedContent).map_err(from_oms)
    }
}

/// A file of a signed model. A read checks the segments it needs, and any number of threads may
/// read concurrently.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct SignedContent(CheckedFile);

#[pymethods]
impl SignedContent {
    /// Length in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.0.content_len()
    }

    /// Whether the publisher's signature was verified.
    #[getter]
    fn origin_checked(&self) -> bool {
        true
    }

    /// Read up to `length` bytes from `offset`; returns fewer only at the end.
    fn read_at<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        read::bytes(py, self.size(), offset, length, |out| {
            self.0.read_at(out, offset).map_err(from_oms)
        })
    }

    /// Fill a one-dimensional `uint8` array from `offset`; the range must not extend past the end.
    fn readinto(
        &self,
        py: Python<'_>,
        offset: u64,
        out: PyReadwriteArray1<'_, u8>,
    ) -> PyResult<()> {
        // Other threads may see the array, so write only checked bytes to it.
        read::into(py, self.size(), offset, out, |out| {
            self.0.copy_at(out, offset).map_err(from_oms)
        })
    }

    /// Read `length` bytes from `offset` into a new array; the range must not extend past the end.
    fn read_array<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        read::array(py, self.size(), offset, length, |out| {
            self.0.read_at(out, offset).map_err(from_oms)
        })
    }

    fn __repr__(&self) -> String {
        format!("<SignedContent {} bytes>", self.0.content_len())
    }
}
