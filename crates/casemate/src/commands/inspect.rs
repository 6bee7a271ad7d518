//! `casemate inspect`.

mod below;
mod folder;
mod model;

use std::{fmt::Write as _, path::Path};

use casemate_crypto::encoding::KeyId;
use casemate_seal::{
    Artifact, ReadAt,
    file::{self, Existing},
    folder::read_manifest,
    looks_sealed,
};
use casemate_store::{Location, RemoteFolder};
use serde_json::{Map, Value, json};

use crate::{
    args::InspectOptions,
    context::Context,
    fault::Fault,
    owner,
    place::{Place, Sealed},
    printer::{bytes_text, time_text},
};

pub(crate) fn run(context: &Context<'_>, options: &InspectOptions) -> Result<(), Fault> {
    if let Place::Remote(address) = &options.input
        && let Some(prefix) = prefix(context, address)?
    {
        return below::list_below(context, &prefix);
    }
    if let (true, Place::Local(path)) = (options.model, &options.input)
        && path.is_file()
    {
        let file = file::open_shared(path).map_err(|error| Fault::file("open", path, error))?;
        if !looks_sealed(&file) {
            return model::show_plain(context, path, &file);
        }
    }
    let (artifact, folder) = match context.sealed(&options.input)? {
        Sealed::Folder(folder) => (read_manifest(&*folder)?, Some(folder)),
        Sealed::File(source) => (Artifact::read(source)?, None),
    };
    let (mut fields, mut text) = (fields(&artifact), lines(&artifact));
    let is_folder = folder.is_some();
    if let Some(folder) = folder {
        match folder::listing(context, folder) {
            Ok((listing, lines)) => {
                text.push_str(&lines);
                fields.insert("folder".to_owned(), listing);
            }
            Err(fault) => context
                .printer
                .note(&format!("cannot list the files: {fault}")),
        }
    }
    if options.model {
        if is_folder {
            return Err(Fault::usage(
                "--model inspects one file: pass a file inside the folder",
            ));
        }
        let (found, lines) = model::show(context, &artifact)?;
        fields.insert("model".to_owned(), found);
        text.push_str(&lines);
    }
    context.printer.data(&Value::Object(fields), &text);
    Ok(())
}

/// Returns the prefix, if the address ends in a slash and is not itself a sealed folder.
fn prefix(context: &Context<'_>, address: &str) -> Result<Option<Location>, Fault> {
    let location = context.locate(address)?;
    if !location.is_prefix() {
        return Ok(None);
    }
    let folder = RemoteFolder::new(location.clone(), Existing::Keep);
    let failed = |error| Fault::file("open", Path::new(address), error);
    let is_folder = folder.has_manifest().map_err(failed)?;
    Ok((!is_folder).then_some(location))
}

/// Returns what the artifact says, as JSON.
fn fields<R: ReadAt>(artifact: &Artifact<R>) -> Map<String, Value> {
    let header = artifact.header();
    let key = |id: KeyId, suite: &str| json!({ "key": id.to_hex(), "suite": suite });
    let recipients: Vec<_> = artifact
        .recipients()
        .iter()
        .map(|record| key(record.key, record.suite.name))
        .collect();
    let signature = artifact.signature().map(
        |record| json!({ "key": record.key.to_hex(), "suite": record.suite.name, "verified": false }),
    );
    let fields = [
        ("schema", json!("casemate.artifact/1")),
        ("id", json!(header.id().to_string())),
        ("header_digest", json!(hex::encode(header.digest()))),
        ("content_type", json!(header.content_type())),
        ("content_bytes", json!(header.content_len())),
        ("artifact_bytes", json!(artifact.artifact_len())),
        ("created", json!(header.created())),
        ("revision", json!(header.revision())),
        (
            "publisher",
            json!(header.publisher().map(|key| key.to_hex())),
        ),
        ("segment_bytes", json!(header.segment_size().bytes())),
        ("segments", json!(header.segments())),
        ("hash", json!(header.hash().name())),
        ("root", json!(root(artifact))),
        ("cipher", json!("FLOE AES-256-GCM HKDF-SHA384")),
        ("recipients", json!(recipients)),
        ("owner", owner::fields(artifact)),
        ("signature", json!(signature)),
        ("leftover_bytes", json!(artifact.leftover_len())),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// Returns the same as text.
fn lines<R: ReadAt>(artifact: &Artifact<R>) -> String {
    let header = artifact.header();
    let added = artifact.artifact_len().saturating_sub(header.content_len());
    let mut text = format!(
        "artifact    {}\ncontent     {}, {}\nadded       {added} B\nsegments    {} of {} B, {}, AES-256-GCM (FLOE)\nroot        {}\ncreated     {}",
        header.id(),
        bytes_text(header.content_len()),
        header.content_type(),
        header.segments(),
        header.segment_size().bytes(),
        header.hash().name(),
        root(artifact),
        time_text(header.created()),
    );
    if let Some(revision) = header.revision() {
        _ = write!(text, "\nrevision    {revision}");
    }
    for record in artifact.recipients() {
        _ = write!(text, "\nrecipient   {} {}", record.key, record.suite.name);
    }
    if let Some(owner) = owner::line(artifact) {
        _ = write!(text, "\nrecipients  {owner}");
    }
    match artifact.signature() {
        Some(record) => {
            let (key, suite) = (record.key, record.suite.name);
            _ = write!(text, "\nsigned by   {key} {suite} (not verified)");
        }
        None => text.push_str("\nsigned by   nobody"),
    }
    let leftover = artifact.leftover_len();
    if leftover > 0 {
        _ = write!(text, "\nleftover    {leftover} B of an unfinished rewrap");
    }
    text
}

fn root<R: ReadAt>(artifact: &Artifact<R>) -> String {
    let mut hex = String::new();
    let bytes = artifact.root().iter();
    bytes.for_each(|byte| _ = write!(hex, "{byte:02x}"));
    hex
}
