//! `casemate keys import`.

use std::{io::Read as _, path::Path};

use casemate_crypto::{
    SecretBytes,
    encoding::{EncodingError, KEY_FILE_BYTES_MAX, PrivateKey, PublicKey},
    signature::VerifyingKey,
};
use casemate_environment::{check_secret, public_from_bytes, read_limited};
use casemate_gateway::unix_seconds;
use casemate_keys::{KeyEntry, KeyName, Status};
use casemate_seal::{Artifact, Origin, looks_sealed};
use casemate_statement::Succession;

use super::{check_policy, entry::print_entry, transfer::PRIVATE_KEY};
use crate::{
    args::ImportOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    trust::{self, TrustedSigners},
};

/// A key to import.
enum Imported {
    Private(PrivateKey),
    Public(PublicKey),
}

/// What a file holds.
enum Content {
    Key(Box<Imported>),
    /// A statement that names the next version of a public key.
    Succession(SecretBytes),
}

impl Content {
    fn private(key: PrivateKey) -> Self {
        Self::Key(Box::new(Imported::Private(key)))
    }
}

/// Verifies a statement with the current version of the key, and returns the next one.
fn succeed(
    context: &Context<'_>,
    options: &ImportOptions,
    name: &KeyName,
    statement: &SecretBytes,
    status: Status,
) -> Result<(Imported, Status), Fault> {
    if !options.next_version {
        return Err(Fault::usage("the file names the successor of a key")
            .hint("pass --next-version and the --name of the key that it succeeds"));
    }
    let mut keyring = Keyring::new(context);
    let current = keyring.entry(name.as_str())?;
    let key = keyring.verifier(name.as_str())?;
    let succession = Succession::verify(statement.expose(), &key)?;
    let next = VerifyingKey::new(succession.next().suite(), succession.next().as_bytes())?;
    let status = Status {
        valid_from: Some(status.valid_from.unwrap_or_else(|| succession.from())),
        successor_of: Some(current.id),
        ..status
    };
    Ok((Imported::Public(PublicKey::Sign(next)), status))
}

pub(super) fn import(context: &Context<'_>, options: &ImportOptions) -> Result<(), Fault> {
    let name: KeyName = options.name.parse()?;
    let successor_of = options
        .successor_of
        .as_deref()
        .map(|named| Keyring::new(context).public(named))
        .transpose()?
        .map(|key| key.id())
        .transpose()?;
    let status = Status {
        valid_from: options.validity.valid_from,
        valid_until: options.validity.valid_until,
        successor_of,
        end: None,
    };
    let (key, status) = match read(context, options)? {
        Content::Key(key) => (*key, status),
        Content::Succession(statement) => succeed(context, options, &name, &statement, status)?,
    };
    let public = match &key {
        Imported::Private(key) => &key.public_key().map_err(bad)?,
        Imported::Public(key) => key,
    };
    check_policy(context, public)?;
    let mut store = context.key_store()?;
    let now = unix_seconds();
    let entry: KeyEntry = match (&key, options.next_version) {
        (Imported::Private(key), false) => store.add_private(name, key, now, status)?,
        (Imported::Public(key), false) => store.add_public(name, key, now, status)?,
        (Imported::Private(key), true) => store.append_private(&name, key, now, status)?.new,
        (Imported::Public(key), true) => store.append_public(&name, key, now, status)?.new,
    };
    print_entry(context, &entry);
    Ok(())
}

fn read(context: &Context<'_>, options: &ImportOptions) -> Result<Content, Fault> {
    let is_stdin = options.file == Path::new("-");
    let content = if is_stdin {
        from_stdin()?
    } else {
        read_limited(&options.file, 4 * KEY_FILE_BYTES_MAX)?
    };
    if looks_sealed(&content.expose()) {
        return unseal(context, options, content.expose()).map(Content::private);
    }
    if let Some(signer) = &options.signer {
        let message =
            format!("--signer {signer} is for a sealed private key, and this file is not one");
        return Err(Fault::usage(message));
    }
    if content.expose().trim_ascii_start().starts_with(b"{") {
        return Ok(Content::Succession(content));
    }
    let check_mode = || {
        if is_stdin {
            return Ok(());
        }
        check_secret(&options.file)
    };
    if let Some(key) = import_age(content.expose())? {
        check_mode()?;
        return Ok(Content::private(key));
    }
    match public_from_bytes(content.expose()) {
        Ok(public) => Ok(Content::Key(Box::new(Imported::Public(public)))),
        Err(EncodingError::Label { .. }) => {
            let private = PrivateKey::from_pem(content.expose()).map_err(bad)?;
            check_mode()?;
            Ok(Content::private(private))
        }
        Err(error) => Err(bad(error)),
    }
}

fn from_stdin() -> Result<SecretBytes, Fault> {
    let limit = 4 * KEY_FILE_BYTES_MAX;
    // Reserve all of it: growing would leave a copy behind.
    let mut bytes = Vec::with_capacity(limit.saturating_add(1));
    std::io::stdin()
        .take(limit.saturating_add(1) as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::from_error(Outcome::Io, error))?;
    Ok(SecretBytes::new(bytes))
}

fn bad(error: EncodingError) -> Fault {
    let expanded = matches!(error, EncodingError::ExpandedOnly);
    let fault = Fault::from_error(Outcome::Usage, error);
    if expanded {
        fault.hint("export it again with its seed")
    } else {
        fault
    }
}

/// Opens a private key that was sealed to a key of this store.
fn unseal(
    context: &Context<'_>,
    options: &ImportOptions,
    content: &[u8],
) -> Result<PrivateKey, Fault> {
    let artifact = Artifact::read(content)?;
    if artifact.header().content_type() != PRIVATE_KEY {
        let message = format!(
            "{} is sealed, but not as a private key",
            options.file.display()
        );
        return Err(Fault::usage(message).hint("open it with `casemate open`"));
    }
    let mut keyring = Keyring::new(context);
    let trusted = options
        .signer
        .as_deref()
        .map_or(TrustedSigners::Store, TrustedSigners::Named);
    let signer = trust::expected_signer(context, &mut keyring, &artifact, trusted)?;
    let key = keyring.opener(&artifact)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    let opened = artifact.open(&key, origin)?;
    let pem = opened.read_all(KEY_FILE_BYTES_MAX as u64, &|_| ())?;
    PrivateKey::from_pem(&pem).map_err(bad)
}

/// Returns the private key of an age identity file; `None` if the text is not one.
fn import_age(text: &[u8]) -> Result<Option<PrivateKey>, Fault> {
    match str::from_utf8(text) {
        Ok(text) if text.contains("AGE-SECRET-KEY-") => {
            let key = casemate_age::identity_from_text(text)?;
            Ok(Some(PrivateKey::Kem(key)))
        }
        _ => Ok(None),
    }
}
