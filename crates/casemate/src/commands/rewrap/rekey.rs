//! `casemate rewrap --rekey`: the same content under another key.

use std::{fs, path::Path};

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{SigningKey, VerifyingKey},
};
use casemate_gateway::unix_seconds;
use casemate_seal::{
    Artifact, ListSigner, Origin, ReadAt, check_owner,
    directory::{
        LocalFolder, RekeyOptions, StagedDirectory, check_sealed_replaceable, is_sealed_directory,
        rekey_directory,
    },
    file::{self, Access, AtomicFile, Existing},
    seal,
};
use serde_json::{Value, json};

use super::Wanted;
use crate::{
    args::RewrapOptions,
    commands::{
        directory,
        owner::{self, owner_key},
    },
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    progress, seen, trust,
};

/// The publisher's key, if the artifact has a publisher.
fn publisher_key(
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    publisher: Option<KeyId>,
) -> Result<Option<SigningKey>, Fault> {
    let key = options.sign.as_deref().map(|named| keyring.signer(named));
    let key = key.transpose()?;
    let id = key.as_ref().map(|key| key.verifying_key().id());
    match (publisher, id.transpose()?) {
        (None, None) => Ok(None),
        (Some(publisher), Some(id)) if publisher == id => Ok(key),
        (Some(publisher), _) => {
            let message = format!("only its publisher, key {publisher}, can seal it anew");
            Err(Fault::new(Outcome::NotPermitted, message).hint("name that key with --sign"))
        }
        (None, Some(_)) => Err(
            Fault::usage("it has no publisher, so there is nothing to sign")
                .hint("leave out --sign, or seal the content anew with `casemate seal --sign`"),
        ),
    }
}

fn next(revision: Option<u64>) -> Result<Option<u64>, Fault> {
    let Some(revision) = revision else {
        return Ok(None);
    };
    let next = revision.checked_add(1);
    next.map(Some)
        .ok_or_else(|| Fault::usage("it is the last revision there can be"))
}

pub(super) fn file(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    input: &Path,
    wanted: &Wanted,
) -> Result<Value, Fault> {
    // What a link leads to is sealed anew, not the link replaced.
    let input = &fs::canonicalize(input).map_err(|error| Fault::file("open", input, error))?;
    refuse_part_of_a_folder(input)?;
    let failed = |what, error| Fault::file(what, input, error);
    // Nobody changes the recipients meanwhile.
    let held = file::open_exclusive(input).map_err(|error| failed("open for writing", error))?;
    let artifact = Artifact::read(&held)?;
    let signer = trust::signer_quietly(context, keyring, &artifact, options.whom())?;
    let key = keyring.opener(&artifact)?;
    let header = artifact.header();
    let sign = publisher_key(keyring, options, header.publisher())?;
    let owner = owner_key(&artifact, wanted.list.as_ref())?;
    check_owner(header.owner(), anew_list(wanted, owner.as_ref()))?;
    owner::require_epoch(&artifact, options.min_epoch)?;
    // What the publisher is to sign again must be what the publisher signed.
    let signer = sign
        .as_ref()
        .map(SigningKey::verifying_key)
        .or(signer.as_ref());
    let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
    let opened = artifact.open(&key, origin)?;
    let recipients: Vec<_> = wanted.added.iter().collect();
    let anew = anew(wanted, &recipients, sign.as_ref(), owner.as_ref());
    let sealing = anew.sealing(
        header,
        opened.private(),
        artifact.public_part(),
        next(header.revision())?,
    );
    let bar = progress::bar(header.content_len(), "sealing anew");
    let target = AtomicFile::create(input, Access::Umask, Existing::Replace)
        .map_err(|error| failed("write", error))?;
    let sealed = seal(&opened, target.file(), &sealing, &|bytes| bar.inc(bytes))?;
    let mode = held.metadata().map(|found| found.permissions());
    mode.and_then(|mode| target.file().set_permissions(mode))
        .map_err(|error| failed("write", error))?;
    target
        .commit(Existing::Replace)
        .map_err(|error| failed("write", error))?;
    bar.finish_and_clear();
    say(context, input, &key, &recipients);
    Ok(json!({
        "schema": "casemate.rekeyed/1",
        "artifact": input,
        "id_before": header.id().to_string(),
        "id": sealed.id.to_string(),
        "revision": sealing.revision,
        "recipients": recipients.len(),
    }))
}

