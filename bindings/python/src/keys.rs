//! Keys and the key store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use casemate_crypto::{
    SecretBytes,
    encoding::{self, KEY_FILE_BYTES_MAX, KeyId},
    kem::{KemPrivateKey, KemPublicKey},
    policy::Policy,
    signature::{SigningKey, VerifyingKey},
};
use casemate_environment::{
    EnvironmentError, KeyPlace, KeyReference, Signed, Statuses, judge_list, policy, read_limited,
    read_secret, store_secret,
};
use casemate_keys::{
    Actor, AnyEngine, KeyEntry, Keys, Openers, Role, SqliteEngine, State, Status, StoreError,
};
use casemate_seal::{
    Artifact, ReadAt,
    file::{self, Access, Existing},
};
use casemate_tls::Fallback;
use pyo3::{exceptions::PyTypeError, prelude::*, pybacked::PyBackedBytes, types::PyBytes};

use crate::error::{
    CasemateError, from_crypto, from_environment, from_key, from_policy, from_store,
};
use crate::{
    judge::{Judge, from_list},
    source::with_path,
};

/// The public half of a key: a recipient, or a publisher whose signatures are verified.
#[pyclass(frozen, module = "casemate")]
#[derive(Debug)]
pub(crate) struct PublicKey {
    key: encoding::PublicKey,
    /// The source of its validity.
    judge: Option<Judge>,
    /// Its validity in the key store.
    validity: Validity,
}

/// What the key store says of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    status: Status,
    state: State,
}

impl Validity {
    /// A key that is in no key store.
    const ANY: Self = Self {
        status: Status {
            valid_from: None,
            valid_until: None,
            end: None,
            successor_of: None,
        },
        state: State::Active,
    };

    const fn of(entry: &KeyEntry) -> Self {
        Self {
            status: entry.status,
            state: entry.state,
        }
    }
}

impl PublicKey {
    fn plain(key: encoding::PublicKey) -> Self {
        Self {
            key,
            judge: None,
            validity: Validity::ANY,
        }
    }

    pub(crate) fn judged(key: encoding::PublicKey, judge: Judge) -> Self {
        Self {
            judge: Some(judge),
            ..Self::plain(key)
        }
    }

    /// Returns a key of a key store, with its status.
    fn of_store(store: &dyn Keys, entry: KeyEntry) -> PyResult<Self> {
        let statuses = Statuses::of(store).map_err(from_store)?;
        Ok(Self {
            validity: Validity::of(&entry),
            key: entry.public,
            judge: Some(Judge::Store(Arc::new(statuses))),
        })
    }

    /// Returns the expected signer of an artifact, if the key is valid for it.
    pub(crate) fn verifier_of<R: ReadAt>(
        &self,
        artifact: &Artifact<R>,
        policy: &Policy,
    ) -> PyResult<&VerifyingKey> {
        let judged = judge_list(artifact, policy, None, &|id, signed| match &self.judge {
            Some(judge) => judge.judge_known(signed, id),
            None => Ok(()),
        });
        judged.map_err(from_list)?;
        self.verifier_for(&Signed {
            date: Some(artifact.header().created()),
            digest: artifact.message_digest(),
        })
    }

    /// Returns the expected signer of a signature, if the key is valid for it.
    pub(crate) fn verifier_for(&self, signed: &Signed) -> PyResult<&VerifyingKey> {
        let key = self.verifier()?;
        if let Some(judge) = &self.judge {
            judge.judge(signed, key.id().map_err(from_crypto)?)?;
        }
        Ok(key)
    }

    /// Returns the key for signatures without a date; it must be valid now.
    pub(crate) fn current_verifier(&self) -> PyResult<&VerifyingKey> {
        let key = self.verifier()?;
        if let Some(judge) = &self.judge {
            let signed = Signed {
                date: None,
                digest: [0; 48],
            };
            judge.judge(&signed, key.id().map_err(from_crypto)?)?;
        }
        Ok(key)
    }

