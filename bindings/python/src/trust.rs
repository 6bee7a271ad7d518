//! Trust files: lists of trusted signers.

use std::{path::PathBuf, sync::Arc};

use casemate_crypto::{encoding::PublicKey as Encoded, signature::VerifyingKey};
use casemate_environment::TrustList as List;
use casemate_keys::Keys;
use pyo3::prelude::*;

use crate::{
    error::from_crypto,
    judge::Judge,
    keys::{KeyStore, LookupFailure, PublicKey, no_store},
};

/// A trust file: who may sign what, and until when. The commands read the same format.
#[pyclass(frozen, module = "casemate")]
#[derive(Debug)]
pub(crate) struct TrustList {
    list: Arc<List>,
    role: Arc<str>,
}

#[pymethods]
impl TrustList {
    /// Read the file. `store` resolves the names and key ids in it.
    #[new]
    #[pyo3(signature = (path, role="model", store=None))]
    fn new(path: PathBuf, role: &str, store: Option<&KeyStore>) -> PyResult<Self> {
        let guard = store.map(KeyStore::store).transpose()?;
        let list = List::read(&path, || {
            let store = guard.as_deref().map(|store| &**store as &dyn Keys);
            store.ok_or_else(|| no_store("a publisher"))
        })
        .map_err(|raised: LookupFailure| PyErr::from(raised))?;
        Ok(Self {
            list: Arc::new(list),
            role: role.into(),
        })
    }

    /// All keys in the file, for any role.
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