pub(super) fn folder(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    input: &Path,
    wanted: &Wanted,
) -> Result<Value, Fault> {
    let input = &fs::canonicalize(input).map_err(|error| Fault::file("open", input, error))?;
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let place = LocalFolder::open(input).map_err(|error| Fault::file("open", input, error))?;
    let folder = directory::open_folder(context, keyring, Box::new(place), &keys, options.whom())?;
    let artifact = folder.artifact();
    let sign = publisher_key(keyring, options, artifact.header().publisher())?;
    if let Some(sign) = &sign {
        artifact.verify_signature(sign.verifying_key())?;
    }
    let place = input.display().to_string();
    directory::check_not_older(context, &folder, options.whom(), &place, None)?;
    owner::require_epoch(artifact, options.min_epoch)?;
    let owner = owner_key(artifact, wanted.list.as_ref())?;
    let recipients: Vec<_> = wanted.added.iter().collect();
    let anew = anew(wanted, &recipients, sign.as_ref(), owner.as_ref());
    let bar = progress::bar(folder.manifest().content_len(), "sealing anew");
    let replaceable = &check_sealed_replaceable;
    let stage = StagedDirectory::create(input, Access::Umask, Existing::Replace, replaceable)?;
    let sealed = rekey_directory(&folder, &keys, &stage, &anew, &|bytes| bar.inc(bytes))?;
    stage.commit(input, Existing::Replace, replaceable)?;
    let publisher = sign.as_ref().map(|key| key.verifying_key().id());
    seen::record(context, publisher.transpose()?, &sealed, &place);
    bar.finish_and_clear();
    let own = keys.iter().find(|key| opens(key, folder.artifact()));
    if let Some(own) = own {
        say(context, input, own, &recipients);
    }
    Ok(json!({
        "schema": "casemate.rekeyed-directory/1",
        "directory": input,
        "id": sealed.manifest.id.to_string(),
        "revision": sealed.manifest.revision,
        "files": sealed.manifest.files.len(),
        "recipients": recipients.len(),
    }))
}

fn opens<R: ReadAt>(key: &KemPrivateKey, artifact: &Artifact<R>) -> bool {
    let id = key.public_key().id();
    id.is_ok_and(|id| artifact.recipients().iter().any(|record| record.key == id))
}

fn anew_list<'a>(wanted: &'a Wanted, owner: Option<&'a VerifyingKey>) -> Option<ListSigner<'a>> {
    wanted.list.as_ref().map(|key| key.signer(owner))
}

/// A file of a sealed folder has to stay the one that the folder's manifest names.
fn refuse_part_of_a_folder(input: &Path) -> Result<(), Fault> {
    let mut above = input.ancestors().skip(1);
    let Some(folder) = above.find(|folder| is_sealed_directory(folder)) else {
        return Ok(());
    };
    let message = format!("{} is part of a sealed folder", input.display());
    Err(Fault::usage(message).hint(format!("seal the folder anew: {}", folder.display())))
}

fn anew<'a>(
    wanted: &'a Wanted,
    recipients: &'a [&'a KemPublicKey],
    signer: Option<&'a SigningKey>,
    owner: Option<&'a VerifyingKey>,
) -> RekeyOptions<'a> {
    RekeyOptions {
        recipients,
        signer,
        owner: anew_list(wanted, owner),
        created: unix_seconds(),
    }
}

fn say(context: &Context<'_>, input: &Path, own: &KemPrivateKey, recipients: &[&KemPublicKey]) {
    let shown = input.display();
    let count = recipients.len();
    context.printer.done(&format!(
        "sealed {shown} anew under another key, for {count} recipients"
    ));
    context.printer.note(
        "copies from before still open with the keys from before, and former recipients may have kept what they read",
    );
    let own = own.public_key().id();
    let stays = recipients
        .iter()
        .any(|key| key.id().ok() == own.as_ref().ok().copied());
    if !stays {
        context.printer.warning(&format!(
            "the key that opened {shown} is no recipient any more"
        ));
    }
}
