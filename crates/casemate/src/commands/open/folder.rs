//! `casemate open` for a folder.

use std::path::Path;

use casemate_seal::folder::FolderSource;
use serde_json::json;

use crate::{
    args::OpenOptions,
    context::Context,
    fault::Fault,
    folder::{check_current, open_folder},
    keyring::Keyring,
    output::existing,
    owner,
    printer::{bytes_text, count_text, path_text},
    progress,
    trust::{self, TrustedSigners},
};

pub(super) fn open(
    context: &Context<'_>,
    options: &OpenOptions,
    folder: Box<dyn FolderSource>,
    output: &Path,
) -> Result<(), Fault> {
    if output == Path::new("-") {
        return Err(Fault::usage("cannot write a folder to standard output")
            .hint("open one of its files, or name the output with -o DIR"));
    }
    let mut keyring = Keyring::new(context);
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let trusted_signers = options.origin.trusted_signers();
    let sealed = open_folder(context, &mut keyring, folder, &keys, trusted_signers)?;
    let place = options.input.to_text();
    trust::require_id(&sealed.manifest().id, options.origin.id.as_deref())?;
    check_current(
        context,
        &sealed,
        trusted_signers,
        &place,
        options.origin.min_revision,
    )?;
    owner::require_epoch(sealed.artifact(), options.origin.min_epoch)?;
    let manifest = sealed.manifest();
    let bar = progress::bar(manifest.content_len(), "opening");
    sealed.copy_to(output, existing(options.force), &keys, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    let json = json!({
        "schema": "casemate.opened-folder/1",
        "output": path_text(output),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "content_bytes": manifest.content_len(),
        "origin_checked": !matches!(trusted_signers, TrustedSigners::Anyone),
    });
    context.printer.json(&json);
    let (files, content) = (manifest.files.len(), bytes_text(manifest.content_len()));
    let shown = output.display();
    let text = format!(
        "opened {}, {content}, to {shown}",
        count_text(files, "file")
    );
    context.printer.done(&text);
    Ok(())
}
