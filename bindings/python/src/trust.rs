//! Trust files.

use std::{path::PathBuf, sync::Arc};

use casemate_crypto::{encoding::PublicKey as Encoded, signature::VerifyingKey};
use casemate_environment::TrustList as List;
use pyo3::prelude::*;

use crate::{
    error::from_crypto,
    judge::Judge,
    keys::{KeyStore, PublicKey, Raised, no_store},
};

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
