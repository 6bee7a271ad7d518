//! Signs and checks the recipient list of an artifact that has an owner.

use std::path::Path;

use casemate_crypto::{
    encoding::{KeyId, PublicKey},
    signature::{SigningKey, VerifyingKey},
};
use casemate_gateway::unix_seconds;
use casemate_seal::{
    Artifact, Delegation, ListSigner, ReadAt, RecipientList,
    file::{self, Access, Existing},
};
use serde_json::{Value, json};

use crate::{
    args::{Delegate, RewrapOptions},
    context::{Context, read_limited},
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::{path_text, time_text},
};

/// Longest delegation file, in bytes.
const DELEGATION_BYTES_MAX: usize = 64 * 1024;

/// The key that signs recipient lists, with its delegation if it is not the owner's.
pub(super) struct RecipientListKey {
    key: SigningKey,
    delegation: Option<Delegation>,
    epoch: Option<u64>,
}

impl RecipientListKey {
    /// Reads the key and delegation that the options name.
    pub(super) fn named(
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
    pub(super) fn owner(&self) -> Result<Option<KeyId>, Fault> {
        if self.delegation.is_some() {
            return Ok(None);
        }
        Ok(Some(self.key.verifying_key().id()?))
    }

    /// Returns the list signer for the owner `of` an artifact.
    pub(super) fn signer<'a>(&'a self, of: Option<&'a VerifyingKey>) -> ListSigner<'a> {
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
pub(super) fn owner_key<R: ReadAt>(
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

/// `casemate keys delegate`.
pub(super) fn delegate(context: &Context<'_>, options: &Delegate) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let PublicKey::Sign(delegate) = keyring.public(&options.to)? else {
        let message = format!("`{}` is not a signing key", options.to);
        return Err(Fault::usage(message));
    };
    context.policy()?.check_signature(delegate.suite())?;
    let owner = keyring.signer(&options.owner)?;
    let (until, last_epoch) = (options.until, options.last_epoch);
    let made = Delegation::sign(&owner, &delegate, until, last_epoch)?;
    let existing = if options.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    file::write(&options.output, &made.to_bytes(), Access::Umask, existing)
        .map_err(|error| Fault::file("write", &options.output, error))?;
    let ids = owner
        .verifying_key()
        .id()
        .and_then(|owner| Ok((owner, delegate.id()?)));
    let (owner, delegate) = ids?;
    let json = json!({
        "schema": "casemate.delegation/1",
        "file": path_text(&options.output),
        "owner": owner.to_hex(),
        "delegate": delegate.to_hex(),
        "until": until,
        "last_epoch": last_epoch,
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    context.printer.done(&format!(
        "key {delegate} may change recipients for owner {owner} until {}, up to epoch {last_epoch}; the delegation is in {}",
        time_text(until),
        options.output.display()
    ));
    Ok(())
}

/// Refuses a recipient list older than the minimum epoch.
pub(super) fn require_epoch<R: ReadAt>(
    artifact: &Artifact<R>,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    let checked = minimum.map(|minimum| artifact.require_epoch(minimum));
    Ok(checked.transpose().map(drop)?)
}

/// Returns what an artifact says about its owner, as JSON.
pub(super) fn fields<R: ReadAt>(artifact: &Artifact<R>) -> Value {
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
pub(super) fn line<R: ReadAt>(artifact: &Artifact<R>) -> Option<String> {
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
