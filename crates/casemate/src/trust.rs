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
pub(crate) enum TrustedSigners<'a> {
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
    fn trusted_signers(&self) -> TrustedSigners<'_> {
        match &self.signer {
            Some(named) => TrustedSigners::Named(named),
            None => self
                .trusted
                .trusted_signers()
                .unwrap_or(TrustedSigners::Store),
        }
    }
}

impl TrustFile {
    fn trusted_signers(&self) -> Option<TrustedSigners<'_>> {
        let role = &self.role;
        self.file
            .as_deref()
            .map(|file| TrustedSigners::Listed { file, role })
    }
}

impl Origin {
    pub(crate) fn trusted_signers(&self) -> TrustedSigners<'_> {
        if self.allow_unknown_signer {
            return TrustedSigners::Anyone;
        }
        self.trust.trusted_signers()
    }
}

impl RewrapOptions {
    pub(crate) fn trusted_signers(&self) -> TrustedSigners<'_> {
        if self.allow_unknown_signer {
            return TrustedSigners::Anyone;
        }
        self.trust.trusted_signers()
    }
}

impl VerifyOptions {
    pub(crate) fn trusted_signers(&self) -> TrustedSigners<'_> {
        match &self.signer {
            Some(named) => TrustedSigners::Named(named),
            None => self
                .trusted
                .trusted_signers()
                .unwrap_or(TrustedSigners::Store),
        }
    }
}

/// Returns the expected signer of an artifact; `None`, with a warning, if the user asked not to
/// check.
pub(crate) fn expected_signer_with_warning<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    trusted_signers: TrustedSigners<'_>,
) -> Result<Option<VerifyingKey>, Fault> {
    if matches!(trusted_signers, TrustedSigners::Anyone) {
        context
            .printer
            .warning("the signature is not checked, so nothing proves who made this content");
    }
    expected_signer(context, keyring, artifact, trusted_signers)
}

/// As [`expected_signer_with_warning`], without the warning.
pub(crate) fn expected_signer<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    trusted_signers: TrustedSigners<'_>,
) -> Result<Option<VerifyingKey>, Fault> {
    check_recipient_list(context, keyring, artifact, trusted_signers)?;
    let signed = || Signed {
        date: Some(artifact.header().created()),
        digest: artifact.message_digest(),
    };
    match trusted_signers {
        TrustedSigners::Anyone => Ok(None),
        TrustedSigners::Named(named) => keyring.expected_signer(named, &signed()).map(Some),
        TrustedSigners::Store => {
            let record = artifact.signature().ok_or(OpenError::Unsigned)?;
            let signer = keyring.trusted_signer("the artifact", record.key, &signed());
            signer.map(Some)
        }
        TrustedSigners::Listed { file, role } => {
            let record = artifact.signature().ok_or(OpenError::Unsigned)?;
            trust_file_signer(context, keyring, (file, role), record.key, &signed()).map(Some)
        }
    }
}

/// Refuses a recipient list if the policy forbids the key of its owner or delegate, or if that key
/// is withdrawn in the key store or trust file that decides about the publisher.
fn check_recipient_list<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    trusted_signers: TrustedSigners<'_>,
) -> Result<(), Fault> {
    if artifact.recipient_list().is_none() {
        return Ok(());
    }
    let policy = context.policy()?;
    let owner = keyring.replacing_owner();
    let judged = match trusted_signers {
        TrustedSigners::Listed { file, .. } => {
            let list = keyring.trust_list(file)?;
            judge_list(artifact, policy, owner, &|id, signed| {
                list.judge(id, signed)
            })
        }
        TrustedSigners::Named(named) if is_path(named)? => {
            judge_list(artifact, policy, owner, &|_, _| Ok(()))
        }
        TrustedSigners::Named(_) | TrustedSigners::Store => {
            let statuses = keyring.statuses()?;
            judge_list(artifact, policy, owner, &|id, signed| {
                statuses.judge(id, signed)
            })
        }
        TrustedSigners::Anyone => judge_list(artifact, policy, owner, &|_, _| Ok(())),
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
            Outcome::CheckFailed,
            format!("its id is {found}, not {}", wanted.escape_debug()),
        )
        .hint("check that the id is complete; if it is, this is another artifact or folder")),
        _ => Ok(()),
    }
}

/// Returns the key with this id, if the trust file accepts it for the role and this signature.
pub(crate) fn trust_file_signer(
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
