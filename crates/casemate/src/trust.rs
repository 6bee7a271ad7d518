//! The signers that a command trusts.

use std::path::Path;

use casemate_crypto::{encoding::KeyId, signature::VerifyingKey};
use casemate_environment::{KeyReference, Signed, judge_list};
use casemate_seal::{Artifact, OpenError, ReadAt};

use crate::{
    args::{Origin, RewrapOptions, Trust, TrustFile, VerifyOptions},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
};

/// The signers that a command trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom<'a> {
    /// This key only: by name, key id or file.
    Named(&'a str),
    /// Every signing key in the key store.
    Store,
    /// The publishers that a file lists for a role.
    Listed { file: &'a Path, role: &'a str },
    /// Any signer, or none.
    Anyone,
}

impl Trust {
    fn whom(&self) -> Whom<'_> {
        match &self.signer {
            Some(named) => Whom::Named(named),
            None => self.trusted.whom().unwrap_or(Whom::Store),
        }
    }
}

impl TrustFile {
    fn whom(&self) -> Option<Whom<'_>> {
        let role = &self.role;
        self.file.as_deref().map(|file| Whom::Listed { file, role })
    }
}

impl Origin {
    pub(crate) fn whom(&self) -> Whom<'_> {
        if self.allow_unknown_signer {
            return Whom::Anyone;
        }
        self.trust.whom()
    }
}

impl RewrapOptions {
    pub(crate) fn whom(&self) -> Whom<'_> {
        if self.allow_unknown_signer {
            return Whom::Anyone;
        }
        self.trust.whom()
    }
}

impl VerifyOptions {
    pub(crate) fn whom(&self) -> Whom<'_> {
        match &self.signer {
            Some(named) => Whom::Named(named),
            None => self.trusted.whom().unwrap_or(Whom::Store),
        }
    }
}

/// Returns the expected signer of an artifact; `None`, with a warning, if the user asked not to
/// check.
pub(crate) fn signer<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    whom: Whom<'_>,
) -> Result<Option<VerifyingKey>, Fault> {
    if matches!(whom, Whom::Anyone) {
        context
            .printer
            .warning("the signature is not checked, so nothing proves who made this content");
    }
    signer_quietly(context, keyring, artifact, whom)
}

/// As [`signer`], without the warning.
pub(crate) fn signer_quietly<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    whom: Whom<'_>,
) -> Result<Option<VerifyingKey>, Fault> {
    check_recipient_list(context, keyring, artifact, whom)?;
    let signed = || Signed {
        date: Some(artifact.header().created()),
        digest: artifact.message_digest(),
    };
    match whom {
        Whom::Anyone => Ok(None),
        Whom::Named(named) => keyring.expected_signer(named, &signed()).map(Some),
        Whom::Store => {
            let record = artifact.signature().ok_or(OpenError::Unsigned)?;
            let signer = keyring.trusted_signer("the artifact", record.key, &signed());
            signer.map(Some)
        }
        Whom::Listed { file, role } => {
            let record = artifact.signature().ok_or(OpenError::Unsigned)?;
            listed(context, keyring, (file, role), record.key, &signed()).map(Some)
        }
    }
}

/// Refuses a recipient list if the policy forbids the key of its owner or delegate, or if that key
/// is withdrawn in the key store or trust file that decides about the publisher.
fn check_recipient_list<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    whom: Whom<'_>,
) -> Result<(), Fault> {
    if artifact.recipient_list().is_none() {
        return Ok(());
    }
    let policy = context.policy()?;
    let owner = keyring.replacing_owner();
    let judged = match whom {
        Whom::Listed { file, .. } => {
            let list = keyring.trust_list(file)?;
            judge_list(artifact, policy, owner, &|id, signed| {
                list.judge(id, signed)
            })
        }
        Whom::Named(named) if is_path(named)? => {
            judge_list(artifact, policy, owner, &|_, _| Ok(()))
        }
        Whom::Named(_) | Whom::Store => {
            let statuses = keyring.statuses()?;
            judge_list(artifact, policy, owner, &|id, signed| {
                statuses.judge(id, signed)
            })
        }
        Whom::Anyone => judge_list(artifact, policy, owner, &|_, _| Ok(())),
    };
    Ok(judged?)
}

/// Returns whether a key is named by a path. A key file has no status and needs no key store.
fn is_path(named: &str) -> Result<bool, Fault> {
    Ok(matches!(named.parse()?, KeyReference::File(_)))
}

/// Refuses an artifact or folder with an id other than the one requested, even by the same
/// publisher.
pub(crate) fn require_id(found: &impl ToString, wanted: Option<&str>) -> Result<(), Fault> {
    let found = found.to_string();
    match wanted {
        Some(wanted) if !found.eq_ignore_ascii_case(wanted) => Err(Fault::new(
            Outcome::No,
            format!("its id is {found}, not {}", wanted.escape_debug()),
        )
        .hint("check that the id is complete; if it is, this is another artifact or folder")),
        _ => Ok(()),
    }
}

/// Returns the key with this id, if the trust file accepts it for the role and this signature.
pub(crate) fn listed(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    (file, role): (&Path, &str),
    id: KeyId,
    signed: &Signed,
) -> Result<VerifyingKey, Fault> {
    let list = keyring.trust_list(file)?;
    let key = list.signer(id, role, signed)?;
    context.policy()?.check_signature(key.suite())?;
    Ok(VerifyingKey::new(key.suite(), key.as_bytes())?)
}
