//! `casemate rewrap`.

mod rekey;
mod remote;
mod rotation;

use std::{cell::RefCell, path::Path};

use casemate_crypto::{encoding::KeyId, kem::KemPublicKey, signature::VerifyingKey};
use casemate_keys::Usage;
use casemate_seal::{
    Artifact, ListSigner, Origin, ReadAt, RecipientRecord, change_recipients, file,
    folder::{LocalFolder, is_sealed_folder, rewrap_folder, unfinished_rewrap},
};
use serde_json::{Value, json};

use crate::{
    args::RewrapOptions,
    context::Context,
    fault::{Fault, Outcome},
    folder,
    keyring::Keyring,
    owner::{self, RecipientListKey, owner_key},
    place::Place,
    printer::{count_text, path_text},
    progress, trust,
};
use rotation::RotatedKey;
pub(crate) use rotation::run as rotate;

/// The recipients that the options ask for.
struct RequestedRecipients {
    /// Whether current recipients stay unless they are removed.
    keep: bool,
    added: Vec<KemPublicKey>,
    removed: Vec<KeyId>,
    /// The key that signs the new list, for artifacts that have an owner.
    list: Option<RecipientListKey>,
    /// In a rotation: the only artifacts to change are those sealed to lower versions of this key.
    rotated: Option<RotatedKey>,
}

/// The change to make to each artifact.
struct Rewrap<'a> {
    context: &'a Context<'a>,
    options: &'a RewrapOptions,
    wanted: &'a RequestedRecipients,
    /// Inputs that none of the caller's keys can open after the change.
    lost: &'a RefCell<Vec<String>>,
    /// Whether each change is reported.
    reports: bool,
}

impl Rewrap<'_> {
    /// Returns the key of the artifact's owner, if it has one, after checking that the list may
    /// change.
    fn owner<R: ReadAt>(&self, artifact: &Artifact<R>) -> Result<Option<VerifyingKey>, Fault> {
        owner::require_epoch(artifact, self.options.min_epoch)?;
        owner_key(artifact, self.wanted.list.as_ref())
    }

    /// Returns the signer of the new list for the owner `of` an artifact.
    fn list<'k>(&'k self, of: Option<&'k VerifyingKey>) -> Option<ListSigner<'k>> {
        self.wanted.list.as_ref().map(|key| key.signer(of))
    }
}

pub(crate) fn run(context: &Context<'_>, options: &RewrapOptions) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    if options.rekey && options.to.is_empty() {
        return Err(Fault::usage("--rekey needs a complete recipient list")
            .hint("name every recipient with --to; the new artifact key is encrypted to their public keys"));
    }
    if !options.dry_run {
        let uses = options.inputs.len() as u64;
        let named = options.to.iter().chain(&options.add).chain(&options.sign);
        keyring.reserve(named.map(String::as_str), Usage { uses, bytes: 0 })?;
    }
    let mut removed = Vec::new();
    for named in &options.remove {
        removed.push(keyring.removed(named)?);
    }
    let wanted = RequestedRecipients {
        keep: options.to.is_empty(),
        added: keyring.recipients(if options.to.is_empty() {
            &options.add
        } else {
            &options.to
        })?,
        removed,
        list: RecipientListKey::named(&mut keyring, options)?,
        rotated: None,
    };
    if let (false, Some(key)) = (wanted.keep, &wanted.list)
        && let Some(owner) = key.owner()?
    {
        keyring.replace_recipients(owner);
    }
    let lost = RefCell::default();
    let mut results = Vec::new();
    for input in &options.inputs {
        // With several inputs, the error names the one that failed; those before it are done.
        let named = |fault: Fault| match options.inputs.len() {
            1 => fault,
            _ => fault.about(&input.to_text()),
        };
        let change = Rewrap {
            context,
            options,
            wanted: &wanted,
            lost: &lost,
            reports: true,
        };
        let keyring = &mut keyring;
        let done = match input {
            Place::Remote(address) if options.rekey => {
                let message = format!("--rekey does not work in an object store: {address}");
                return Err(Fault::usage(message)
                    .hint("copy it here with `casemate copy`, re-seal it, and copy it back"));
            }
            Place::Remote(address) => change.address(keyring, address),
            Place::Local(path) => match (is_sealed_folder(path), options.rekey) {
                (true, true) => change.rekey_folder(keyring, path),
                (true, false) => change.folder(keyring, path),
                (false, true) => change.rekey_file(keyring, path),
                (false, false) => change.file(keyring, path),
            },
        };
        results.push(done.map_err(named)?);
    }
    warn_if_inaccessible(context, &lost.into_inner());
    report_all(context, options, &results);
    Ok(())
}

