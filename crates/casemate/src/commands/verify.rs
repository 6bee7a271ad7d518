//! `casemate verify`.

use casemate_seal::Artifact;
use serde_json::json;

use super::{directory, open::note_leftover, sign};
use crate::{
    args::VerifyOptions, context::Context, fault::Fault, keyring::Keyring, place::Sealed, progress,
    trust,
};

pub(crate) fn run(context: &Context<'_>, options: &VerifyOptions) -> Result<(), Fault> {
    if let Some(signature) = &options.signature {
        return sign::verify(context, options, signature);
    }
    let source = match context.sealed(&options.input)? {
        Sealed::Folder(folder) => return directory::verify(context, options, folder),
        Sealed::File(source) => source,
    };
    let artifact = Artifact::read(source)?;
    note_leftover(context, &artifact);
    let mut keyring = Keyring::new(context);
    let signer = trust::signer_quietly(context, &mut keyring, &artifact, options.whom())?;
    let signer = signer.ok_or_else(|| Fault::usage("nobody is named who must have signed"))?;
    artifact.verify_signature(&signer)?;
    if let Some(minimum) = options.min_revision {
        artifact.require_revision(minimum)?;
    }
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
        "message_sha384": hex::encode(artifact.message_digest()),
    });
    let text = format!(
        "verified {}: signed by {} ({}), {} segments intact",
        options.input,
        id.to_hex(),
        signer.suite().name,
        header.segments()
    );
    context.printer.data(&json, &text);
    Ok(())
}
