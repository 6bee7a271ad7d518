//! Keys and the key store.

use std::{path::PathBuf, sync::Arc};

use casemate_crypto::{
    SecretBytes,
    encoding::{self, KEY_FILE_BYTES_MAX},
    kem::{KemPrivateKey, KemPublicKey},
    policy::Policy,
    signature::{SigningKey, VerifyingKey},
};
use casemate_keys::{Role, SqliteEngine, StoreSecret};
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyBytes};

use crate::{
    error::{CasemateError, from_crypto, from_key, from_policy, from_store},
    source::with_path,
};

/// The public half of a key: a recipient, or a publisher whose signature is checked.
#[pyclass(frozen, module = "casemate")]
#[derive(Debug)]
pub(crate) struct PublicKey(encoding::PublicKey);

impl PublicKey {
    pub(crate) fn recipient(&self) -> PyResult<&KemPublicKey> {
        match &self.0 {
            encoding::PublicKey::Kem(key) => Ok(key),
            _ => Err(wrong_kind("kem", self.0.kind().as_str())),
        }
    }

    pub(crate) fn verifier(&self) -> PyResult<&VerifyingKey> {
        match &self.0 {
            encoding::PublicKey::Sign(key) => Ok(key),
            _ => Err(wrong_kind("sign", self.0.kind().as_str())),
        }
    }
}

#[pymethods]
impl PublicKey {
    /// Read a key from PEM, as `casemate keys export` writes it.
    #[staticmethod]
    fn from_pem(pem: &[u8]) -> PyResult<Self> {
        encoding::PublicKey::from_pem(pem)
            .map(Self)
            .map_err(from_key)
    }

    /// Read a PEM file.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        Self::from_pem(read_limited(path)?.expose())
    }

    /// The key as PEM text.
    fn to_pem(&self) -> PyResult<String> {
        self.0.to_pem().map_err(from_key)
    }

    /// The key's id: 64 hex digits.
    #[getter]
    fn id(&self) -> PyResult<String> {
        self.0.id().map(|id| id.to_hex()).map_err(from_key)
    }

    /// What it is for: `kem`, `sign` or `http`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind().as_str()
    }

    /// The name of its suite.
    #[getter]
    fn suite(&self) -> &'static str {
        self.0.suite_name()
    }

    fn __repr__(&self) -> PyResult<String> {
        let id = self.0.id().map_err(from_key)?;
        Ok(format!("<PublicKey {} {id}>", self.0.suite_name()))
    }
}

/// A private key. It shows nothing of itself, cannot be pickled or copied, and is wiped when it is dropped.
#[pyclass(frozen, module = "casemate")]
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<encoding::PrivateKey>);

impl PrivateKey {
    pub(crate) fn opener(&self) -> Option<&KemPrivateKey> {
        match &*self.0 {
            encoding::PrivateKey::Kem(key) => Some(key),
            _ => None,
        }
    }

    pub(crate) fn signer(&self) -> PyResult<&SigningKey> {
        match &*self.0 {
            encoding::PrivateKey::Sign(key) => Ok(key),
            _ => Err(wrong_kind("sign", "another")),
        }
    }

    fn public(&self) -> PyResult<encoding::PublicKey> {
        self.0.public_key().map_err(from_key)
    }
}

#[pymethods]
impl PrivateKey {
    /// Make a new key of a suite, such as `mlkem1024-p384` (recipients) or `mldsa87-p384` (publishers).
    #[staticmethod]
    fn generate(py: Python<'_>, suite: &str) -> PyResult<Self> {
        let made = py.detach(|| encoding::PrivateKey::generate(suite));
        match made.map_err(from_crypto)? {
            Some(key) => Ok(Self(Arc::new(key))),
            None => Err(CasemateError::new_err(format!(
                "there is no suite `{suite}`; `casemate suites` lists them"
            ))),
        }
    }

    /// Read a key from PEM.
    #[staticmethod]
    fn from_pem(pem: &[u8]) -> PyResult<Self> {
        let key = encoding::PrivateKey::from_pem(pem).map_err(from_key)?;
        Ok(Self(Arc::new(key)))
    }