    pub(crate) fn recipient(&self) -> PyResult<&KemPublicKey> {
        let id = self.key.id().map_err(from_key)?;
        check_now(&self.validity, id)?;
        match &self.key {
            encoding::PublicKey::Kem(key) => Ok(key),
            _ => Err(wrong_kind("kem", self.key.kind().as_str())),
        }
    }

    pub(crate) fn verifier(&self) -> PyResult<&VerifyingKey> {
        match &self.key {
            encoding::PublicKey::Sign(key) => Ok(key),
            _ => Err(wrong_kind("sign", self.key.kind().as_str())),
        }
    }
}

#[pymethods]
impl PublicKey {
    /// Read a key from PEM, such as the output of `casemate keys export`.
    #[staticmethod]
    fn from_pem(pem: &[u8]) -> PyResult<Self> {
        encoding::PublicKey::from_pem(pem)
            .map(Self::plain)
            .map_err(from_key)
    }

    /// Read a PEM file.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        let pem = read_limited(&path, KEY_FILE_BYTES_MAX).map_err(from_environment)?;
        Self::from_pem(pem.expose())
    }

    /// Find a key by name or full key id in `store`, by a path with a `/`, or as an age recipient.
    #[staticmethod]
    #[pyo3(signature = (text, store=None))]
    fn named(text: &str, store: Option<&KeyStore>) -> PyResult<Self> {
        let reference: KeyReference = text.parse().map_err(from_environment)?;
        if let KeyReference::Id(_) | KeyReference::Name(_) | KeyReference::Version(..) = reference {
            return store.ok_or_else(|| no_store(text).0)?.public(text);
        }
        let key = reference.public(Path::new(""), || Err::<&dyn Keys, _>(no_store(text)));
        key.map(Self::plain).map_err(PyErr::from)
    }

    /// The key as PEM text.
    fn to_pem(&self) -> PyResult<String> {
        self.key.to_pem().map_err(from_key)
    }

    /// The key's id: 64 hex digits.
    #[getter]
    fn id(&self) -> PyResult<String> {
        self.key.id().map(|id| id.to_hex()).map_err(from_key)
    }

    /// Its purpose: `kem`, `sign` or `http`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.key.kind().as_str()
    }

    /// The name of its suite.
    #[getter]
    fn suite(&self) -> &'static str {
        self.key.suite_name()
    }

    fn __repr__(&self) -> PyResult<String> {
        let id = self.key.id().map_err(from_key)?;
        Ok(format!("<PublicKey {} {id}>", self.key.suite_name()))
    }
}

/// A private key. It has no readable representation, cannot be pickled or copied, and is wiped when
/// dropped.
#[pyclass(frozen, module = "casemate")]
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<encoding::PrivateKey>, Validity);

impl PrivateKey {
    pub(crate) fn opener(&self) -> Option<&KemPrivateKey> {
        match &*self.0 {
            encoding::PrivateKey::Kem(key) => Some(key),
            _ => None,
        }
    }

    /// Returns the key, to open something.
    pub(crate) fn kem(&self) -> PyResult<&KemPrivateKey> {
        match self.opener() {
            Some(key) => Ok(key),
            None => Err(wrong_kind("kem", self.public()?.kind().as_str())),
        }
    }

    pub(crate) fn signer(&self) -> PyResult<&SigningKey> {
        let id = self.public()?.id().map_err(from_key)?;
        check_now(&self.1, id)?;
        match &*self.0 {
            encoding::PrivateKey::Sign(key) => Ok(key),
            _ => Err(wrong_kind("sign", self.public()?.kind().as_str())),
        }
    }

    fn public(&self) -> PyResult<encoding::PublicKey> {
        self.0.public_key().map_err(from_key)
    }
}

#[pymethods]
impl PrivateKey {
    /// Generate a key of a suite, such as `mlkem1024-p384` (recipients) or `mldsa87-p384`
    /// (publishers).
    #[staticmethod]
    fn generate(py: Python<'_>, suite: &str) -> PyResult<Self> {
        let made = py.detach(|| encoding::PrivateKey::generate(suite));
        match made.map_err(from_crypto)? {
            Some(key) => Ok(Self(Arc::new(key), Validity::ANY)),
            None => Err(CasemateError::new_err(format!(
                "there is no suite `{suite}`; run `casemate suites` for a list"
            ))),
        }
    }