fn report_all(context: &Context<'_>, options: &RewrapOptions, results: &[Value]) {
    if !options.rekey && !options.dry_run && (!options.remove.is_empty() || !options.to.is_empty())
    {
        context.printer.note(
            "removed recipients had the artifact key and can still open old copies; to re-seal with a new key, run `casemate rewrap --rekey`",
        );
    }
    context.printer.json(&match results {
        [one] => one.clone(),
        many => json!({ "schema": "casemate.rewrapped-all/1", "results": many }),
    });
}

impl Rewrap<'_> {
    fn file(&self, keyring: &mut Keyring<'_>, input: &Path) -> Result<Value, Fault> {
        let (context, options, wanted) = (self.context, self.options, self.wanted);
        let target =
            file::open_exclusive(input).map_err(|error| Fault::file("change", input, error))?;
        let artifact = Artifact::read(&target)?;
        let signer =
            trust::expected_signer(context, keyring, &artifact, options.trusted_signers())?;
        let key = keyring.opener(&artifact)?;
        let (kept, added) = split(context, &artifact, wanted, false)?;
        let owner = self.owner(&artifact)?;
        if options.dry_run {
            return self.planned(&input.display().to_string(), &artifact, &kept, &added);
        }
        let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
        let keep = |record: &RecipientRecord| kept.contains(&record.key);
        let list = self.list(owner.as_ref());
        let done = change_recipients(&target, &key, origin, &keep, &added, list)?;
        let own = key.public_key().id().map_err(unencodable)?;
        self.record_if_inaccessible(&input.display().to_string(), &[own], &kept, &added);
        let (before, after) = (done.before, done.after);
        self.report(&format!(
            "rewrapped {}: {} before, {after} now",
            input.display(),
            count_text(before, "recipient")
        ));
        Ok(json!({
            "schema": "casemate.rewrapped/1",
            "artifact": path_text(input),
            "recipients_before": before,
            "recipients_after": after,
            "artifact_bytes": done.artifact_len,
        }))
    }

    fn folder(&self, keyring: &mut Keyring<'_>, input: &Path) -> Result<Value, Fault> {
        let (context, options, wanted) = (self.context, self.options, self.wanted);
        let owned = keyring.openers()?;
        let keys: Vec<_> = owned.iter().collect();
        let place = LocalFolder::open(input).map_err(|error| Fault::file("open", input, error))?;
        // After an interruption, the command may find its work half done.
        let again = matches!(unfinished_rewrap(&place), Ok(Some(_)));
        let folder = folder::open_folder(
            context,
            keyring,
            Box::new(place),
            &keys,
            options.trusted_signers(),
        )?;
        let (kept, added) = split(context, folder.artifact(), wanted, again)?;
        let owner = self.owner(folder.artifact())?;
        if options.dry_run {
            let shown = input.display().to_string();
            return self.planned(&shown, folder.artifact(), &kept, &added);
        }
        let before = folder.artifact().recipients().len();
        let files = folder.manifest().files.len().saturating_add(1);
        let bar = progress::bar(files as u64, "rewrapping");
        let list = self.list(owner.as_ref());
        let done = rewrap_folder(folder, &keys, &kept, &added, list, &|| bar.inc(1))?;
        bar.finish_and_clear();
        let mut own = Vec::new();
        for key in &keys {
            own.push(key.public_key().id().map_err(unencodable)?);
        }
        self.record_if_inaccessible(&input.display().to_string(), &own, &kept, &added);
        let after = kept.len().saturating_add(added.len());
        let (changed, skipped) = (done.changed, done.skipped);
        self.report(&format!(
            "rewrapped {}: {} before, {after} now; {} changed, {skipped} already up to date",
            input.display(),
            count_text(before, "recipient"),
            count_text(changed, "artifact")
        ));
        Ok(json!({
            "schema": "casemate.rewrapped-folder/1",
            "folder": path_text(input),
            "recipients_before": before,
            "recipients_after": after,
            "changed": changed,
            "skipped": skipped,
        }))
    }
}

