//! `casemate verify`.

use casemate_seal::Artifact;
use serde_json::json;

use super::{directory, open::note_leftover};
use crate::{
    args::VerifyOptions,
    context::{Context, Keyring},
    fault::Fault,
    place::Sealed,
    progress,
};

pub(crate) fn run(context: &Context<'_>, options: &VerifyOptions) -> Result<(), Fault> {
    let source = match context.sealed(&options.input)? {
        Sealed::Folder(folder) => return directory::verify(context, options, folder),
        Sealed::File(source) => source,
    };
    if options.min_revision.is_some() {
        return Err(Fault::usage(
            "--min-revision is for folders: a single file has no revision",
        ));
    }
    let signer = Keyring::new(context).verifier(&options.signer)?;
    let artifact = Artifact::read(source)?;
    note_leftover(context, &artifact);
    artifact.verify_signature(&signer)?;
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
        "signer": id.to_hex(),
        "suite": signer.suite().name,
        "segments": header.segments(),
    });
    let text = format!(
        "verified {}: signed by {id} ({}), {} segments intact",
        options.input,
        signer.suite().name,
        header.segments()
    );
    context.printer.data(&json, &text);
    Ok(())
}
