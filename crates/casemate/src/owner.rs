//! Signs and checks the recipient list of an artifact that has an owner.

use std::path::Path;

use casemate_crypto::{
    encoding::KeyId,
    signature::{SigningKey, VerifyingKey},
};
use casemate_environment::read_limited;
use casemate_gateway::unix_seconds;
use casemate_seal::{Artifact, Delegation, ListSigner, ReadAt, RecipientList};
use serde_json::{Value, json};

use crate::{
    args::RewrapOptions,
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::time_text,
};

/// Longest delegation file, in bytes.
const DELEGATION_BYTES_MAX: usize = 64 * 1024;

/// The key that signs recipient lists, with its delegation if it is not the owner's.
pub(crate) struct RecipientListKey {
    key: SigningKey,
    delegation: Option<Delegation>,
    epoch: Option<u64>,
}

impl RecipientListKey {
    /// Reads the key and delegation that the options name.
    pub(crate) fn named(
        keyring: &mut Keyring<'_>,
        options: &RewrapOptions,
    ) -> Result<Option<Self>, Fault> {
        let delegation = options.delegation.as_deref().map(read_delegation);
        let Some(named) = options.owner.as_deref().or(options.delegate.as_deref()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            key: keyring.signer(named)?,
            delegation: delegation.transpose()?,
            epoch: options.epoch,
        }))
    }

    /// Returns the owner's id, if the key is the owner's own.
    pub(crate) fn owner(&self) -> Result<Option<KeyId>, Fault> {
        if self.delegation.is_some() {
            return Ok(None);
        }
        Ok(Some(self.key.verifying_key().id()?))
    }

    /// Returns the list signer for the owner `of` an artifact.
    pub(crate) fn signer<'a>(&'a self, of: Option<&'a VerifyingKey>) -> ListSigner<'a> {
        ListSigner {
            key: &self.key,
            delegation: of.zip(self.delegation.as_ref()),
            epoch: self.epoch,
            now: unix_seconds(),
        }
    }
}

/// Returns the owner's key, as the artifact carries it.
///
/// Refuses if the artifact has an owner and no key was given to sign its recipients.
pub(crate) fn owner_key<R: ReadAt>(
    artifact: &Artifact<R>,
    key: Option<&RecipientListKey>,
) -> Result<Option<VerifyingKey>, Fault> {
    let Some(list) = artifact.recipient_list() else {
        return Ok(None);
    };
    if let (Some(owner), None) = (artifact.header().owner(), key) {
        let message = format!("only the owner, key {owner}, may change the recipients");
        return Err(Fault::new(Outcome::NotPermitted, message).hint(
            "pass the owner's key with --owner, or a delegate's with --delegate and --delegation",
        ));
    }
    let owner = list.owner_key();
    Ok(Some(owner.map_err(|error| {
        Fault::new(Outcome::CheckFailed, error.to_string())
    })?))
}

fn read_delegation(path: &Path) -> Result<Delegation, Fault> {
    let bytes = read_limited(path, DELEGATION_BYTES_MAX)?;
    Delegation::from_bytes(bytes.expose()).map_err(|error| {
        let message = format!("{} is not a delegation: {error}", path.display());
        Fault::usage(message).hint("pass a file written by `casemate keys delegate`")
    })
}

/// Refuses a recipient list older than the minimum epoch.
pub(crate) fn require_epoch<R: ReadAt>(
    artifact: &Artifact<R>,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let checked = minimum.map(|minimum| artifact.require_epoch(minimum));
    Ok(checked.transpose().map(drop)?)
}

/// Returns what an artifact says about its owner, as JSON.
pub(crate) fn fields<R: ReadAt>(artifact: &Artifact<R>) -> Value {
    let Some((owner, list)) = owned(artifact) else {
        return Value::Null;
    };
    json!({
        "key": owner,
        "epoch": list.epoch,
        "date": list.date,
        "delegated": list.delegation.is_some(),
        "message_sha384": artifact.recipients_digest().map(hex::encode),
    })
}

/// Returns the same as text.
pub(crate) fn line<R: ReadAt>(artifact: &Artifact<R>) -> Option<String> {
    let (owner, list) = owned(artifact)?;
    let by = match list.delegation {
        Some(_) => " through a delegate",
        None => "",
    };
    let (epoch, date) = (list.epoch, time_text(list.date));
    Some(format!(
        "signed by owner {owner}{by} on {date}, epoch {epoch}"
    ))
}

fn owned<R: ReadAt>(artifact: &Artifact<R>) -> Option<(String, &RecipientList)> {
    let owner = artifact.header().owner()?;
    Some((owner.to_hex(), artifact.recipient_list()?))
}
