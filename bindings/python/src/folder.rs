//! Sealed folders.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use casemate_crypto::{
    kem::KemPrivateKey,
    policy::{Expired, Policy},
};
use casemate_seal::{
    Origin,
    file::Existing,
    folder::{FolderError, LocalFolder, SealedFolder, read_manifest},
};
use pyo3::{
    exceptions::{PyKeyError, PyUserWarning},
    prelude::*,
};

use crate::{
    artifact::Opened,
    error::{CasemateError, from_environment, from_folder},
    keys::{PrivateKey, PublicKey},
};

/// A sealed folder whose manifest was verified.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct Folder {
    sealed: SealedFolder,
    keys: Vec<PrivateKey>,
    origin_checked: bool,
}

#[pymethods]
impl Folder {
    /// Key ids of the recipients and the signer of the manifest of `root`, not verified.
    #[staticmethod]
    fn recipients(py: Python<'_>, root: PathBuf) -> PyResult<(Vec<String>, Option<String>)> {
        // The lock may wait for another thread of this process that is changing recipients.
        let artifact = py
            .detach(|| read_manifest(&open_folder(&root)?))
            .map_err(from_folder)?;
        let recipients = artifact.recipients().iter().map(|r| r.key.to_hex());
        let signer = artifact.signature().map(|record| record.key.to_hex());
        Ok((recipients.collect(), signer))
    }

    /// Open the manifest of `root` and check that the folder contains exactly the files in it.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        root: PathBuf,
        keys: Vec<PyRef<'_, PrivateKey>>,
        signer: Option<PyRef<'_, PublicKey>>,
        policy: Option<&str>,
        min_revision: u64,
    ) -> PyResult<Self> {
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let signer = signer.as_deref();
        let keys = allowed(&keys, signer, &policy)?;
        let sealed = open_sealed(py, &root, &openers(&keys), signer, &policy)?;
        sealed.require_revision(min_revision).map_err(from_folder)?;
        check_expiry(py, &root, &sealed, &policy)?;
        Ok(Self {
            sealed,
            keys,
            origin_checked: signer.is_some(),
        })
    }

    /// Paths and content lengths of the files, sorted.
    #[getter]
    fn files(&self) -> Vec<(String, u64)> {
        let files = self.sealed.manifest().files.iter();
        files
            .map(|file| (file.path.to_string(), file.content_len))
            .collect()
    }

    /// The revision number.
    #[getter]
    fn revision(&self) -> u64 {
        self.sealed.manifest().revision
    }

    /// When this version expires, in seconds since 1970 UTC; `None` if it does not.
    #[getter]
    fn expires(&self) -> Option<u64> {
        self.sealed.manifest().expires
    }

    /// The folder's id, which is the same in every version.
    #[getter]
    fn id(&self) -> String {
        self.sealed.manifest().id.to_string()
    }

    /// Open one file.
    fn open_file(&self, py: Python<'_>, path: &str) -> PyResult<Opened> {
        let entry = self
            .sealed
            .manifest()
            .find(path)
            .ok_or_else(|| PyKeyError::new_err(path.to_owned()))?;
        let opened = py
            .detach(|| self.sealed.open_file(entry, &openers(&self.keys)))
            .map_err(from_folder)?;
        Ok(Opened::new(opened, self.origin_checked))
    }

    /// Write every file as plaintext below `destination`, which appears complete or not at all.
    fn extract(&self, py: Python<'_>, destination: PathBuf) -> PyResult<()> {
        py.detach(|| {
            let keys = openers(&self.keys);
            self.sealed
                .copy_to(&destination, Existing::Keep, &keys, &|_| ())
        })
        .map_err(from_folder)
    }
}

impl Folder {
    /// Returns the folder, and the keys it was opened with.
    pub(crate) fn opened(&self) -> (&SealedFolder, Vec<&KemPrivateKey>) {
        (&self.sealed, openers(&self.keys))
    }
}

/// Stack level for warnings: the caller of `open_folder`.
const CALLER: i32 = 2;

/// Warns of an expired version, or refuses it if the policy does.
fn check_expiry(
    py: Python<'_>,
    root: &Path,
    sealed: &SealedFolder,
    policy: &Policy,
) -> PyResult<()> {
    let Some(end) = sealed.manifest().expires else {
        return Ok(());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if end >= now.map_or(u64::MAX, |since| since.as_secs()) {
        return Ok(());
    }
    // Python shows a warning with the same text only once, so the text names folder and version.
    let (root, revision) = (root.display(), sealed.manifest().revision);
    let text = format!(
        "revision {revision} of {root} has expired; get the current version from the publisher"
    );
    match policy.expired() {
        Expired::Warn => {
            let text = CString::new(text)?;
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, CALLER)
        }
        Expired::Refuse => Err(CasemateError::new_err(format!(
            "{text}; the policy refuses expired versions"
        ))),
    }
}

/// Returns the keys that can open and that the policy allows; which of them a file needs is known
/// later.
///
/// # Errors
///
/// The reason, if the policy allows none of them.
pub(crate) fn allowed(
    keys: &[PyRef<'_, PrivateKey>],
    signer: Option<&PublicKey>,
    policy: &Policy,
) -> PyResult<Vec<PrivateKey>> {
    let signer = signer.map(PublicKey::verifier).transpose()?;
    let (mut allowed, mut refused) = (Vec::new(), None);
    for key in keys {
        let Some(opener) = key.opener() else { continue };
        match crate::keys::check(policy, &[opener.public_key()], signer) {
            Ok(()) => allowed.push(PrivateKey::clone(key)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(allowed),
    }
}

pub(crate) fn open_folder(root: &Path) -> Result<LocalFolder, FolderError> {
    LocalFolder::open(root).map_err(|source| FolderError::Io {
        what: "open",
        path: root.to_owned(),
        source,
    })
}

/// Opens the manifest of `root`.
pub(crate) fn open_sealed(
    py: Python<'_>,
    root: &Path,
    keys: &[&KemPrivateKey],
    signer: Option<&PublicKey>,
    policy: &Policy,
) -> PyResult<SealedFolder> {
    let read = || {
        let folder = open_folder(root)?;
        let artifact = read_manifest(&folder)?;
        Ok((folder, artifact))
    };
    let (folder, artifact) = py.detach(read).map_err(from_folder)?;
    let signer = signer
        .map(|key| key.verifier_of(&artifact, policy))
        .transpose()?;
    let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
    py.detach(|| SealedFolder::open(Box::new(folder), artifact, keys, origin))
        .map_err(from_folder)
}

pub(crate) fn openers(keys: &[PrivateKey]) -> Vec<&KemPrivateKey> {
    keys.iter().filter_map(PrivateKey::opener).collect()
}