    /// Read a key from PEM.
    #[staticmethod]
    fn from_pem(pem: &[u8]) -> PyResult<Self> {
        let key = encoding::PrivateKey::from_pem(pem).map_err(from_key)?;
        Ok(Self(Arc::new(key), Validity::ANY))
    }

    /// Read a PEM file.
    #[staticmethod]
    fn from_file(path: PathBuf) -> PyResult<Self> {
        let pem = read_secret(&path, KEY_FILE_BYTES_MAX).map_err(from_environment)?;
        Self::from_pem(pem.expose())
    }

    /// Find a key by name or full key id in `store`, or by the path of a PEM file, with a `/`.
    #[staticmethod]
    #[pyo3(signature = (text, store=None))]
    fn named(text: &str, store: Option<&KeyStore>) -> PyResult<Self> {
        match text.parse().map_err(from_environment)? {
            KeyReference::File(path) => Self::from_file(path),
            KeyReference::Id(_) | KeyReference::Name(_) | KeyReference::Version(..) => {
                store.ok_or_else(|| no_store(text).0)?.private(text)
            }
            KeyReference::Recipient(_) => Err(wrong_kind("private", "public")),
        }
    }

    /// The key as PEM. These bytes are the secret key, and Python cannot wipe them.
    fn to_pem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pem = self.0.to_pem().map_err(from_key)?;
        Ok(PyBytes::new(py, pem.expose()))
    }

    /// Write the key as PEM to a new file that only its owner can read.
    fn to_file(&self, path: PathBuf) -> PyResult<()> {
        let pem = self.0.to_pem().map_err(from_key)?;
        file::write(&path, pem.expose(), Access::Owner, Existing::Keep)
            .map_err(|error| with_path(error, &path))
    }

    /// Its public half.
    #[getter]
    fn public_key(&self) -> PyResult<PublicKey> {
        self.public().map(PublicKey::plain)
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

    /// Its purpose: `kem`, `sign` or `http`.
    #[getter]
    fn kind(&self) -> PyResult<&'static str> {
        Ok(self.public()?.kind().as_str())
    }

    fn __repr__(&self) -> PyResult<String> {
        Ok(format!("<PrivateKey {}>", self.suite()?))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a private key cannot be pickled or copied; to export it, call to_pem()",
        ))
    }
}

/// Name, id, kind, suite, and whether the store has the private half.
type Row = (String, String, &'static str, &'static str, bool);

/// The key store that `casemate keys` manages.
#[pyclass(frozen, module = "casemate")]
pub(crate) struct KeyStore(std::sync::Mutex<Store>);

/// Keys in a key store or in a key service.
pub(crate) type Store = Box<dyn Keys + Send>;

