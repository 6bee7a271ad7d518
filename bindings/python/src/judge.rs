//! Whether the key of a signature is valid, according to a key store or a trust file.

use std::sync::Arc;

use casemate_crypto::encoding::KeyId;
use casemate_environment::{ListRefused, Signed, Statuses, TrustList as List, Untrusted};
use pyo3::prelude::*;

use crate::error::{VerificationError, from_crypto, from_open, from_policy};

/// The source of a key's validity.
#[derive(Clone, Debug)]
pub(crate) enum Judge {
    /// The key store that has the key.
    Store(Arc<Statuses>),
    /// A trust file and a role in it.
    List(Arc<List>, Arc<str>),
}

impl Judge {
    /// Refuses a signature whose key is not valid for it.
    pub(crate) fn judge(&self, signed: &Signed, id: KeyId) -> PyResult<()> {
        let judged = match self {
            Self::Store(statuses) => statuses.judge(id, signed),
            Self::List(list, role) => list.check(id, role, signed),
        };
        judged.map_err(untrusted)
    }

    /// Like [`Self::judge`], but accepts a key that is not listed.
    pub(crate) fn judge_known(&self, signed: &Signed, id: KeyId) -> Result<(), Untrusted> {
        match self {
            Self::Store(statuses) => statuses.judge(id, signed),
            Self::List(list, _) => list.judge(id, signed),
        }
    }
}

/// Converts the reason why a recipient list is not accepted.
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
