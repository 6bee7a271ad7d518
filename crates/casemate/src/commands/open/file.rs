//! `casemate open` for an artifact.

use std::{io::Write as _, path::Path};

use casemate_seal::{
    Artifact, Opened, Origin, ReadAt, Source,
    file::{Access, AtomicFile},
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    args::OpenOptions,
    context::Context,
    fault::{Fault, Outcome},
    folder::note_leftover,
    keyring::Keyring,
    output::existing,
    owner::require_epoch,
    printer::{bytes_text, path_text},
    progress, trust,
};

pub(super) fn open(
    context: &Context<'_>,
    options: &OpenOptions,
    source: Source,
    output: &Path,
) -> Result<(), Fault> {
    let artifact = Artifact::read(source)?;
    note_leftover(context, &artifact);
    let mut keyring = Keyring::new(context);
    let trusted_signers = options.origin.trusted_signers();
    let signer =
        trust::expected_signer_with_warning(context, &mut keyring, &artifact, trusted_signers)?;
    let key = keyring.opener(&artifact)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    let opened = artifact.open(&key, origin)?;
    if let Some(minimum) = options.origin.min_revision {
        artifact.require_revision(minimum)?;
    }
    require_epoch(&artifact, options.origin.min_epoch)?;
    trust::require_id(&artifact.header().id(), options.origin.id.as_deref())?;
    if output == Path::new("-") {
        return to_stdout(context, &opened);
    }

    let existing = existing(options.force);
    let failed = |error| Fault::file("write", output, error);
    let target = AtomicFile::create(output, Access::Owner, existing).map_err(failed)?;
    let bar = progress::bar(opened.content_len(), "opening");
    opened.copy_to(target.file(), &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    target.commit(existing).map_err(failed)?;

    let private = opened.private();
    let json = json!({
        "schema": "casemate.opened/1",
        "output": path_text(output),
        "content_bytes": opened.content_len(),
        "name": private.name,
        "metadata": private.metadata,
        "id": artifact.header().id().to_string(),
        "revision": artifact.header().revision(),
        "signer": signer.as_ref().and_then(|key| key.id().ok()).map(|id| id.to_hex()),
        "origin_checked": signer.is_some(),
    });
    context.printer.json(&json);
    let text = bytes_text(opened.content_len());
    context
        .printer
        .done(&format!("opened {text} to {}", output.display()));
    Ok(())
}

/// Writes each part only after checking it. If a later part fails, the command ends with an error.
fn to_stdout<R: ReadAt>(context: &Context<'_>, opened: &Opened<R>) -> Result<(), Fault> {
    const PART_BYTES: u64 = 16 << 20;
    let failed = |error| {
        let message = "cannot write to standard output".to_owned();
        context
            .printer
            .content_failed(Fault::caused(Outcome::Io, message, error))
    };
    let mut out = context.printer.content().map_err(failed)?;
    let len = PART_BYTES.min(opened.content_len());
    let mut part = Zeroizing::new(vec![0; usize::try_from(len).unwrap_or(0)]);
    let mut at = 0_u64;
    while at < opened.content_len() {
        let rest = opened.content_len().saturating_sub(at);
        let len = part.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let part = part.get_mut(..len).unwrap_or_default();
        opened.read_at(part, at)?;
        out.write_all(part).map_err(failed)?;
        at = at.saturating_add(len as u64);
    }
    Ok(())
}
