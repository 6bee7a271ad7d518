//! `casemate keys remove`, `retire` and `passwd`.

use std::path::Path;

use casemate_gateway::unix_seconds;
use casemate_keys::{End, KeyEntry, PassphraseCost, Role, Status, StoreSecret};
use serde_json::json;

use super::{entry_json, print_entry};
use crate::{
    args::Validity,
    context::{Context, Store},
    fault::{Fault, Outcome},
    keyring::Keyring,
    passphrase,
};

pub(super) fn remove(context: &Context<'_>, named: &str, destroy: bool) -> Result<(), Fault> {
    let entry = Keyring::new(context).entry(named)?;
    if entry.role == Role::Private && !destroy {
        let message = format!(
            "`{}` is a private key, and would be gone for good",
            entry.name
        );
        return Err(Fault::new(Outcome::NotPermitted, message).hint(
            "`casemate keys retire` keeps what it opens and signed; pass --destroy to remove it all the same",
        ));
    }
    context.store()?.remove(entry.id)?;
    if context.printer.is_json() {
        context.printer.data(&entry_json(&entry), "");
    }
    context
        .printer
        .done(&format!("removed {}, key {}", entry.name, entry.id));
    Ok(())
}

pub(super) fn retire(
    context: &Context<'_>,
    named: &str,
    superseded: Option<&str>,
    compromised: bool,
    validity: &Validity,
) -> Result<(), Fault> {
    let entry = Keyring::new(context).entry(named)?;
    let now = unix_seconds();
    let end = match superseded {
        Some("now") => Some(End::Superseded { at: now }),
        Some(date) => Some(End::Superseded {
            at: casemate_environment::seconds_of(date).ok_or_else(|| {
                Fault::usage(format!("--superseded `{date}` is no date"))
                    .hint("write 2026-12-31 or 2026-12-31T12:00:00Z")
            })?,
        }),
        None if compromised => Some(End::Compromised { at: now }),
        None => entry.status.end,
    };
    let was_compromised = matches!(entry.status.end, Some(End::Compromised { .. }));
    if was_compromised && end != entry.status.end && !compromised {
        let message = format!(
            "`{}` is compromised, which cannot be taken back",
            entry.name
        );
        return Err(Fault::new(Outcome::NotPermitted, message));
    }
    let status = Status {
        valid_from: validity.valid_from.or(entry.status.valid_from),
        valid_until: validity.valid_until.or(entry.status.valid_until),
        end: if was_compromised {
            entry.status.end
        } else {
            end
        },
        ..entry.status
    };
    let entry = context.store()?.set_status(entry.id, status)?;
    print_entry(context, &entry);
    Ok(())
}

pub(super) fn passwd(
    context: &Context<'_>,
    file: Option<&Path>,
    random_key: bool,
    compromised: bool,
) -> Result<(), Fault> {
    let mut store = context.store()?;
    let cost = PassphraseCost::default();
    let new = |secret: &StoreSecret, store: &mut Store| {
        if compromised {
            store.replace_root(secret, cost)
        } else {
            store.change_secret(secret, cost)
        }
    };
    if random_key {
        // The store is changed once the file is safe: without it nothing opens the store.
        let secret = passphrase::random_key(file, "--new-passphrase-file")?;
        new(&secret, &mut store)?;
    } else {
        let secret = passphrase::new(file)?;
        secret.check_new()?;
        new(&secret, &mut store)?;
    }
    let replace = if compromised {
        private_keys(&store)?
    } else {
        Vec::new()
    };
    let names: Vec<_> = replace.iter().map(entry_json).collect();
    let json =
        json!({ "schema": "casemate.keys-passwd/1", "compromised": compromised, "replace": names });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    context
        .printer
        .done("the key store opens with its new secret only");
    if compromised {
        warn_of_copies(context, &replace);
    } else {
        context.printer.note(
            "copies of the store from before still open with the old secret; if others may know it, run it again with --compromised",
        );
    }
    Ok(())
}

fn private_keys(store: &Store) -> Result<Vec<KeyEntry>, Fault> {
    let keys = store.list()?.keys.into_iter();
    Ok(keys.filter(|entry| entry.role == Role::Private).collect())
}

/// Names what an old copy of the store gives away whatever is done here.
fn warn_of_copies(context: &Context<'_>, keys: &[KeyEntry]) {
    if keys.is_empty() {
        return;
    }
    context.printer.warning(
        "whoever has an old copy of the store and its old secret has these private keys; replace each where it is used",
    );
    for entry in keys {
        let what = match entry.kind.as_str() {
            "kem" => {
                "make a new key, and seal anew what is sealed to this one: a change of recipients does not change the key of what is sealed already"
            }
            "sign" => {
                "make a new key, mark this one compromised in every trust file, and sign anew"
            }
            _ => "make a new pair, and replace this one in gateways and clients",
        };
        let text = format!("{} (key {}): {what}", entry.name, entry.id);
        context.printer.note(&text);
    }
}
