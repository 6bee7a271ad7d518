//! Whether a signature counts: what a key store or a trust file says of its key.

use std::{path::PathBuf, sync::Arc};

use casemate_crypto::{
    encoding::{KeyId, PublicKey as Encoded},
    signature::VerifyingKey,
};
use casemate_environment::{ListRefused, Signed, Statuses, TrustList as List, Untrusted};
use pyo3::prelude::*;

use crate::{
    error::{VerificationError, from_crypto, from_open, from_policy},
    keys::{KeyStore, PublicKey, Raised, no_store},
};

/// Who knows from when to when a key counts.
#[derive(Clone, Debug)]
pub(crate) enum Judge {
    /// The key store that the key comes from.
    Store(Arc<Statuses>),
    /// A trust file, for a role.
    List(Arc<List>, Arc<str>),
}

impl Judge {
    /// Refuses a signature whose key does not count for it.
    pub(crate) fn judge(&self, signed: &Signed, id: KeyId) -> PyResult<()> {
        let judged = match self {
            Self::Store(statuses) => statuses.judge(id, signed),
            Self::List(list, role) => list.check(id, role, signed),
        };
        judged.map_err(untrusted)
    }

    /// As [`Self::judge`], and a key that nobody listed counts.
    pub(crate) fn judge_known(&self, signed: &Signed, id: KeyId) -> Result<(), Untrusted> {
        match self {
            Self::Store(statuses) => statuses.judge(id, signed),
            Self::List(list, _) => list.judge(id, signed),
        }
    }
}

/// Why a recipient list does not count.
pub(crate) fn from_list(error: ListRefused) -> PyErr {
    match error {
        ListRefused::Open(error) => from_open(error),
        ListRefused::Crypto(error) => from_crypto(error),
        ListRefused::Policy(error) => from_policy(error),
        ListRefused::Untrusted(error) => untrusted(error),
    }
}

fn untrusted(error: Untrusted) -> PyErr {
    VerificationError::new_err(format!("the signature is not trusted: {error}"))
}

/// A file that says who may sign what, and until when, as the commands read it.
#[pyclass(frozen, module = "casemate")]
#[derive(Debug)]
pub(crate) struct TrustList {
    list: Arc<List>,
    role: Arc<str>,
}

#[pymethods]
impl TrustList {
    /// Read the file. Names and key ids in it are looked up in `store`.
    #[new]
    #[pyo3(signature = (path, role="model", store=None))]
    fn new(path: PathBuf, role: &str, store: Option<&KeyStore>) -> PyResult<Self> {
        let guard = store.map(KeyStore::store).transpose()?;
        let list = List::read(&path, || {
            guard.as_deref().ok_or_else(|| no_store("a publisher"))
        });
        let list = list.map_err(|raised: Raised| PyErr::from(raised))?;
        Ok(Self {
            list: Arc::new(list),
            role: role.into(),
        })
    }

    /// The keys that the file lists, whatever for.
    fn keys(&self) -> PyResult<Vec<PublicKey>> {
        let judge = || Judge::List(Arc::clone(&self.list), Arc::clone(&self.role));
        self.list
            .keys()
            .map(|(_, key)| {
                let again = VerifyingKey::new(key.suite(), key.as_bytes());
                let again = Encoded::Sign(again.map_err(from_crypto)?);
                Ok(PublicKey::judged(again, judge()))
            })
            .collect()
    }
}
