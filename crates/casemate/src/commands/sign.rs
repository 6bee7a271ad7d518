//! `casemate sign`, and `casemate verify --signature`.

use std::path::{Path, PathBuf};

use casemate_crypto::{encoding::KEY_FILE_BYTES_MAX, signature::VerifyingKey};
use casemate_environment::Signed;
use casemate_oms::{
    BUNDLE_BYTES_MAX, EcdsaKey, EcdsaPublicKey, ModelSignature, Signing, Step, Trusted,
    check_output, path_inside, sign,
};
use casemate_seal::{
    directory::is_sealed_directory,
    file::{self, Access},
};
use indicatif::ProgressBar;
use serde_json::json;

use super::directory::existing;
use crate::{
    args::{SignOptions, VerifyOptions},
    context::{Context, read_limited, read_secret},
    fault::{Fault, Outcome},
    keyring::Keyring,
    place::Place,
    printer::{count_text, path_text},
    progress,
    trust::{self, TrustedSigners},
};

pub(crate) fn run(context: &Context<'_>, options: &SignOptions) -> Result<(), Fault> {
    if is_sealed_directory(&options.model) {
        let shown = options.model.display();
        let message = format!("{shown} is a sealed folder, which already carries a signature");
        return Err(Fault::usage(message).hint("run `casemate verify` to check it"));
    }
    let output = output_of(options)?;
    check_output(&output, options.force)?;
    let mut keyring = Keyring::new(context);
    let named = options.sign.as_deref();
    let signer = named.map(|named| keyring.signer(named)).transpose()?;
    if signer.is_none() && !options.allow_classical {
        return Err(classical_only_error("signed"));
    }
    let classical = options.oms.as_deref().map(private_key).transpose()?;
    let bar = progress::bar(0, "signing");
    let signing = Signing {
        signer: signer.as_ref(),
        classical: classical.as_ref(),
        ignore: &options.ignore,
        output: Some(&output),
        follow_links: options.follow_links,
        segment_hash: context.policy()?.hash(),
    };
    let bundle = sign(&options.model, &signing, &|step| advance(&bar, step))?;
    bar.finish_and_clear();
    file::write(&output, &bundle, Access::Umask, existing(options.force))
        .map_err(|error| Fault::file("write", &output, error))?;
    let key = signer
        .as_ref()
        .and_then(|key| key.verifying_key().id().ok());
    let json = json!({
        "schema": "casemate.model-signed/1",
        "model": path_text(&options.model),
        "signature": path_text(&output),
        "signer": key.map(|id| id.to_hex()),
        "oms": classical.is_some(),
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    let (model, output) = (options.model.display(), output.display());
    context
        .printer
        .done(&format!("signed {model}; the signature is in {output}"));
    Ok(())
}

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
    let signature = read(signature)?;
    let signer = if options.allow_classical {
        context
            .printer
            .warning("only a classical signature is checked, which a quantum computer could forge");
        None
    } else if options.signer.is_none() && options.trusted.file.is_none() {
        return Err(classical_only_error("checked"));
    } else {
        Some(signer(
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
        let ignored = verified.ignored.iter();
        let ignored: Vec<_> = ignored
            .map(|path| path.escape_debug().to_string())
            .collect();
        text.push_str(&ignored.join(", "));
    }
    context.printer.data(&json, &text);
    Ok(())
}

/// Reads a detached signature without verifying it.
pub(super) fn read(path: &Path) -> Result<ModelSignature, Fault> {
    let is_file = std::fs::metadata(path).map(|found| found.is_file());
    if !is_file.map_err(|error| Fault::file("read", path, error))? {
        // Reading a planted pipe would block forever.
        let message = format!("{} is not a regular file", path.display());
        return Err(Fault::usage(message).hint("pass the file that `casemate sign` wrote"));
    }
    let bytes = read_limited(path, BUNDLE_BYTES_MAX)?;
    Ok(ModelSignature::decode(bytes.expose())?)
}

/// Returns the paths at which unsigned files are allowed: those given, and the signature itself.
pub(super) fn ignored(given: &[PathBuf], signature: &Path, model: &Path) -> Vec<PathBuf> {
    let own = path_inside(signature, model);
    given.iter().cloned().chain(own).collect()
}

/// Returns the composite key that is the expected signer of a model.
pub(super) fn signer(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    signature: &ModelSignature,
    trusted_signers: TrustedSigners<'_>,
) -> Result<VerifyingKey, Fault> {
    let signed = Signed {
        date: None,
        digest: signature.message_digest(),
    };
    if let TrustedSigners::Named(named) = trusted_signers {
        return keyring.expected_signer(named, &signed);
    }
    let mut refused = None;
    // Take the first named key that is trusted and did sign: anyone can add a signature with any
    // key's id.
    for id in signature.signers().filter_map(|id| id.parse().ok()) {
        let trusted = match trusted_signers {
            TrustedSigners::Listed { file, role } => {
                trust::trust_file_signer(context, keyring, (file, role), id, &signed)
            }
            _ => keyring.trusted_signer("the signature", id, &signed),
        };
        let verified = trusted.and_then(|key| {
            signature.verify_signer(&key)?;
            Ok(key)
        });
        match verified {
            Ok(key) => return Ok(key),
            Err(fault) => refused = Some(fault),
        }
    }
    Err(refused.unwrap_or_else(|| classical_only_error("checked")))
}

fn classical_only_error(done: &str) -> Fault {
    let message = format!("the model would be {done} with a classical algorithm only");
    Fault::new(Outcome::NotPermitted, message)
        .hint("also pass a composite key, or pass --allow-classical if other tools require it")
}

fn output_of(options: &SignOptions) -> Result<PathBuf, Fault> {
    if let Some(output) = &options.output {
        return Ok(output.clone());
    }
    let plain: PathBuf = options.model.components().collect();
    if plain.file_name().is_none() {
        return Err(
            Fault::usage("the model's path has no name").hint("name the output with -o FILE")
        );
    }
    let mut name = plain.into_os_string();
    name.push(".sig");
    Ok(name.into())
}

fn advance(bar: &ProgressBar, step: Step) {
    match step {
        Step::Total(bytes) => bar.set_length(bytes),
        Step::Hashed(bytes) => bar.inc(bytes),
    }
}

fn private_key(path: &Path) -> Result<EcdsaKey, Fault> {
    let pem = read_secret(path, KEY_FILE_BYTES_MAX)?;
    EcdsaKey::from_pem(pem.expose()).map_err(|error| {
        Fault::from_error(Outcome::Usage, error)
            .hint("make one with `openssl ecparam -name secp384r1 -genkey -noout -out oms.pem`")
    })
}

fn public_key(path: &Path) -> Result<EcdsaPublicKey, Fault> {
    let pem = read_limited(path, KEY_FILE_BYTES_MAX)?;
    EcdsaPublicKey::from_pem(pem.expose()).map_err(|error| {
        Fault::from_error(Outcome::Usage, error)
            .hint("write the public key with `openssl pkey -in oms.pem -pubout -out oms.pub`")
    })
}
