//! Conversion of errors to Python exceptions.

use std::error::Error;

use casemate_crypto::{encoding::EncodingError, policy::PolicyError};
use casemate_environment::EnvironmentError;
use casemate_keys::StoreError;
use casemate_oms::OmsError;
use casemate_seal::{OpenError, RewrapError, SealError, folder::FolderError};
use pyo3::{
    PyErr, create_exception,
    exceptions::{PyException, PyFileExistsError},
};

create_exception!(
    casemate,
    CasemateError,
    PyException,
    "An operation on an artifact, a folder or a key failed."
);
create_exception!(
    casemate,
    VerificationError,
    CasemateError,
    "The content was changed, or is not signed by an expected signer."
);
create_exception!(
    casemate,
    NotARecipientError,
    CasemateError,
    "None of the keys can open the artifact."
);
create_exception!(
    casemate,
    KeyStoreError,
    CasemateError,
    "The key store could not be unlocked or read."
);

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

pub(crate) fn from_open(error: OpenError) -> PyErr {
    let text = chain(&error);
    match error {
        OpenError::Io { source, .. } => os_error(source, text),
        OpenError::NotARecipient { .. } => NotARecipientError::new_err(text),
        _ => VerificationError::new_err(text),
    }
}

pub(crate) fn from_seal(error: SealError) -> PyErr {
    let text = chain(&error);
    match error {
        SealError::Io { source, .. } => os_error(source, text),
        _ => CasemateError::new_err(text),
    }
}

pub(crate) fn from_rewrap(error: RewrapError) -> PyErr {
    match error {
        RewrapError::Open(error) => from_open(error),
        RewrapError::Seal(error) => from_seal(error),
    }
}

pub(crate) fn from_folder(error: FolderError) -> PyErr {
    use FolderError as D;
    let text = chain(&error);
    match error {
        D::Io { source, .. }
        | D::Open {
            source: OpenError::Io { source, .. },
            ..
        } => os_error(source, text),
        D::Open {
            source: OpenError::NotARecipient { .. },
            ..
        } => NotARecipientError::new_err(text),
        D::Open { .. }
        | D::Missing(_)
        | D::Extra(_)
        | D::OtherVersion { .. }
        | D::Revision { .. }
        | D::Manifest(_) => VerificationError::new_err(text),
        _ => CasemateError::new_err(text),
    }
}

pub(crate) fn from_oms(error: OmsError) -> PyErr {
    use OmsError as O;
    let text = chain(&error);
    match error {
        O::Io { source, .. } => os_error(source, text),
        // Errors in the caller's arguments.
        O::NoSigner
        | O::Key
        | O::NotBelow(_)
        | O::NothingToIgnore(_)
        | O::Encoding(_)
        | O::Crypto(_) => CasemateError::new_err(text),
        _ => VerificationError::new_err(text),
    }
}

/// Like [`from_oms`], for signing: there is no signature yet, so no error is a failed verification.
pub(crate) fn from_signing(error: OmsError) -> PyErr {
    let text = chain(&error);
    match error {
        OmsError::Io { source, .. } => os_error(source, text),
        OmsError::Exists(_) | OmsError::NotReplaced(_) => PyFileExistsError::new_err(text),
        _ => CasemateError::new_err(text),
    }
}

pub(crate) fn from_key(error: EncodingError) -> PyErr {
    CasemateError::new_err(chain(&error))
}

pub(crate) fn from_crypto(error: casemate_crypto::Error) -> PyErr {
    CasemateError::new_err(chain(&error))
}

pub(crate) fn from_policy(error: PolicyError) -> PyErr {
    CasemateError::new_err(chain(&error))
}

pub(crate) fn from_environment(error: EnvironmentError) -> PyErr {
    use EnvironmentError as E;
    let text = chain(&error);
    match error {
        E::Io { source, .. } => os_error(source, text),
        E::Store(error) => from_store(error),
        E::UnknownKey {
            named,
            is_file: true,
        } => KeyStoreError::new_err(format!(
            "{text}; to use the file of that name, write './{named}' or a pathlib.Path"
        )),
        E::UnknownPolicy {
            named,
            is_file: true,
        } => CasemateError::new_err(format!(
            "{text}; to use the file of that name, write './{named}'"
        )),
        E::Pattern(_) => pyo3::exceptions::PyValueError::new_err(text),
        E::UnknownKey { .. } => KeyStoreError::new_err(text),
        _ => CasemateError::new_err(text),
    }
}

pub(crate) fn from_store(error: StoreError) -> PyErr {
    KeyStoreError::new_err(chain(&error))
}

/// Converts a system error to its Python class, such as `FileNotFoundError`, with the operation in
/// its text.
pub(crate) fn os_error(error: std::io::Error, text: String) -> PyErr {
    match error.raw_os_error() {
        Some(code) => pyo3::exceptions::PyOSError::new_err((code, text)),
        // A Python source raised this exception.
        None if error
            .get_ref()
            .is_some_and(<dyn Error + Send + Sync>::is::<PyErr>) =>
        {
            PyErr::from(error)
        }
        None => pyo3::exceptions::PyOSError::new_err(text),
    }
}
