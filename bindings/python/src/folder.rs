//! Sealed folders.

use std::{
    ffi::CString,
    io,
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
    folder::{
        Expected, FolderError, FolderSource, LocalFolder, RelativePath, SealedFolder, read_manifest,
    },
};
use pyo3::{
    exceptions::{PyKeyError, PyUserWarning},
    prelude::*,
};

use crate::{
    artifact::Opened,
    error::{CasemateError, from_environment, from_folder},
    keys::{PrivateKey, PublicKey},
    source::Source,
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
    fn recipients(root: &Bound<'_, PyAny>) -> PyResult<(Vec<String>, Option<String>)> {
        let folder = place(root)?;
        // The lock may wait for another thread of this process that is changing recipients.
        let read = || read_manifest(&*folder);
        let artifact = root.py().detach(read).map_err(from_folder)?;
        let recipients = artifact.recipients().iter().map(|r| r.key.to_hex());
        let signer = artifact.signature().map(|record| record.key.to_hex());
        Ok((recipients.collect(), signer))
    }

    /// Open the manifest of `root` and check that the folder contains exactly the files in it.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        root: &Bound<'_, PyAny>,
        keys: Vec<PyRef<'_, PrivateKey>>,
        signer: Option<PyRef<'_, PublicKey>>,
        policy: Option<&str>,
        min_revision: u64,
    ) -> PyResult<Self> {
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let signer = signer.as_deref();
        let keys = allowed(&keys, signer, &policy)?;
        let folder = place(root)?;
        let shown = match folder.local() {
            Some(local) => local.root().to_owned(),
            None => folder.shown(Path::new("")),
        };
        let sealed = open_sealed(py, folder, &openers(&keys), signer, &policy)?;
        sealed.require_revision(min_revision).map_err(from_folder)?;
        check_expiry(py, &shown, &sealed, &policy)?;
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

    /// Root of the manifest's artifact in hexadecimal: it identifies this version.
    #[getter]
    fn root(&self) -> String {
        hex::encode(self.sealed.artifact().root())
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

/// Returns the folder at a path, or one that a Python object lists and opens.
fn place(root: &Bound<'_, PyAny>) -> PyResult<Box<dyn FolderSource>> {
    if root.hasattr("listing")? {
        return Ok(Box::new(PythonFolder {
            name: root.getattr("name")?.extract()?,
            object: root.clone().unbind(),
        }));
    }
    let path: PathBuf = root.extract()?;
    let folder = root.py().detach(|| open_folder(&path));
    Ok(Box::new(folder.map_err(from_folder)?))
}

/// A folder in a place that Python reaches: an object with `name`, `listing() -> list[str]` of the
/// paths of all files, and `open(path)`, whose result has `size` and `read_at`.
struct PythonFolder {
    name: String,
    object: Py<PyAny>,
}

impl FolderSource for PythonFolder {
    fn open(&self, path: &Path) -> io::Result<casemate_seal::Source> {
        Python::attach(|py| {
            let opened = self.object.call_method1(py, "open", (path,))?;
            let source: casemate_seal::Source = Box::new(Source::of(opened.bind(py))?);
            Ok(source)
        })
        .map_err(|error: PyErr| io::Error::from(error))
    }

    fn check(&self, paths: &[&RelativePath]) -> Result<(), FolderError> {
        let listing: PyResult<Vec<String>> =
            Python::attach(|py| self.object.call_method0(py, "listing")?.extract(py));
        let listing = listing.map_err(|error| FolderError::Io {
            what: "list",
            path: PathBuf::from(&self.name),
            source: error.into(),
        })?;
        Expected::check(paths, &listing)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        Path::new(&self.name).join(path)
    }
}

/// Opens the manifest of a folder.
pub(crate) fn open_sealed(
    py: Python<'_>,
    folder: Box<dyn FolderSource>,
    keys: &[&KemPrivateKey],
    signer: Option<&PublicKey>,
    policy: &Policy,
) -> PyResult<SealedFolder> {
    let read = || read_manifest(&*folder);
    let artifact = py.detach(read).map_err(from_folder)?;
    let signer = signer
        .map(|key| key.verifier_of(&artifact, policy))
        .transpose()?;
    let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
    py.detach(|| SealedFolder::open(folder, artifact, keys, origin))
        .map_err(from_folder)
}

pub(crate) fn openers(keys: &[PrivateKey]) -> Vec<&KemPrivateKey> {
    keys.iter().filter_map(PrivateKey::opener).collect()
}
