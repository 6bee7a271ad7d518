//! Detached signatures of models: reading one, and finding its expected signer.

use std::path::{Path, PathBuf};

use casemate_crypto::signature::VerifyingKey;
use casemate_environment::{Signed, read_limited};
use casemate_oms::{BUNDLE_BYTES_MAX, ModelSignature, Step, path_inside};
use indicatif::ProgressBar;

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    trust::{self, TrustedSigners},
};

/// Reads a detached signature without verifying it.
pub(crate) fn read(path: &Path) -> Result<ModelSignature, Fault> {
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
pub(crate) fn ignored(given: &[PathBuf], signature: &Path, model: &Path) -> Vec<PathBuf> {
    let own = path_inside(signature, model);
    given.iter().cloned().chain(own).collect()
}

/// Returns the composite key that is the expected signer of a model.
pub(crate) fn signer(
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

pub(crate) fn classical_only_error(done: &str) -> Fault {
    let message = format!("the model would be {done} with a classical algorithm only");
    Fault::new(Outcome::NotPermitted, message)
        .hint("also pass a composite key, or pass --allow-classical if other tools require it")
}

/// Shows progress.
pub(crate) fn advance(bar: &ProgressBar, step: Step) {
    match step {
        Step::Total(bytes) => bar.set_length(bytes),
        Step::Hashed(bytes) => bar.inc(bytes),
    }
}
