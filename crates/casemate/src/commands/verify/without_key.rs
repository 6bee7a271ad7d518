//! `casemate verify` for a folder, without a key that opens it.

use casemate_seal::{
    Artifact, Source,
    folder::{FolderSource, verify_without_key},
};
use serde_json::json;

use crate::{
    args::VerifyOptions, context::Context, fault::Fault, keyring::Keyring, owner,
    printer::count_text, progress, trust,
};

pub(super) fn verify(
    context: &Context<'_>,
    options: &VerifyOptions,
    keyring: &mut Keyring<'_>,
    folder: &dyn FolderSource,
    manifest: &Artifact<Source>,
) -> Result<(), Fault> {
    if options.min_revision.is_some() || options.id.is_some() {
        let message = "--min-revision and --id need a key that opens the folder";
        return Err(Fault::usage(message)
            .hint("use a key store with a recipient's key, or leave out both options"));
    }
    let signer = trust::expected_signer(context, keyring, manifest, options.trusted_signers())?
        .ok_or_else(|| Fault::usage("no expected signer was given"))?;
    owner::require_epoch(manifest, options.min_epoch)?;
    let bar = progress::spinner();
    let list = verify_without_key(folder, manifest, &signer, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let id = signer.id()?;
    let files = list.files().len();
    let json = json!({
        "schema": "casemate.verified-folder/1",
        "folder": options.input.to_text(),
        "id": null,
        "revision": null,
        "files": files,
        "signer": id.to_hex(),
        "suite": signer.suite().name,
        "owner": owner::fields(manifest),
        "message_sha384": hex::encode(manifest.message_digest()),
        "opened": false,
    });
    let text = format!(
        "verified {} without a key: signed by {} ({}), {}, complete and intact\nnot checked: the revision, the plaintext, and who can open the files",
        options.input,
        id.to_hex(),
        signer.suite().name,
        count_text(files, "file"),
    );
    context.printer.data(&json, &text);
    Ok(())
}
