//! `casemate keys audit`.

mod compare;
mod copy;

use std::{
    io::{self, Write as _},
    path::Path,
};

use casemate_audit::{Entry, Proof, VerifierKeys};
use casemate_environment::read_limited;
use casemate_gateway::unix_seconds;
use casemate_keys::KeyName;
use casemate_seal::{
    ReadAt as _, WriteAt as _,
    file::{self, Access, AtomicFile, Existing},
};
use casemate_store::{Location, RemoteObject, Upload};
use serde_json::{Value, json};

use crate::{
    args::AuditCommand,
    context::Context,
    fault::{Fault, Outcome},
    place::Place,
    printer::{one_line, time_text},
};

const FILE_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(context: &Context<'_>, command: AuditCommand) -> Result<(), Fault> {
    match command {
        AuditCommand::Enable { origin, output } => enable(context, &origin, output.as_deref()),
        AuditCommand::Keys { output } => {
            let keys = context.key_store()?.log_verifier_keys()?;
            write_keys(context, &keys, output.as_deref())
        }
        AuditCommand::Show { from, key } => show(context, from, key.as_deref()),
        AuditCommand::Checkpoint { output } => checkpoint(context, output.as_ref()),
        AuditCommand::Export { folder } => copy::export(context, &folder),
        AuditCommand::Verify {
            checkpoint,
            log,
            keys,
        } => match (log, keys) {
            (Some(log), Some(keys)) => copy::verify(context, &log, &read_keys(&keys)?, &checkpoint),
            (_, keys) => compare::verify(context, keys.as_deref(), &checkpoint),
        },
        AuditCommand::Prove { entry, output } => prove(context, entry, &output),
        AuditCommand::Check { proof, keys } => check(context, &proof, &keys),
    }
}

fn enable(context: &Context<'_>, origin: &str, output: Option<&Path>) -> Result<(), Fault> {
    let policy = context.policy()?;
    if policy.check_http().is_err() {
        let message = format!(
            "the policy `{}` demands category 5, and checkpoints are signed with ML-DSA-44",
            policy.name()
        );
        return Err(Fault::new(Outcome::NotPermitted, message).hint(
            "C2SP defines nothing stronger for checkpoints; pass another --policy for this command",
        ));
    }
    // A log cannot be ended, so what could fail comes before it.
    let file = output.map(|path| {
        AtomicFile::create(path, Access::Umask, Existing::Keep)
            .map_err(|error| Fault::file("write", path, error))
    });
    let file = file.transpose()?;
    let keys = context.key_store()?.enable_log(origin)?;
    match (file, output) {
        (Some(file), Some(path)) => file
            .file()
            .write_all(keys.to_text().as_bytes())
            .and_then(|()| file.commit(Existing::Keep))
            .map_err(|error| {
                Fault::file("write", path, error)
                    .hint("the log has begun; `casemate keys audit keys` writes its keys")
            })?,
        _ => write_keys(context, &keys, None)?,
    }
    context.printer.done(&format!(
        "began the audit log {origin}; give its keys to whoever will verify it, and keep checkpoints on another machine"
    ));
    Ok(())
}

fn write_keys(
    context: &Context<'_>,
    keys: &VerifierKeys,
    output: Option<&Path>,
) -> Result<(), Fault> {
    let text = keys.to_text();
    let Some(path) = output else {
        let json =
            json!({ "schema": "casemate.audit-keys/1", "origin": keys.name(), "keys": text });
        context.printer.data(&json, text.trim_end());
        return Ok(());
    };
    file::write(path, text.as_bytes(), Access::Umask, Existing::Keep)
        .map_err(|error| Fault::file("write", path, error))
}

fn read_keys(path: &Path) -> Result<VerifierKeys, Fault> {
    Ok(VerifierKeys::from_text(&read_text(path)?)?)
}

