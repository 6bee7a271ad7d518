//! Whom a command trusts to have signed.

use std::{cell::OnceCell, path::Path};

use casemate_crypto::{encoding::KeyId, signature::VerifyingKey};
use casemate_environment::{Signed, TrustList};
use casemate_seal::{Artifact, OpenError, ReadAt};

use crate::{
    args::{Origin, RewrapOptions, Trust, TrustFile, VerifyOptions},
    context::{Context, Store},
    fault::{Fault, Outcome},
    keyring::Keyring,
};

/// Whom a command trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom<'a> {
    /// This key only: by name, key id or file.
    Named(&'a str),
    /// Every signing key in the key store.
    Store,
    /// The publishers that a file lists for a role.
    Listed { file: &'a Path, role: &'a str },
    /// Nobody is asked for.
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

/// The key that must have signed an artifact; `None`, with a warning, if the user asked not to check.
pub(crate) fn signer<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    whom: Whom<'_>,
) -> Result<Option<VerifyingKey>, Fault> {
    if matches!(whom, Whom::Anyone) {
        context
            .printer
            .warning("nobody vouches for this content: its signature is not checked");
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
    check_list_signers(context, keyring, artifact, whom)?;
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
            listed(context, file, role, record.key, &signed()).map(Some)
        }
    }
}

/// Refuses a recipient list whose owner or delegate the policy forbids or, as far as whoever is asked for the publisher knows, has ended.
fn check_list_signers<R: ReadAt>(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    artifact: &Artifact<R>,
    whom: Whom<'_>,
) -> Result<(), Fault> {
    let (Some(list), Some(digest)) = (artifact.recipient_list(), artifact.recipients_digest())
    else {
        return Ok(());
    };
    let signed = Signed {
        date: Some(list.date),
        digest,
    };
    let policy = context.policy()?;
    for key in [list.owner_key(), list.signer()] {
        let key = key.map_err(OpenError::Owner)?;
        policy.check_signature(key.suite())?;
        let id = key.id()?;
        match whom {
            Whom::Anyone => (),
            Whom::Listed { file, .. } => read_list(context, file)?.judge(id, &signed)?,
            Whom::Named(named) => keyring.judge_beside(named, id, &signed)?,
            Whom::Store => keyring.judge(id, &signed)?,
        }
    }
    Ok(())
}

/// Refuses another artifact or folder than the one that was asked for, though its publisher is the same.
pub(crate) fn require_id(found: &impl ToString, wanted: Option<&str>) -> Result<(), Fault> {
    let found = found.to_string();
    match wanted {
        Some(wanted) if !found.eq_ignore_ascii_case(wanted) => Err(Fault::new(
            Outcome::No,
            format!("its id is {found}, not {}", wanted.escape_debug()),
        )
        .hint("it is another thing by the same publisher, or the id was not copied whole")),
        _ => Ok(()),
    }
}

/// The key with this id, if the file trusts it for the role and for this signature.
pub(crate) fn listed(
    context: &Context<'_>,
    file: &Path,
    role: &str,
    id: KeyId,
    signed: &Signed,
) -> Result<VerifyingKey, Fault> {
    let key = read_list(context, file)?.into_signer(id, role, signed)?;
    context.policy()?.check_signature(key.suite())?;
    Ok(key)
}

fn read_list(context: &Context<'_>, file: &Path) -> Result<TrustList, Fault> {
    // Opened only for a list that has names of it.
    let store = OnceCell::new();
    TrustList::read(file, || opened(context, &store))
}

fn opened<'s>(context: &Context<'_>, store: &'s OnceCell<Store>) -> Result<&'s Store, Fault> {
    if let Some(store) = store.get() {
        return Ok(store);
    }
    let opened = context.store()?;
    Ok(store.get_or_init(|| opened))
}
