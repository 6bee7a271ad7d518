//! Whom a command trusts to have signed.

use std::path::Path;

use casemate_crypto::{encoding::KeyId, signature::VerifyingKey};
use casemate_seal::{Artifact, OpenError, ReadAt};
use serde::Deserialize;

use crate::{
    args::{Origin, RewrapOptions, Trust, TrustFile, VerifyOptions},
    context::{Context, read_limited},
    fault::{Fault, Outcome},
    keyring::Keyring,
};

const FILE_BYTES_MAX: usize = 1 << 20;
const ROLE_BYTES_MAX: usize = 64;

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
    match whom {
        Whom::Anyone => Ok(None),
        Whom::Named(named) => keyring.expected_signer(named).map(Some),
        Whom::Store => keyring.trusted_signer(artifact).map(Some),
        Whom::Listed { file, role } => {
            let record = artifact.signature().ok_or(OpenError::Unsigned)?;
            listed(context, file, role, record.key).map(Some)
        }
    }
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

/// A file that says who may sign what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    publisher: Vec<Publisher>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publisher {
    /// A name or full key id in the key store, or the path of a public key file, such as `./publisher.pub`, relative to the list.
    key: String,
    roles: Vec<String>,
}

/// The key with this id, if the file lists it for the role.
pub(crate) fn listed(
    context: &Context<'_>,
    file: &Path,
    role: &str,
    id: KeyId,
) -> Result<VerifyingKey, Fault> {
    let list = read(file)?;
    let base = file.parent().unwrap_or_else(|| Path::new(""));
    let mut keyring = Keyring::relative_to(context, base);
    let mut others = Vec::new();
    for publisher in &list.publisher {
        let key = keyring.verifier(&publisher.key)?;
        let found = key.id().map_err(|_| bad(file, "a key cannot be encoded"))?;
        if found != id {
            continue;
        }
        if publisher.roles.iter().any(|listed| listed == role) {
            return Ok(key);
        }
        others.extend(publisher.roles.iter().cloned());
    }
    let what = if others.is_empty() {
        format!("which {} does not list", file.display())
    } else {
        format!(
            "which {} trusts for {}, not for {role}",
            file.display(),
            others.join(", ")
        )
    };
    let message = format!("it is signed by key {id}, {what}");
    Err(Fault::new(Outcome::NotPermitted, message)
        .hint("add the publisher if you trust it, or name another --role"))
}

fn read(file: &Path) -> Result<List, Fault> {
    let text = read_limited(file, FILE_BYTES_MAX).map_err(|fault| fault.about("trust file"))?;
    let text = str::from_utf8(text.expose()).map_err(|_| bad(file, "it is not UTF-8"))?;
    let list: List = toml::from_str(text).map_err(|error| {
        let fault = Fault::from_error(Outcome::Usage, error);
        fault.hint(format!(
            "{} lists publishers as [[publisher]] with `key` and `roles`",
            file.display()
        ))
    })?;
    let is_role = |role: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !role.is_empty() && role.len() <= ROLE_BYTES_MAX && role.bytes().all(plain)
    };
    let mut roles = list.publisher.iter().flat_map(|publisher| &publisher.roles);
    if !roles.all(is_role) {
        return Err(bad(
            file,
            "a role is a word of letters, digits, `-`, `_` and `.`",
        ));
    }
    Ok(list)
}

fn bad(file: &Path, rule: &str) -> Fault {
    Fault::usage(format!("{} cannot be used: {rule}", file.display()))
}
