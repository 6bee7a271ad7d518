//! `casemate rewrap`.

use casemate_seal::{Artifact, Origin, file, rewrap};
use serde_json::json;

use crate::{
    args::RewrapOptions,
    context::{Context, Keyring},
    fault::Fault,
};

pub(crate) fn run(context: &Context<'_>, options: &RewrapOptions) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let recipients = keyring.recipients(&options.to)?;
    let target = file::open_exclusive(&options.input)
        .map_err(|error| Fault::file("open for writing", &options.input, error))?;
    let artifact = Artifact::read(&target)?;
    let signer = if options.allow_unknown_signer {
        None
    } else {
        Some(keyring.trusted_signer(&artifact, options.trust.signer.as_deref())?)
    };
    let key = keyring.opener(&artifact)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    let recipients: Vec<_> = recipients.iter().collect();
    let done = rewrap(&target, &key, origin, &recipients)?;
    let own = key.public_key().id().ok();
    let kept = recipients
        .iter()
        .any(|recipient| recipient.id().ok() == own);
    if !kept {
        context
            .printer
            .warning("the key that opened it is no recipient any more");
    }
    let json = json!({
        "schema": "casemate.rewrapped/1",
        "artifact": options.input,
        "recipients_before": done.before,
        "recipients_after": done.after,
        "artifact_bytes": done.artifact_len,
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    let (before, after) = (done.before, done.after);
    context.printer.done(&format!(
        "rewrapped {}: {before} recipients before, {after} now",
        options.input.display()
    ));
    Ok(())
}
