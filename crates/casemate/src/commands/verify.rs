//! `casemate verify`.

mod folder;
mod lineage;
mod model;
mod without_key;

use casemate_seal::{Artifact, ReadAt};
use serde_json::json;

use crate::{
    args::VerifyOptions, context::Context, fault::Fault, folder::note_leftover, keyring::Keyring,
    owner, place::Sealed, printer::count_text, progress, trust,
};

pub(crate) fn run(context: &Context<'_>, options: &VerifyOptions) -> Result<(), Fault> {
    if let Some(signature) = &options.signature {
        return model::verify(context, options, signature);
    }
    let source = match context.sealed(&options.input)? {
        Sealed::Folder(folder) => return folder::verify(context, options, folder),
        Sealed::File(_) if options.lineage => {
            return Err(Fault::usage(
                "--lineage is for folders; a sealed file states no sources",
            ));
        }
        Sealed::File(source) => source,
    };
    let artifact = Artifact::read(source)?;
    note_leftover(context, &artifact);
    let mut keyring = Keyring::new(context);
    let signer =
        trust::expected_signer(context, &mut keyring, &artifact, options.trusted_signers())?
            .ok_or_else(|| Fault::usage("no expected signer was given"))?;
    artifact.verify_signature(&signer)?;
    if let Some(minimum) = options.min_revision {
        artifact.require_revision(minimum)?;
    }
    owner::require_epoch(&artifact, options.min_epoch)?;
    trust::require_id(&artifact.header().id(), options.id.as_deref())?;
    let bar = progress::bar(artifact.header().content_len(), "verifying");
    artifact.verify_segments(&|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let id = signer
        .id()
        .map_err(|_| Fault::usage("the signer's key cannot be encoded"))?;
    let header = artifact.header();
    let json = json!({
        "schema": "casemate.verified/1",
        "artifact": options.input.to_text(),
        "id": header.id().to_string(),
        "revision": header.revision(),
        "signer": id.to_hex(),
        "suite": signer.suite().name,
        "segments": header.segments(),
        "created": header.created(),
        "owner": owner::fields(&artifact),
        "message_sha384": hex::encode(artifact.message_digest()),
    });
    let text = format!(
        "verified {}: signed by {} ({}), {} intact\n{}",
        options.input,
        id.to_hex(),
        signer.suite().name,
        count_text(
            usize::try_from(header.segments()).unwrap_or(usize::MAX),
            "segment"
        ),
        recipients_text(&artifact),
    );
    context.printer.data(&json, &text);
    Ok(())
}

/// Says whether the recipients were checked.
fn recipients_text<R: ReadAt>(artifact: &Artifact<R>) -> String {
    let count = artifact.recipients().len();
    match owner::line(artifact) {
        Some(owner) => format!("recipients checked ({count}): {owner}"),
        None => format!(
            "recipients not checked ({count}): the publisher's signature does not cover them, and there is no owner"
        ),
    }
}