fn read_text(path: &Path) -> Result<String, Fault> {
    let content = read_limited(path, FILE_BYTES_MAX)?;
    let text = str::from_utf8(content.expose());
    let text = text.map_err(|_| Fault::usage(format!("{} is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

fn entry_json(number: u64, entry: &Entry) -> Value {
    let mut json = json!(entry);
    if let Some(object) = json.as_object_mut() {
        object.insert("number".to_owned(), number.into());
    }
    json
}

fn entry_line(number: u64, entry: &Entry) -> String {
    let what = json!(entry.what);
    let what = what.as_str().unwrap_or_default();
    let text = |text: &Option<String>| one_line(text.as_deref().unwrap_or_default());
    let (key, about) = (text(&entry.key), text(&entry.about));
    let (time, by) = (time_text(entry.time), one_line(&entry.by));
    format!("{number:>6}  {time}  {what:<13} {key:<20} {about}  [{by}]")
}

fn show(context: &Context<'_>, from: u64, key: Option<&str>) -> Result<(), Fault> {
    let is_wanted = |entry: &Entry| match (key, &entry.key) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(key), Some(found)) if key.contains('@') => found == key,
        (Some(key), Some(found)) => found.split_once('@').is_some_and(|(name, _)| name == key),
    };
    if let Some(key) = key {
        let name = key.split_once('@').map_or(key, |(name, _)| name);
        name.parse::<KeyName>()?;
    }
    let (mut lines, mut entries) = (Vec::new(), Vec::new());
    let log = context
        .key_store()?
        .verify_log::<Fault>(&mut |number, _, entry| {
            if number >= from && is_wanted(entry) {
                lines.push(entry_line(number, entry));
                entries.push(entry_json(number, entry));
            }
            Ok(())
        })?;
    let json = json!({
        "schema": "casemate.audit/1",
        "size": log.size,
        "root": hex::encode(log.root),
        "entries": entries,
    });
    context.printer.data(&json, &lines.join("\n"));
    Ok(())
}

fn checkpoint(context: &Context<'_>, output: Option<&Place>) -> Result<(), Fault> {
    let store = context.key_store()?;
    let signed = store.checkpoint(unix_seconds())?;
    let Some(place) = output else {
        let json = json!({ "schema": "casemate.audit-checkpoint/1", "checkpoint": signed });
        context.printer.data(&json, signed.trim_end());
        return Ok(());
    };
    match place {
        Place::Local(path) => {
            if path.symlink_metadata().is_ok() {
                let old = read_limited(path, FILE_BYTES_MAX)?;
                compare::require_earlier(&store, path, old.expose())?;
            }
            file::write(path, signed.as_bytes(), Access::Umask, Existing::Replace)
                .map_err(|error| Fault::file("write", path, error))?;
        }
        Place::Remote(address) => {
            let location = context.locate(address)?;
            if let Some(old) = earlier_object(&location)
                .map_err(|error| Fault::file("read", Path::new(address), error))?
            {
                compare::require_earlier(&store, Path::new(address), &old)?;
            }
            let failed = |error| Fault::file("write", Path::new(address), error);
            let len = signed.len() as u64;
            let upload = Upload::create(&location, len, Existing::Replace).map_err(failed)?;
            upload.write_all_at(signed.as_bytes(), 0).map_err(failed)?;
            upload.commit().map_err(failed)?;
        }
    }
    context
        .printer
        .done(&format!("wrote the checkpoint to {place}"));
    Ok(())
}

/// Returns what an object holds, if there is one.
fn earlier_object(location: &Location) -> io::Result<Option<Vec<u8>>> {
    let object = match RemoteObject::open(location) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        object => object?,
    };
    let len = usize::try_from(object.byte_len()?).unwrap_or(usize::MAX);
    let mut content = vec![0; len.min(FILE_BYTES_MAX)];
    object.read_exact_at(&mut content, 0)?;
    Ok(Some(content))
}

fn prove(context: &Context<'_>, entry: u64, output: &Path) -> Result<(), Fault> {
    let proof = context.key_store()?.prove(entry, unix_seconds())?;
    let text = proof.to_text();
    file::write(output, text.as_bytes(), Access::Umask, Existing::Keep)
        .map_err(|error| Fault::file("write", output, error))?;
    context.printer.done(&format!(
        "the proof of entry {entry} is in {}; `casemate keys audit check` needs no key store",
        output.display()
    ));
    Ok(())
}

fn check(context: &Context<'_>, proof: &Path, keys: &Path) -> Result<(), Fault> {
    let keys = read_keys(keys)?;
    let proof = Proof::from_text(&read_text(proof)?)?;
    let checkpoint = proof.verify(&keys)?;
    let entry = Entry::decode(&proof.entry)?;
    let json = json!({
        "schema": "casemate.audit-proof/1",
        "origin": checkpoint.origin(),
        "size": checkpoint.size(),
        "entry": entry_json(proof.index, &entry),
    });
    context
        .printer
        .data(&json, &entry_line(proof.index, &entry));
    context.printer.done(&format!(
        "the entry is in {}, which had {} entries",
        checkpoint.origin(),
        checkpoint.size()
    ));
    Ok(())
}
