//! `casemate rewrap`.

mod rekey;
mod remote;

use std::path::Path;

use casemate_crypto::{encoding::KeyId, kem::KemPublicKey};
use casemate_seal::{
    Artifact, Origin, ReadAt, RecipientRecord, change_recipients,
    directory::{LocalFolder, is_sealed_directory, rewrap_directory, unfinished_rewrap},
    file,
};
use serde_json::{Value, json};

use super::{
    directory,
    owner::{self, ListKey, owner_key},
};
use crate::{
    args::RewrapOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    place::Place,
    progress, trust,
};

/// Who shall be a recipient, by the options.
struct Wanted {
    /// Whether present recipients stay unless they are removed.
    keep: bool,
    added: Vec<KemPublicKey>,
    removed: Vec<KeyId>,
    /// Who signs the new list, for artifacts that have an owner.
    list: Option<ListKey>,
}

pub(crate) fn run(context: &Context<'_>, options: &RewrapOptions) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    if options.rekey && options.to.is_empty() {
        return Err(Fault::usage("--rekey needs every recipient, with --to")
            .hint("a new key is encrypted to each of them, which takes their public keys"));
    }
    let mut removed = Vec::new();
    for named in &options.remove {
        removed.push(keyring.removed(named)?);
    }
    let wanted = Wanted {
        keep: options.to.is_empty(),
        added: keyring.recipients(if options.to.is_empty() {
            &options.add
        } else {
            &options.to
        })?,
        removed,
        list: ListKey::named(&mut keyring, options)?,
    };
    let mut results = Vec::new();
    for input in &options.inputs {
        // More than one may be named, and those before are done.
        let named = |fault: Fault| match options.inputs.len() {
            1 => fault,
            _ => fault.about(&input.to_text()),
        };
        results.push(match input {
            Place::Local(path) if options.rekey => {
                let rekey = if is_sealed_directory(path) {
                    rekey::folder
                } else {
                    rekey::file
                };
                rekey(context, &mut keyring, options, path, &wanted).map_err(named)?
            }
            Place::Remote(address) if options.rekey => {
                let message =
                    format!("{address} is in a store: --rekey works on this machine only");
                return Err(Fault::usage(message)
                    .hint("`casemate copy` it here, seal it anew, and copy it back"));
            }
            Place::Local(path) if is_sealed_directory(path) => {
                rewrap_folder(context, &mut keyring, options, path, &wanted).map_err(named)?
            }
            Place::Local(path) => {
                rewrap_file(context, &mut keyring, options, path, &wanted).map_err(named)?
            }
            Place::Remote(address) => {
                let change = remote::Change {
                    context,
                    options,
                    wanted: &wanted,
                };
                change.address(&mut keyring, address).map_err(named)?
            }
        });
    }
    if !options.rekey && (!options.remove.is_empty() || !options.to.is_empty()) {
        context.printer.note(
            "who is no recipient any more has had the content key, and opens copies from before with it; `rewrap --rekey` seals the content under another one",
        );
    }
    if context.printer.is_json() {
        let data = match results.as_slice() {
            [one] => one.clone(),
            many => json!({ "schema": "casemate.rewrapped-all/1", "results": many }),
        };
        context.printer.data(&data, "");
    }
    Ok(())
}

fn rewrap_file(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    input: &Path,
    wanted: &Wanted,
) -> Result<Value, Fault> {
    let target = file::open_exclusive(input)
        .map_err(|error| Fault::file("open for writing", input, error))?;
    let artifact = Artifact::read(&target)?;
    let signer = trust::signer_quietly(context, keyring, &artifact, options.whom())?;
    let key = keyring.opener(&artifact)?;
    let (kept, added) = split(context, &artifact, wanted, false)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    let keep = |record: &RecipientRecord| kept.contains(&record.key);
    owner::require_epoch(&artifact, options.min_epoch)?;
    let owner = owner_key(&artifact, wanted.list.as_ref())?;
    let list = wanted.list.as_ref().map(|key| key.signer(owner.as_ref()));
    let done = change_recipients(&target, &key, origin, &keep, &added, list)?;
    let own = key.public_key().id().map_err(unencodable)?;
    warn_if_out(context, &input.display().to_string(), &[own], &kept, &added);
    let (before, after) = (done.before, done.after);
    context.printer.done(&format!(
        "rewrapped {}: {before} recipients before, {after} now",
        input.display()
    ));
    Ok(json!({
        "schema": "casemate.rewrapped/1",
        "artifact": input,
        "recipients_before": before,
        "recipients_after": after,
        "artifact_bytes": done.artifact_len,
    }))
}