impl Rewrap<'_> {
    fn report(&self, text: &str) {
        if self.reports {
            self.context.printer.done(text);
        }
    }

    /// Prints what would change.
    fn planned<R: ReadAt>(
        &self,
        shown: &str,
        artifact: &Artifact<R>,
        kept: &[KeyId],
        added: &[&KemPublicKey],
    ) -> Result<Value, Fault> {
        let mut new = Vec::new();
        for key in added {
            new.push(key.id()?);
        }
        let present: Vec<_> = artifact.recipients().iter().map(|r| r.key).collect();
        let is_out = |id: &&KeyId| !kept.contains(id) && !new.contains(id);
        let removed: Vec<_> = present.iter().filter(is_out).collect();
        let added: Vec<_> = new.iter().filter(|id| !present.contains(id)).collect();
        let removes = removed.iter().map(|id| format!("remove {id}"));
        let adds = added.iter().map(|id| format!("add {id}"));
        let steps: Vec<_> = removes.chain(adds).collect();
        let text = if steps.is_empty() {
            "nothing to change".to_owned()
        } else {
            format!("would {}", steps.join(", "))
        };
        self.context.printer.done(&format!("{shown}: {text}"));
        let hex = |ids: &[&KeyId]| ids.iter().map(|id| id.to_hex()).collect::<Vec<_>>();
        Ok(json!({
            "schema": "casemate.rewrap-planned/1",
            "artifact": shown,
            "removed": hex(&removed),
            "added": hex(&added),
        }))
    }

    /// Records an input if none of the caller's keys can open it after the change.
    fn record_if_inaccessible(
        &self,
        what: &str,
        own: &[KeyId],
        kept: &[KeyId],
        added: &[&KemPublicKey],
    ) {
        let added: Vec<_> = added.iter().filter_map(|key| key.id().ok()).collect();
        if !own.iter().any(|id| kept.contains(id) || added.contains(id)) {
            self.lost.borrow_mut().push(what.to_owned());
        }
    }
}

/// Warns once about inputs that none of the caller's keys can open any longer.
fn warn_if_inaccessible(context: &Context<'_>, lost: &[String]) {
    let text = match lost {
        [] => return,
        [one] => format!("the key that opened {one} is no longer a recipient"),
        many => format!(
            "the keys that opened {} artifacts are no longer recipients of them",
            many.len()
        ),
    };
    context.printer.warning(&text);
}

/// Returns the current recipients to keep and the new ones to add.
fn split<'w, R: ReadAt>(
    context: &Context<'_>,
    artifact: &Artifact<R>,
    wanted: &'w RequestedRecipients,
    again: bool,
) -> Result<(Vec<KeyId>, Vec<&'w KemPublicKey>), Fault> {
    let policy = context.policy()?;
    let present = artifact.recipients();
    if let Some(rotated) = &wanted.rotated {
        return rotated.split(policy, present, &wanted.added);
    }
    for id in &wanted.removed {
        if !again && !present.iter().any(|record| record.key == *id) {
            return Err(Fault::new(
                Outcome::Usage,
                format!("key {id} is not a recipient, so it cannot be removed"),
            )
            .hint("run `casemate inspect` to list the recipients"));
        }
    }
    let mut kept = Vec::new();
    for record in present {
        if wanted.keep && !wanted.removed.contains(&record.key) {
            policy.check_kem(record.suite)?;
            kept.push(record.key);
        }
    }
    let added: Vec<_> = wanted
        .added
        .iter()
        .filter(|key| !key.id().is_ok_and(|id| kept.contains(&id)))
        .collect();
    Ok((kept, added))
}

fn unencodable<E>(_: E) -> Fault {
    Fault::usage("the key cannot be encoded")
}
