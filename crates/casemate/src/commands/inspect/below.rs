//! Lists artifacts, sealed folders and objects that are not sealed below a prefix of an object
//! store.

use std::{fmt::Write as _, path::Path};

use casemate_seal::{Artifact, ReadAt as _, file::Existing, folder::read_manifest};
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder, RemoteObject, list};
use serde_json::{Value, json};

use crate::{
    below::SealedListing,
    context::Context,
    fault::{Fault, Outcome},
    printer::{bytes_text, count_text},
    progress,
};

/// Lists a prefix. Shows an artifact that cannot be read with its error, and continues.
pub(super) fn list_below(context: &Context<'_>, prefix: &Location) -> Result<(), Fault> {
    let address = prefix.address();
    let failed = |error| Fault::file("list", Path::new(address), error);
    let paths = list(prefix, OBJECTS_MAX).map_err(failed)?;
    if paths.is_empty() {
        let message = format!("no objects below {address}");
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    let SealedListing { units, plain } = SealedListing::of(paths);
    let (mut rows, mut unreadable) = (Vec::new(), 0_usize);
    let bar = progress::bar(units.len() as u64, "inspecting");
    for unit in &units {
        let row = if unit.is_folder {
            folder_row(prefix, &unit.path)
        } else {
            artifact_row(prefix, &unit.path)
        };
        rows.push(row.unwrap_or_else(|fault| {
            unreadable = unreadable.saturating_add(1);
            json!({ "path": unit.path, "error": fault.to_string() })
        }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let json = json!({
        "schema": "casemate.inspected-prefix/1",
        "prefix": address,
        "artifacts": rows,
        "not_sealed": plain,
    });
    context.printer.data(&json, &text(&rows, &plain));
    if unreadable > 0 {
        let message = format!("{} cannot be read", count_text(unreadable, "artifact"));
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    Ok(())
}

fn folder_row(prefix: &Location, folder: &str) -> Result<Value, Fault> {
    let failed = |error| Fault::file("open", Path::new(folder), error);
    let location = prefix.join(folder).map_err(failed)?;
    let place = RemoteFolder::new(location, Existing::Keep);
    Ok(row(folder, "folder", &read_manifest(&place)?))
}

fn artifact_row(prefix: &Location, path: &str) -> Result<Value, Fault> {
    let failed = |error| Fault::file("open", Path::new(path), error);
    let location = prefix.join(path).map_err(failed)?;
    let object = RemoteObject::open(&location).map_err(failed)?;
    let mut row = row(path, "file", &Artifact::read(&object)?);
    if let Some(fields) = row.as_object_mut() {
        let len = object.byte_len().map_err(failed)?;
        fields.insert("artifact_bytes".to_owned(), len.into());
    }
    Ok(row)
}

fn row<R: casemate_seal::ReadAt>(path: &str, kind: &str, artifact: &Artifact<R>) -> Value {
    let header = artifact.header();
    let recipients = artifact.recipients().iter();
    json!({
        "path": path,
        "kind": kind,
        "id": header.id().to_string(),
        "revision": header.revision(),
        "created": header.created(),
        // A folder's artifact is its manifest, whose length says nothing about the files.
        "content_bytes": (kind == "file").then(|| header.content_len()),
        "publisher": header.publisher().map(|key| key.to_hex()),
        "owner": header.owner().map(|key| key.to_hex()),
        "recipients": recipients.map(|record| record.key.to_hex()).collect::<Vec<_>>(),
    })
}

fn text(rows: &[Value], plain: &[String]) -> String {
    let mut out = String::new();
    for row in rows {
        let path = row["path"].as_str().unwrap_or_default().escape_debug();
        if let Some(error) = row["error"].as_str() {
            _ = writeln!(out, "{path}\n  error       {error}");
            continue;
        }
        let kind = row["kind"].as_str().unwrap_or_default();
        let size = row["content_bytes"]
            .as_u64()
            .map(bytes_text)
            .map_or_else(String::new, |size| format!(", {size}"));
        let revision = row["revision"]
            .as_u64()
            .map_or_else(String::new, |number| format!(", revision {number}"));
        _ = writeln!(out, "{path}\n  {kind}{size}{revision}");
        let publisher = row["publisher"].as_str().unwrap_or("nobody");
        _ = writeln!(out, "  signed by   {publisher} (not verified)");
        for recipient in row["recipients"].as_array().into_iter().flatten() {
            let recipient = recipient.as_str().unwrap_or_default();
            _ = writeln!(out, "  recipient   {recipient}");
        }
    }
    if !plain.is_empty() {
        _ = writeln!(out, "not sealed: {}", count_text(plain.len(), "object"));
        for path in plain {
            _ = writeln!(out, "  {}", path.escape_debug());
        }
    }
    out.trim_end().to_owned()
}
