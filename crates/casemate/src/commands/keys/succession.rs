//! `casemate keys succession`.

use std::path::Path;

use casemate_crypto::{encoding::PrivateKey, signature::SigningKey};
use casemate_gateway::unix_seconds;
use casemate_keys::{End, KeyEntry, Usage};
use casemate_seal::file::{self, Access};
use casemate_statement::Succession;
use serde_json::json;

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    output::existing,
    printer::{path_text, time_text},
};

pub(super) fn write(
    context: &Context<'_>,
    previous: &str,
    next: Option<&str>,
    output: &Path,
    force: bool,
) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let (old_key, old) = signing_key(&mut keyring, previous)?;
    let next = next.map_or_else(|| old.name.to_string(), str::to_owned);
    let (new_key, new) = signing_key(&mut keyring, &next)?;
    if old.id == new.id {
        let message = format!("`{previous}` has no successor yet");
        return Err(Fault::usage(message).hint(format!(
            "make one with `casemate keys rotate {}`, or name the version before it",
            old.name
        )));
    }
    if old.name == new.name && old.version > new.version {
        let message = format!("`{}@{}` is older than `{previous}`", new.name, new.version);
        return Err(Fault::usage(message).hint("name the older version first"));
    }
    let from = match old.status.end {
        Some(End::Superseded { at }) => at,
        Some(End::Compromised { .. }) => {
            let message = format!("`{previous}` is compromised and cannot vouch for another key");
            return Err(Fault::new(Outcome::NotPermitted, message).hint(
                "give others the new public key in a way that does not depend on the old one",
            ));
        }
        None => unix_seconds(),
    };
    // The old key has been replaced, so its limits no longer matter.
    keyring.reserve([next.as_str()], Usage { uses: 1, bytes: 0 })?;
    let statement = Succession::sign(&old_key, &new_key, new.name.as_str(), from)?;
    file::write(output, &statement, Access::Umask, existing(force))
        .map_err(|error| Fault::file("write", output, error))?;
    let json = json!({
        "schema": "casemate.succession/1",
        "file": path_text(output),
        "previous": old.id.to_hex(),
        "next": new.id.to_hex(),
        "from": from,
    });
    context.printer.json(&json);
    context.printer.done(&format!(
        "key {} succeeds key {} from {}; the statement is in {}",
        new.id,
        old.id,
        time_text(from),
        output.display()
    ));
    Ok(())
}

/// Returns a signing key whatever its state: the previous one is no longer active.
fn signing_key(keyring: &mut Keyring<'_>, named: &str) -> Result<(SigningKey, KeyEntry), Fault> {
    let entry = keyring.entry(named)?;
    match keyring.store()?.private_key(&entry)? {
        PrivateKey::Sign(key) => Ok((key, entry)),
        PrivateKey::Kem(_) | PrivateKey::Http(_) => {
            Err(Fault::usage(format!("`{named}` is not a signing key")))
        }
    }
}