fn rewrap_folder(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    input: &Path,
    wanted: &Wanted,
) -> Result<Value, Fault> {
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let place = LocalFolder::open(input);
    let place = place.map_err(|error| Fault::file("open", input, error))?;
    // The command that is run again after an interruption may find its work half done.
    let again = matches!(unfinished_rewrap(&place), Ok(Some(_)));
    let folder = directory::open_folder(context, keyring, Box::new(place), &keys, options.whom())?;
    let (kept, added) = split(context, folder.artifact(), wanted, again)?;
    let before = folder.artifact().recipients().len();
    let files = folder.manifest().files.len().saturating_add(1);
    let bar = progress::bar(files as u64, "rewrapping");
    owner::require_epoch(folder.artifact(), options.min_epoch)?;
    let owner = owner_key(folder.artifact(), wanted.list.as_ref())?;
    let list = wanted.list.as_ref().map(|key| key.signer(owner.as_ref()));
    let done = rewrap_directory(folder, &keys, &kept, &added, list, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let mut own = Vec::new();
    for key in &keys {
        own.push(key.public_key().id().map_err(unencodable)?);
    }
    warn_if_out(context, &input.display().to_string(), &own, &kept, &added);
    let after = kept.len().saturating_add(added.len());
    let (changed, skipped) = (done.changed, done.skipped);
    context.printer.done(&format!(
        "rewrapped {}: {before} recipients before, {after} now; {changed} artifacts changed, {skipped} had them already",
        input.display()
    ));
    Ok(json!({
        "schema": "casemate.rewrapped-directory/1",
        "directory": input,
        "recipients_before": before,
        "recipients_after": after,
        "changed": changed,
        "skipped": skipped,
    }))
}

/// Who of the present recipients stays, and who comes.
fn split<'w, R: ReadAt>(
    context: &Context<'_>,
    artifact: &Artifact<R>,
    wanted: &'w Wanted,
    again: bool,
) -> Result<(Vec<KeyId>, Vec<&'w KemPublicKey>), Fault> {
    let policy = context.policy()?;
    let present = artifact.recipients();
    for id in &wanted.removed {
        if !again && !present.iter().any(|record| record.key == *id) {
            return Err(Fault::new(
                Outcome::Usage,
                format!("key {id} is no recipient, so it cannot be removed"),
            )
            .hint("`casemate inspect` lists the recipients"));
        }
    }
    let mut kept = Vec::new();
    for record in present {
        if wanted.keep && !wanted.removed.contains(&record.key) {
            policy.check_kem(record.suite)?;
            kept.push(record.key);
        }
    }
    let added = wanted.added.iter();
    let added: Vec<_> = added
        .filter(|key| !key.id().is_ok_and(|id| kept.contains(&id)))
        .collect();
    Ok((kept, added))
}

/// Warns if none of the caller's own keys opens it any more.
fn warn_if_out(
    context: &Context<'_>,
    what: &str,
    own: &[KeyId],
    kept: &[KeyId],
    added: &[&KemPublicKey],
) {
    let added: Vec<_> = added.iter().filter_map(|key| key.id().ok()).collect();
    if !own.iter().any(|id| kept.contains(id) || added.contains(id)) {
        context.printer.warning(&format!(
            "the key that opened {what} is no recipient any more"
        ));
    }
}

fn unencodable<E>(_: E) -> Fault {
    Fault::usage("the key cannot be encoded")
}
