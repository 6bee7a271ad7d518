//! Changes recipients.

use std::path::{Path, PathBuf};

use casemate_crypto::{encoding::KeyId, policy::Policy};
use casemate_seal::{
    Artifact, Origin, RecipientRecord, change_recipients, file,
    folder::{self, unfinished_rewrap},
};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    artifact::choose,
    error::{from_crypto, from_environment, from_folder, from_policy, from_rewrap},
    folder::{allowed, open_folder, open_sealed, openers},
    keys::{PrivateKey, PublicKey, check},
    source::with_path,
};

/// A change of recipients.
struct Change<'a> {
    policy: Policy,
    /// Whether current recipients stay unless removed.
    keep: bool,
    added: &'a [PyRef<'a, PublicKey>],
    /// Key ids, in hexadecimal.
    removed: &'a [String],
}

impl<'a> Change<'a> {
    fn new(
        added: &'a [PyRef<'a, PublicKey>],
        removed: &'a [String],
        keep: bool,
        policy: Option<&str>,
    ) -> PyResult<Self> {
        Ok(Self {
            policy: casemate_environment::policy(policy).map_err(from_environment)?,
            keep,
            added,
            removed,
        })
    }

    /// Returns the recipients that stay. With `again`, a recipient to remove may already be gone.
    fn kept(&self, present: &[RecipientRecord], again: bool) -> PyResult<Vec<KeyId>> {
        let is_present = |id: &str| present.iter().any(|record| record.key.to_hex() == *id);
        if let Some(id) = self.removed.iter().find(|id| !again && !is_present(id)) {
            let text = format!("key {id} is not a recipient, so it cannot be removed");
            return Err(PyValueError::new_err(text));
        }
        let mut kept = Vec::new();
        for record in present {
            if self.keep && !self.removed.contains(&record.key.to_hex()) {
                self.policy.check_kem(record.suite).map_err(from_policy)?;
                kept.push(record.key);
            }
        }
        Ok(kept)
    }

    /// Returns the recipients to add, without those that stay.
    fn added(&self, kept: &[KeyId]) -> PyResult<Vec<&casemate_crypto::kem::KemPublicKey>> {
        let mut added = Vec::new();
        for key in self.added {
            let key = key.recipient()?;
            if !kept.contains(&key.id().map_err(from_crypto)?) {
                added.push(key);
            }
        }
        Ok(added)
    }
}

/// Change the recipients of a sealed file in place. Returns the number of recipients before and
/// after.
#[pyfunction]
#[pyo3(signature = (path, keys, signer, *, add, remove, keep, policy))]
#[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
pub(crate) fn rewrap_file(
    py: Python<'_>,
    path: PathBuf,
    keys: Vec<PyRef<'_, PrivateKey>>,
    signer: Option<PyRef<'_, PublicKey>>,
    add: Vec<PyRef<'_, PublicKey>>,
    remove: Vec<String>,
    keep: bool,
    policy: Option<&str>,
) -> PyResult<(usize, usize)> {
    let change = Change::new(&add, &remove, keep, policy)?;
    let file = py
        .detach(|| file::open_exclusive(&path))
        .map_err(|error| with_path(error, &path))?;
    let artifact = Artifact::read(&file).map_err(crate::error::from_open)?;
    let signer = signer
        .as_ref()
        .map(|key| key.verifier_of(&artifact, &change.policy))
        .transpose()?;
    let key = choose(&artifact, &keys, &change.policy)?;
    let kept = change.kept(artifact.recipients(), false)?;
    let added = change.added(&kept)?;
    check(&change.policy, &added, signer)?;
    let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
    let keep = |record: &RecipientRecord| kept.contains(&record.key);
    let done = py
        .detach(|| change_recipients(&file, key, origin, &keep, &added, None))
        .map_err(from_rewrap)?;
    Ok((done.before, done.after))
}

/// Change the recipients of every file of a sealed folder in place. Returns the number of
/// recipients before and after.
#[pyfunction]
#[pyo3(signature = (root, keys, signer, *, add, remove, keep, policy))]
#[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
pub(crate) fn rewrap_folder(
    py: Python<'_>,
    root: PathBuf,
    keys: Vec<PyRef<'_, PrivateKey>>,
    signer: Option<PyRef<'_, PublicKey>>,
    add: Vec<PyRef<'_, PublicKey>>,
    remove: Vec<String>,
    keep: bool,
    policy: Option<&str>,
) -> PyResult<(usize, usize)> {
    let change = Change::new(&add, &remove, keep, policy)?;
    let signer = signer.as_deref();
    let keys = allowed(&keys, signer, &change.policy)?;
    let keys = openers(&keys);
    let local = py.detach(|| open_folder(&root)).map_err(from_folder)?;
    let sealed = open_sealed(py, Box::new(local), &keys, signer, &change.policy)?;
    let present = sealed.artifact().recipients();
    // A call repeated after an interruption may find its work half done.
    let again = is_unfinished(py, &root)?;
    let (before, kept) = (present.len(), change.kept(present, again)?);
    let added = change.added(&kept)?;
    check(&change.policy, &added, None)?;
    let after = kept.len().saturating_add(added.len());
    py.detach(|| folder::rewrap_folder(sealed, &keys, &kept, &added, None, &|| ()))
        .map_err(from_folder)?;
    Ok((before, after))
}

/// Returns whether an earlier change of recipients was interrupted.
fn is_unfinished(py: Python<'_>, root: &Path) -> PyResult<bool> {
    let folder = open_folder(root).map_err(from_folder)?;
    let found = py.detach(|| unfinished_rewrap(&folder));
    Ok(matches!(found, Ok(Some(_))))
}
