//! `casemate inspect`.

use std::fmt::Write as _;

use casemate_seal::{Artifact, file};
use serde_json::json;

use crate::{args::InspectOptions, context::Context, fault::Fault, printer::bytes_text};

pub(crate) fn run(context: &Context<'_>, options: &InspectOptions) -> Result<(), Fault> {
    let source = file::open_shared(&options.input)
        .map_err(|error| Fault::file("open", &options.input, error))?;
    let artifact = Artifact::read(source)?;
    let header = artifact.header();
    let recipients: Vec<_> = artifact
        .recipients()
        .iter()
        .map(|record| json!({ "key": record.key.to_hex(), "suite": record.suite.name }))
        .collect();
    let signature = artifact
        .signature()
        .map(|record| json!({ "key": record.key.to_hex(), "suite": record.suite.name, "verified": false }));
    let mut root = String::new();
    artifact
        .root()
        .iter()
        .for_each(|byte| _ = write!(root, "{byte:02x}"));
    let added = artifact.artifact_len().saturating_sub(header.content_len());
    let json = json!({
        "schema": "casemate.artifact/1",
        "id": header.id().to_string(),
        "content_type": header.content_type(),
        "content_bytes": header.content_len(),
        "artifact_bytes": artifact.artifact_len(),
        "created": header.created(),
        "segment_bytes": header.segment_size().bytes(),
        "segments": header.segments(),
        "hash": header.hash().name(),
        "root": root,
        "cipher": "FLOE AES-256-GCM HKDF-SHA384",
        "recipients": recipients,
        "signature": signature,
        "leftover_bytes": artifact.leftover_len(),
    });
    let mut text = format!(
        "artifact    {}\ncontent     {}, {}\nadded       {added} B\nsegments    {} of {} B, {}, AES-256-GCM (FLOE)\nroot        {root}\ncreated     {}",
        header.id(),
        bytes_text(header.content_len()),
        header.content_type(),
        header.segments(),
        header.segment_size().bytes(),
        header.hash().name(),
        header.created(),
    );
    for record in artifact.recipients() {
        _ = write!(text, "\nrecipient   {} {}", record.key, record.suite.name);
    }
    match artifact.signature() {
        Some(record) => {
            _ = write!(
                text,
                "\nsigned by   {} {} (not verified)",
                record.key, record.suite.name
            );
        }
        None => text.push_str("\nsigned by   nobody"),
    }
    if artifact.leftover_len() > 0 {
        _ = write!(
            text,
            "\nleftover    {} B of an unfinished rewrap",
            artifact.leftover_len()
        );
    }
    context.printer.data(&json, &text);
    Ok(())
}
