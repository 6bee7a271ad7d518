//! `casemate verify --signature`, for models that stay readable.

use std::path::Path;

use casemate_crypto::encoding::KEY_FILE_BYTES_MAX;
use casemate_environment::read_limited;
use casemate_oms::{EcdsaPublicKey, Trusted};
use serde_json::json;

use crate::{
    args::VerifyOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    place::Place,
    printer::{count_text, path_text},
    progress,
    signature::{self, advance, classical_only_error, ignored},
};

/// Checks a model against its detached signature.
pub(super) fn verify(
    context: &Context<'_>,
    options: &VerifyOptions,
    signature: &Path,
) -> Result<(), Fault> {
    let Place::Local(model) = &options.input else {
        return Err(Fault::usage("cannot verify a model in an object store")
            .hint("download it to this machine first"));
    };
    if options.min_revision.is_some() || options.id.is_some() {
        return Err(Fault::usage(
            "--min-revision and --id do not apply: a detached signature has neither",
        ));
    }
    let mut keyring = Keyring::new(context);
    let ignore = ignored(&options.ignore, signature, model);
    let signature = signature::read(signature)?;
    let signer = if options.allow_classical {
        context
            .printer
            .warning("only a classical signature is checked, which a quantum computer could forge");
        None
    } else if options.signer.is_none() && options.trusted.file.is_none() {
        return Err(classical_only_error("checked"));
    } else {
        Some(signature::signer(
            context,
            &mut keyring,
            &signature,
            options.trusted_signers(),
        )?)
    };
    let classical = options.oms.as_deref().map(public_key).transpose()?;
    let bar = progress::bar(0, "verifying");
    let trusted = Trusted {
        signer: signer.as_ref(),
        classical: classical.as_ref(),
    };
    let verified = signature.verify(model, &ignore, &trusted, &|step| advance(&bar, step))?;
    bar.finish_and_clear();
    let signer = signer.as_ref().and_then(|key| key.id().ok());
    let json = json!({
        "schema": "casemate.model-verified/1",
        "model": path_text(model),
        "name": verified.name,
        "resources": verified.resources,
        "ignored": verified.ignored,
        "signer": signer.map(|id| id.to_hex()),
        "classical_checked": classical.is_some(),
        "message_sha384": hex::encode(signature.message_digest()),
    });
    let by = signer.map_or_else(|| "a classical key".to_owned(), |id| id.to_hex());
    let (shown, count) = (model.display(), verified.resources);
    let mut text = format!(
        "verified {shown}: {} signed by {by}",
        count_text(count, "resource")
    );
    if model.is_dir() {
        text.push_str("; left out by the publisher: ");
        let ignored: Vec<_> = verified
            .ignored
            .iter()
            .map(|path| path.escape_debug().to_string())
            .collect();
        text.push_str(&ignored.join(", "));
    }
    context.printer.data(&json, &text);
    Ok(())
}

fn public_key(path: &Path) -> Result<EcdsaPublicKey, Fault> {
    let pem = read_limited(path, KEY_FILE_BYTES_MAX)?;
    EcdsaPublicKey::from_pem(pem.expose()).map_err(|error| {
        Fault::from_error(Outcome::Usage, error)
            .hint("write the public key with `openssl pkey -in oms.pem -pubout -out oms.pub`")
    })
}