    /// Read a PEM file.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        Self::from_pem(read_limited(path)?.expose())
    }

    /// The key as PEM. Whoever has these bytes has the key; Python cannot wipe them.
    fn to_pem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pem = self.0.to_pem().map_err(from_key)?;
        Ok(PyBytes::new(py, pem.expose()))
    }

    /// Its public half.
    #[getter]
    fn public_key(&self) -> PyResult<PublicKey> {
        self.public().map(PublicKey)
    }

    /// The key's id: 64 hex digits.
    #[getter]
    fn id(&self) -> PyResult<String> {
        let id = self.public()?.id().map_err(from_key)?;
        Ok(id.to_hex())
    }

    /// The name of its suite.
    #[getter]
    fn suite(&self) -> PyResult<&'static str> {
        Ok(self.public()?.suite_name())
    }

    /// What it is for: `kem`, `sign` or `http`.
    #[getter]
    fn kind(&self) -> PyResult<&'static str> {
        Ok(self.public()?.kind().as_str())
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<PrivateKey {}>", self.suite()?))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a private key cannot be pickled or copied; write it with to_pem() where it may be",
        ))
    }
}

/// Name, id, kind, suite, and whether the private half is here.
type Row = (String, String, &'static str, &'static str, bool);

/// The key store of the command `casemate keys`.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct KeyStore(std::sync::Mutex<casemate_keys::KeyStore<SqliteEngine>>);

#[pymethods]
impl KeyStore {
    /// Unlock the store in `home`.
    #[staticmethod]
    fn unlock(py: Python<'_>, home: PathBuf, passphrase: &[u8]) -> PyResult<Self> {
        let secret = StoreSecret::read(SecretBytes::new(passphrase.to_vec()));
        let secret = secret.map_err(from_store)?;
        let path = home.join("keys.db");
        let opened = py.detach(|| {
            let engine = SqliteEngine::open(&path, false)?;
            casemate_keys::KeyStore::unlock(engine, &secret)
        });
        Ok(Self(std::sync::Mutex::new(opened.map_err(from_store)?)))
    }

    /// Names, ids, kinds and suites of the keys, and whether the private half is here.
    fn list(&self) -> PyResult<Vec<Row>> {
        let listing = self.store()?.list().map_err(from_store)?;
        let row = |entry: casemate_keys::KeyEntry| {
            let private = entry.role == Role::Private;
            let kind = entry.kind.as_str();
            (
                entry.name.to_string(),
                entry.id.to_hex(),
                kind,
                entry.suite,
                private,
            )
        };
        Ok(listing.keys.into_iter().map(row).collect())
    }

    /// The public half of a key, by name or id.
    fn public(&self, named: &str) -> PyResult<PublicKey> {
        let entry = self.store()?.find(named).map_err(from_store)?;
        Ok(PublicKey(entry.public))
    }

    /// A private key, by name or id.
    fn private(&self, named: &str) -> PyResult<PrivateKey> {
        let store = self.store()?;
        let entry = store.find(named).map_err(from_store)?;
        let key = store.private_key(&entry).map_err(from_store)?;
        drop(store);
        Ok(PrivateKey(Arc::new(key)))
    }

    fn __repr__(&self) -> &'static str {
        "<KeyStore>"
    }
}

impl KeyStore {
    fn store(&self) -> PyResult<std::sync::MutexGuard<'_, casemate_keys::KeyStore<SqliteEngine>>> {
        let broken = |_| CasemateError::new_err("a thread failed while it used the key store");
        self.0.lock().map_err(broken)
    }
}

/// Refuses keys that the policy does not allow.
pub(crate) fn check(
    policy: &Policy,
    recipients: &[&KemPublicKey],
    signer: Option<&VerifyingKey>,
) -> PyResult<()> {
    for recipient in recipients {
        policy.check_kem(recipient.suite()).map_err(from_policy)?;
    }
    signer.map_or(Ok(()), |key| {
        policy.check_signature(key.suite()).map_err(from_policy)
    })
}

fn wrong_kind(wanted: &str, found: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "a key of kind `{wanted}` is needed here, this one is of kind `{found}`"
    ))
}

fn read_limited(path: PathBuf) -> PyResult<SecretBytes> {
    use std::io::Read as _;
    let mut bytes = Vec::with_capacity(KEY_FILE_BYTES_MAX.saturating_add(1));
    let read = std::fs::File::open(&path).and_then(|file| {
        let limit = KEY_FILE_BYTES_MAX.saturating_add(1) as u64;
        file.take(limit).read_to_end(&mut bytes)
    });
    let bytes = SecretBytes::new(bytes);
    let read = read.map_err(|error| with_path(error, &path))?;
    if read > KEY_FILE_BYTES_MAX {
        let text = format!("{} is longer than a key file", path.display());
        return Err(CasemateError::new_err(text));
    }
    Ok(bytes)
}
