//! `casemate keys remove`, `retire` and `passwd`.

use std::path::Path;

use casemate_environment::KeyReference;
use casemate_gateway::unix_seconds;
use casemate_keys::{
    End, KeyEntry, PassphraseCost, Role, SlotName, State, Status, StoreError, StoreSecret, Version,
};
use serde_json::json;

use super::entry::{entry_json, print_entry};
use crate::{
    args::Validity,
    context::{Context, Store},
    fault::{Fault, Outcome},
    keyring::Keyring,
    passphrase,
};

pub(super) fn remove(context: &Context<'_>, named: &str, destroy: bool) -> Result<(), Fault> {
    if let KeyReference::Version(..) = named.parse()? {
        let message = format!("`{named}` is one version, and `remove` removes the whole key");
        return Err(Fault::usage(message).hint(format!(
            "run `casemate keys destroy {named}`, or give the name without a version"
        )));
    }
    let mut store = context.key_store()?;
    let name = match named.parse()? {
        KeyReference::Name(name) => name,
        _ => Keyring::new(context).entry(named)?.name,
    };
    let missing = || StoreError::NoKey(name.to_string());
    let versions = store.versions(&name)?.ok_or_else(missing)?.versions;
    let is_private =
        |version: &Version| version.role == Role::Private && version.state != State::Destroyed;
    if versions.iter().any(is_private) && !destroy {
        let message = format!("`{name}` is a private key, and removing it cannot be undone");
        return Err(Fault::new(Outcome::NotPermitted, message).hint(
            "run `casemate keys retire` to keep opening its artifacts and verifying its signatures, or pass --destroy to remove it anyway",
        ));
    }
    let unread = store.remove(&name)?;
    let ids: Vec<_> = versions
        .iter()
        .filter(|version| version.state != State::Destroyed)
        .map(|version| version.key.to_hex())
        .collect();
    let json = json!({ "schema": "casemate.key-removed/1", "name": name.as_str(), "keys": ids });
    context.printer.json(&json);
    let text = match ids.as_slice() {
        [one] => format!("removed {name}, key {one}"),
        all => format!("removed {name} and its {} versions", all.len()),
    };
    context.printer.done(&text);
    for key in unread {
        context.printer.warning(&format!(
            "key {key} could not be read, so nothing is known of its validity: it counts as compromised from now on"
        ));
    }
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
                Fault::usage(format!("--superseded `{date}` is not a date"))
                    .hint("write 2026-12-31 or 2026-12-31T12:00:00Z")
            })?,
        }),
        None if compromised => Some(End::Compromised { at: now }),
        None => entry.status.end,
    };
    let was_compromised = matches!(entry.status.end, Some(End::Compromised { .. }));
    if was_compromised && end != entry.status.end && !compromised {
        let message = format!("`{}` is compromised, which cannot be undone", entry.name);
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
    let entry = context.key_store()?.set_status(entry.id, status)?;
    print_entry(context, &entry);
    Ok(())
}

pub(super) fn passwd(
    context: &Context<'_>,
    file: Option<&Path>,
    random_key: bool,
    compromised: bool,
) -> Result<(), Fault> {
    let mut store = context.key_store()?;
    let through: Vec<_> = store
        .opened_through()
        .iter()
        .map(SlotName::as_str)
        .collect();
    let slot = through.join(", ");
    let others: Vec<SlotName> = store
        .slots()?
        .slots
        .into_iter()
        .map(|slot| slot.name)
        .collect();
    let others: Vec<SlotName> = others
        .into_iter()
        .filter(|name| !store.opened_through().contains(name))
        .collect();
    let cost = PassphraseCost::default();
    let new = |secret: &StoreSecret, store: &mut Store| -> Result<Vec<SlotName>, StoreError> {
        if compromised {
            store.replace_root(secret, cost, unix_seconds())
        } else {
            store.change_secret(secret, cost, unix_seconds())?;
            Ok(Vec::new())
        }
    };
    let lost = if random_key {
        // Change the store only after writing the file: nothing else will open the store.
        let secret = passphrase::random_key(file, "--new-passphrase-file")?;
        new(&secret, &mut store)?
    } else {
        let secret = passphrase::new(file)?;
        secret.check_new()?;
        new(&secret, &mut store)?
    };
    let replace = if compromised {
        private_keys(&store)?
    } else {
        Vec::new()
    };
    let names: Vec<_> = replace.iter().map(entry_json).collect();
    let json = json!({ "schema": "casemate.keys-passwd/1", "compromised": compromised, "replace": names, "removed_slots": lost.iter().map(SlotName::as_str).collect::<Vec<_>>() });
    context.printer.json(&json);
    context.printer.done(&format!(
        "slot {slot} opens with the new passphrase or key, and no longer with the old one"
    ));
    let others: Vec<_> = others.iter().map(SlotName::as_str).collect();
    if !others.is_empty() && !compromised {
        context.printer.note(&format!(
            "these slots still open the key store as before: {}",
            others.join(", ")
        ));
    }
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(SlotName::as_str).collect();
        context.printer.warning(&format!(
            "these slots are gone, because the old root key reveals theirs: {}; add new ones with `casemate keys slots add`",
            names.join(", ")
        ));
    }
    if compromised {
        warn_about_old_copies(context, &replace);
    } else {
        context.printer.note(
            "old copies of the key store still open with the old passphrase or key; if others may know it, run `casemate keys passwd --compromised`",
        );
    }
    Ok(())
}

fn private_keys(store: &Store) -> Result<Vec<KeyEntry>, Fault> {
    let keys = store.list()?.keys.into_iter();
    Ok(keys.filter(|entry| entry.role == Role::Private).collect())
}

/// Warns about the private keys that an old copy of the store still gives away.
fn warn_about_old_copies(context: &Context<'_>, keys: &[KeyEntry]) {
    if keys.is_empty() {
        return;
    }
    context.printer.warning(
        "anyone with an old copy of the key store and its old passphrase or key has these private keys; replace each of them",
    );
    for entry in keys {
        let what = match entry.kind.as_str() {
            "kem" => {
                "make a new key, and re-seal everything sealed to this one with `casemate rewrap --rekey`; changing the recipients alone keeps the old artifact keys"
            }
            "sign" => {
                "make a new key, mark this one compromised in every trust file, and sign everything again"
            }
            _ => "make a new key, and replace this one in gateways and clients",
        };
        let text = format!("{} (key {}): {what}", entry.name, entry.id);
        context.printer.note(&text);
    }
}
