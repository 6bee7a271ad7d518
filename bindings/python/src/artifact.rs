//! Reads and opens artifacts.

use casemate_crypto::{kem::KemPrivateKey, policy::Policy};
use casemate_seal::Origin;
use numpy::{PyArray1, PyReadwriteArray1};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    error::{NotARecipientError, from_environment, from_open, from_policy},
    keys::{PrivateKey, PublicKey},
    read,
    source::Source,
};

/// An artifact that was read but not opened: the parts of it that are public.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct Artifact(casemate_seal::Artifact<casemate_seal::Source>);

#[pymethods]
impl Artifact {
    /// Read an artifact from a path, or from an object with `size` and `read_at(offset, length) ->
    /// bytes`.
    #[staticmethod]
    fn read(source: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = source.py();
        let source: casemate_seal::Source = Box::new(Source::of(source)?);
        let artifact = py.detach(|| casemate_seal::Artifact::read(source));
        artifact.map(Self).map_err(from_open)
    }

    /// The artifact's id: 32 hex digits.
    #[getter]
    fn id(&self) -> String {
        self.0.header().id().to_string()
    }

    /// Root of its segments in hexadecimal: it identifies the content and its encryption.
    #[getter]
    fn root(&self) -> String {
        hex::encode(self.0.root())
    }

    /// Length of the content, in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.0.header().content_len()
    }

    /// Media type of the content.
    #[getter]
    fn content_type(&self) -> String {
        self.0.header().content_type().to_owned()
    }

    /// When it was sealed, in seconds since 1970 UTC, as the publisher claims.
    #[getter]
    fn created(&self) -> u64 {
        self.0.header().created()
    }

    /// The publisher's revision number, or `None`; not authenticated until the signature is
    /// verified.
    #[getter]
    fn revision(&self) -> Option<u64> {
        self.0.header().revision()
    }

    /// Key ids of the recipients.
    #[getter]
    fn recipients(&self) -> Vec<String> {
        let records = self.0.recipients().iter();
        records.map(|record| record.key.to_hex()).collect()
    }

    /// Key id of the signer, not verified; `None` if it is not signed.
    #[getter]
    fn signer(&self) -> Option<String> {
        self.0.signature().map(|record| record.key.to_hex())
    }

    /// Verify the publisher's signature and every segment, without a private key.
    fn verify(&self, py: Python<'_>, signer: &PublicKey) -> PyResult<()> {
        let policy = casemate_environment::policy(None).map_err(from_environment)?;
        let signer = signer.verifier_of(&self.0, &policy)?;
        py.detach(|| {
            self.0.verify_signature(signer)?;
            self.0.verify_segments(&|_| ())
        })
        .map_err(from_open)
    }

    /// Open it with the first of `keys` that is a recipient. It must be signed by `signer`; pass
    /// `None` to skip that check.
    fn open(
        &self,
        py: Python<'_>,
        keys: Vec<PyRef<'_, PrivateKey>>,
        signer: Option<PyRef<'_, PublicKey>>,
        policy: Option<&str>,
        min_revision: Option<u64>,
    ) -> PyResult<Opened> {
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let signer = signer
            .as_ref()
            .map(|key| key.verifier_of(&self.0, &policy))
            .transpose()?;
        let key = choose(&self.0, &keys, &policy)?;
        crate::keys::check(&policy, &[], signer)?;
        let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
        let opened = py.detach(|| {
            let opened = self.0.open(key, origin)?;
            // The signature now authenticates the revision.
            min_revision.map_or(Ok(()), |minimum| self.0.require_revision(minimum))?;
            Ok(opened)
        });
        let opened = opened.map_err(from_open)?;
        Ok(Opened::new(opened, signer.is_some()))
    }
}

/// Returns the first key that is a recipient of the artifact and that the policy allows.
pub(crate) fn choose<'k, R: casemate_seal::ReadAt>(
    artifact: &casemate_seal::Artifact<R>,
    keys: &'k [PyRef<'_, PrivateKey>],
    policy: &Policy,
) -> PyResult<&'k KemPrivateKey> {
    let mut refused = None;
    for key in keys.iter().filter_map(|key| key.opener()) {
        let id = key.public_key().id().map_err(crate::error::from_crypto)?;
        if !artifact.recipients().iter().any(|record| record.key == id) {
            continue;
        }
        match policy.check_kem(key.suite()) {
            Ok(()) => return Ok(key),
            Err(error) => refused = Some(error),
        }
    }
    if let Some(error) = refused {
        return Err(from_policy(error));
    }
    let wanted: Vec<_> = artifact
        .recipients()
        .iter()
        .map(|r| r.key.to_hex())
        .collect();
    Err(NotARecipientError::new_err(format!(
        "none of the keys can open this artifact; it is sealed to {}",
        wanted.join(", ")
    )))
}

/// An opened artifact. A read decrypts only the segments it needs, and any number of threads may
/// read concurrently.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct Opened {
    content: casemate_seal::Opened<casemate_seal::Source>,
    origin_checked: bool,
}

impl Opened {
    pub(crate) const fn new(
        content: casemate_seal::Opened<casemate_seal::Source>,
        origin_checked: bool,
    ) -> Self {
        Self {
            content,
            origin_checked,
        }
    }
}

#[pymethods]
impl Opened {
    /// Length of the content, in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.content.content_len()
    }

    /// The artifact's id: 32 hex digits.
    #[getter]
    fn id(&self) -> String {
        self.content.artifact().header().id().to_string()
    }

    /// Whether the publisher's signature was verified.
    #[getter]
    fn origin_checked(&self) -> bool {
        self.origin_checked
    }

    /// Name of the original file; never use it as a path.
    #[getter]
    fn name(&self) -> String {
        self.content.private().name.clone()
    }

    /// The publisher's metadata for the content.
    #[getter]
    fn metadata(&self) -> std::collections::BTreeMap<String, String> {
        self.content.private().metadata.clone()
    }

    /// Read up to `length` bytes from `offset`; returns fewer only at the end.
    fn read_at<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        read::bytes(py, self.size(), offset, length, |out| {
            self.content.read_at(out, offset).map_err(from_open)
        })
    }

    /// Fill a one-dimensional `uint8` array from `offset`; the range must not extend past the end.
    fn readinto(
        &self,
        py: Python<'_>,
        offset: u64,
        out: PyReadwriteArray1<'_, u8>,
    ) -> PyResult<()> {
        read::into(py, self.size(), offset, out, |out| {
            self.content.read_at(out, offset).map_err(from_open)
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
            self.content.read_at(out, offset).map_err(from_open)
        })
    }

    fn __repr__(&self) -> String {
        format!("<Opened {} bytes>", self.content.content_len())
    }
}
