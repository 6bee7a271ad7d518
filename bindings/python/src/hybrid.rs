//! Shared keys and signatures for other formats.

use casemate_crypto::hybrid;
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    error::{VerificationError, from_crypto, from_environment, from_policy},
    keys::{PrivateKey, PublicKey},
};

/// Create a key to share with the owner of `to`. Returns the key and the ciphertext from which the
/// owner derives it.
#[pyfunction]
#[pyo3(signature = (to, context, length, policy))]
pub(crate) fn encapsulate<'py>(
    py: Python<'py>,
    to: &PublicKey,
    context: &[u8],
    length: usize,
    policy: Option<&str>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let recipient = to.recipient()?;
    let policy = casemate_environment::policy(policy).map_err(from_environment)?;
    policy.check_kem(recipient.suite()).map_err(from_policy)?;
    let made = py.detach(|| hybrid::encapsulate(recipient, context, length));
    let (key, ciphertext) = made.map_err(from_crypto)?;
    let key = PyBytes::new(py, key.expose());
    Ok((key, PyBytes::new(py, &ciphertext)))
}

/// Return the key of a ciphertext.
#[pyfunction]
#[pyo3(signature = (key, ciphertext, context, length, policy))]
pub(crate) fn decapsulate<'py>(
    py: Python<'py>,
    key: &PrivateKey,
    ciphertext: &[u8],
    context: &[u8],
    length: usize,
    policy: Option<&str>,
) -> PyResult<Bound<'py, PyBytes>> {
    let opener = key.kem()?;
    let policy = casemate_environment::policy(policy).map_err(from_environment)?;
    let suite = opener.public_key().suite();
    policy.check_kem(suite).map_err(from_policy)?;
    let key = py.detach(|| hybrid::decapsulate(opener, ciphertext, context, length));
    Ok(PyBytes::new(py, key.map_err(from_crypto)?.expose()))
}

/// Sign a message for one context.
#[pyfunction]
#[pyo3(signature = (key, message, context, policy))]
pub(crate) fn sign<'py>(
    py: Python<'py>,
    key: &PrivateKey,
    message: &[u8],
    context: &[u8],
    policy: Option<&str>,
) -> PyResult<Bound<'py, PyBytes>> {
    let signer = key.signer()?;
    let policy = casemate_environment::policy(policy).map_err(from_environment)?;
    let suite = signer.verifying_key().suite();
    policy.check_signature(suite).map_err(from_policy)?;
    let signature = py.detach(|| hybrid::sign(signer, context, message));
    Ok(PyBytes::new(py, &signature.map_err(from_crypto)?))
}

/// Verify a signature: both halves must be valid.
#[pyfunction]
#[pyo3(signature = (key, message, signature, context, policy))]
pub(crate) fn verify(
    py: Python<'_>,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
    context: &[u8],
    policy: Option<&str>,
) -> PyResult<()> {
    let verifier = key.current_verifier()?;
    let policy = casemate_environment::policy(policy).map_err(from_environment)?;
    policy
        .check_signature(verifier.suite())
        .map_err(from_policy)?;
    let verified = py.detach(|| hybrid::verify(verifier, context, message, signature));
    verified.map_err(|error| match error {
        casemate_crypto::Error::BadSignature => VerificationError::new_err(error.to_string()),
        error => from_crypto(error),
    })
}
