//! `casemate sign`.

use std::path::{Path, PathBuf};

use casemate_crypto::encoding::KEY_FILE_BYTES_MAX;
use casemate_environment::read_secret;
use casemate_keys::Usage;
use casemate_oms::{EcdsaKey, Signing, check_output, sign};
use casemate_seal::{
    file::{self, Access},
    folder::is_sealed_folder,
};
use serde_json::json;

use crate::{
    args::SignOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    output::existing,
    printer::path_text,
    progress,
    signature::{advance, classical_only_error},
};

pub(crate) fn run(context: &Context<'_>, options: &SignOptions) -> Result<(), Fault> {
    if is_sealed_folder(&options.model) {
        let shown = options.model.display();
        let message = format!("{shown} is a sealed folder, which already carries a signature");
        return Err(Fault::usage(message).hint("run `casemate verify` to check it"));
    }
    let output = output_of(options)?;
    check_output(&output, options.force)?;
    let mut keyring = Keyring::new(context);
    let named = options.sign.as_deref();
    keyring.reserve(named, Usage { uses: 1, bytes: 0 })?;
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
    context.printer.json(&json);
    let (model, output) = (options.model.display(), output.display());
    context
        .printer
        .done(&format!("signed {model}; the signature is in {output}"));
    Ok(())
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

fn private_key(path: &Path) -> Result<EcdsaKey, Fault> {
    let pem = read_secret(path, KEY_FILE_BYTES_MAX)?;
    EcdsaKey::from_pem(pem.expose()).map_err(|error| {
        Fault::from_error(Outcome::Usage, error)
            .hint("make one with `openssl ecparam -name secp384r1 -genkey -noout -out oms.pem`")
    })
}
