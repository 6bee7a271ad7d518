//! `casemate verify` for a folder.

use casemate_seal::folder::{FolderSource, read_manifest};
use serde_json::json;

use super::{lineage, without_key};
use crate::{
    args::VerifyOptions,
    context::Context,
    fault::Fault,
    folder::{check_current, open_folder},
    keyring::Keyring,
    owner, progress, trust,
};

/// Checks the manifest, the list of files, and every segment of each file against the manifest.
pub(super) fn verify(
    context: &Context<'_>,
    options: &VerifyOptions,
    folder: Box<dyn FolderSource>,
) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    // The recipient list is not authenticated yet, so it must not decide how much is checked.
    if options.without_key || !keyring.has_opener()? {
        if options.lineage {
            let text = "--lineage needs a key that opens the folder";
            return Err(Fault::usage(text).hint("use the key store that has such a key"));
        }
        let artifact = read_manifest(&*folder)?;
        return without_key::verify(context, options, &mut keyring, &*folder, &artifact);
    }
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let sealed = open_folder(
        context,
        &mut keyring,
        folder,
        &keys,
        options.trusted_signers(),
    )?;
    trust::require_id(&sealed.manifest().id, options.id.as_deref())?;
    let (place, trusted_signers) = (options.input.to_text(), options.trusted_signers());
    check_current(
        context,
        &sealed,
        trusted_signers,
        &place,
        options.min_revision,
    )?;
    owner::require_epoch(sealed.artifact(), options.min_epoch)?;
    let manifest = sealed.manifest();
    let bar = progress::bar(manifest.content_len(), "verifying");
    sealed.verify_files(&keys, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    // It was verified when the folder was opened.
    let record = sealed.artifact().signature();
    let (id, suite) = record.map_or_else(Default::default, |r| (r.key.to_hex(), r.suite.name));
    let lineage = if options.lineage {
        Some(lineage::check(context, options, &sealed, &keys)?)
    } else {
        None
    };
    let stated = lineage.as_ref().map(lineage::Report::json).transpose()?;
    let json = json!({
        "schema": "casemate.verified-folder/1",
        "folder": options.input.to_text(),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "signer": id,
        "suite": suite,
        "owner": owner::fields(sealed.artifact()),
        "message_sha384": hex::encode(sealed.artifact().message_digest()),
        "opened": true,
        "lineage": stated,
    });
    let mut text = format!(
        "verified {}: revision {} signed by {id} ({suite}), {} files, complete and intact",
        options.input,
        manifest.revision,
        manifest.files.len()
    );
    if let Some(lineage) = lineage {
        text = format!("{text}\n{}", lineage.text()?);
    }
    context.printer.data(&json, &text);
    Ok(())
}