#[pymethods]
impl KeyStore {
    /// Unlock the key store in `home` with what opens its slots.
    #[staticmethod]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a Python list is extracted into a vector"
    )]
    fn unlock(py: Python<'_>, home: PathBuf, secrets: Vec<PyBackedBytes>) -> PyResult<Self> {
        let secrets = secrets
            .iter()
            .map(|secret| store_secret(&SecretBytes::new(secret.to_vec())))
            .collect::<Result<Vec<_>, _>>()
            .map_err(from_environment)?;
        let place = KeyPlace::of(&home).map_err(from_environment)?;
        let named = policy(None).map_err(from_environment)?;
        let opened = py.detach(|| -> Result<Store, EnvironmentError> {
            let engine: AnyEngine = match place {
                KeyPlace::File(path) => {
                    let engine = SqliteEngine::open(&path, false);
                    Box::new(engine.map_err(StoreError::from)?)
                }
                KeyPlace::Etcd(place) => Box::new(place.engine(&home, named.tls_groups(), now)?),
                KeyPlace::Service(service) => {
                    let groups = casemate_tls::provider(named.tls_groups(), Fallback::Disabled);
                    return Ok(Box::new(service.keys(&home, groups)?));
                }
            };
            let openers = Openers {
                secrets: &secrets,
                keepers: &[],
            };
            let actor = Actor {
                by: format!("uid {}, python", rustix::process::getuid().as_raw()),
                clock: now,
            };
            let store = casemate_keys::KeyStore::unlock_as(engine, openers, actor)?;
            Ok(Box::new(store))
        });
        Ok(Self(std::sync::Mutex::new(
            opened.map_err(from_environment)?,
        )))
    }

    /// Names, ids, kinds and suites of the keys, and whether the store has the private half.
    fn list(&self) -> PyResult<Vec<Row>> {
        let listing = self.store()?.list().map_err(from_store)?;
        let row = |entry: KeyEntry| {
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

    /// The public half of a key, by name or full key id.
    fn public(&self, named: &str) -> PyResult<PublicKey> {
        let store = self.store()?;
        let entry = entry(&**store, named)?;
        PublicKey::of_store(&**store, entry)
    }

    /// A private key, by name or full key id.
    fn private(&self, named: &str) -> PyResult<PrivateKey> {
        let store = self.store()?;
        let entry = entry(&**store, named)?;
        let key = store.private_key(&entry).map_err(from_store)?;
        drop(store);
        Ok(PrivateKey(Arc::new(key), Validity::of(&entry)))
    }

    /// The private keys that open what is sealed to these recipients, or all that open.
    fn opening(&self, recipients: Option<Vec<String>>) -> PyResult<Vec<PrivateKey>> {
        let store = self.store()?;
        let entries = match recipients {
            None => store.list().map_err(from_store)?.keys,
            Some(ids) => ids
                .iter()
                .filter_map(|id| id.parse().ok())
                .filter_map(|id| store.by_id(id).transpose())
                .collect::<Result<_, _>>()
                .map_err(from_store)?,
        };
        let opens = |entry: &KeyEntry| {
            entry.role == Role::Private
                && entry.state.opens()
                && matches!(entry.public, encoding::PublicKey::Kem(_))
        };
        entries
            .iter()
            .filter(|entry| opens(entry))
            .map(|entry| {
                let key = store.private_key(entry).map_err(from_store)?;
                Ok(PrivateKey(Arc::new(key), Validity::of(entry)))
            })
            .collect()
    }

    fn __repr__(&self) -> &'static str {
        "<KeyStore>"
    }
}

impl KeyStore {
    pub(crate) fn store(&self) -> PyResult<std::sync::MutexGuard<'_, Store>> {
        let broken =
            |_| CasemateError::new_err("another thread failed while it was using the key store");
        self.0.lock().map_err(broken)
    }
}

fn entry(store: &dyn Keys, named: &str) -> PyResult<KeyEntry> {
    let reference: KeyReference = named.parse().map_err(from_environment)?;
    let entry = reference.entry(Path::new(""), store);
    entry.map_err(from_environment)
}

/// Refuses to use a key for something new if it is not valid now.
fn check_now(validity: &Validity, id: KeyId) -> PyResult<()> {
    let Validity { status, state } = validity;
    if *state != State::Active {
        return Err(CasemateError::new_err(format!(
            "key {id} cannot be used for anything new: it is {state} in the key store"
        )));
    }
    status.check_now(id, now()).map_err(|why| {
        CasemateError::new_err(format!("key {id} cannot be used for anything new: {why}"))
    })
}

/// Returns the time, in seconds since 1970-01-01 UTC.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A Python exception from looking up a name.
pub(crate) struct LookupFailure(PyErr);

impl From<EnvironmentError> for LookupFailure {
    fn from(error: EnvironmentError) -> Self {
        Self(from_environment(error))
    }
}

impl From<LookupFailure> for PyErr {
    fn from(raised: LookupFailure) -> Self {
        raised.0
    }
}

pub(crate) fn no_store(text: &str) -> LookupFailure {
    let text: String = text.chars().take(80).collect();
    LookupFailure(CasemateError::new_err(format!(
        "{text:?} is the name of a key, but there is no key store; pass keys=casemate.open_store(...), or write './{text}' for a file"
    )))
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
        "expected a key of kind `{wanted}`, got one of kind `{found}`"
    ))
}
