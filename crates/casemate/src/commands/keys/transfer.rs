//! `casemate keys export`.

use std::{collections::BTreeMap, path::Path};

use casemate_crypto::encoding::PublicKey;
use casemate_gateway::unix_seconds;
use casemate_keys::{KeyEntry, Usage};
use casemate_seal::{
    Private, SealOptions, SegmentSize,
    file::{self, Access, AtomicFile},
    seal,
};
use serde_json::json;

use crate::{
    args::ExportOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    output::existing,
    printer::path_text,
};

/// The content type of a sealed private key.
pub(super) const PRIVATE_KEY: &str = "application/vnd.casemate.private-key+pem";

pub(super) fn export(context: &Context<'_>, options: &ExportOptions) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let entry = keyring.entry(&options.key)?;
    if options.private {
        return export_private(context, &mut keyring, options, &entry);
    }
    let (text, json) = if options.age {
        let PublicKey::Kem(key) = &entry.public else {
            return Err(casemate_age::AgeError::Key.into());
        };
        let text = format!("{}\n", casemate_age::recipient_to_text(key)?);
        let json = json!({ "schema": "casemate.age-recipient/1", "id": entry.id.to_hex(), "recipient": text.trim_end() });
        (text, json)
    } else {
        let text = entry
            .public
            .to_pem()
            .map_err(|error| Fault::from_error(Outcome::Usage, error))?;
        let json =
            json!({ "schema": "casemate.public-key/1", "id": entry.id.to_hex(), "pem": text });
        (text, json)
    };
    let Some(path) = &options.output else {
        context.printer.data(&json, text.trim_end());
        return Ok(());
    };
    file::write(
        path,
        text.as_bytes(),
        Access::Umask,
        existing(options.force),
    )
    .map_err(|error| Fault::file("write", path, error))
}

/// Seals a private key to its recipients, signed by a key that they know.
fn export_private(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &ExportOptions,
    entry: &KeyEntry,
) -> Result<(), Fault> {
    let (Some(output), Some(signer)) = (&options.output, &options.sign) else {
        return Err(Fault::usage("--private needs --to, --sign and --output"));
    };
    let recipients = keyring.recipients(&options.to)?;
    keyring.reserve([signer.as_str()], Usage { uses: 1, bytes: 0 })?;
    let signer = keyring.signer(signer)?;
    let pem = keyring
        .store()?
        .private_key(entry)?
        .to_pem()
        .map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    let recipients: Vec<_> = recipients.iter().collect();
    let sealing = SealOptions {
        recipients: &recipients,
        signer: Some(&signer),
        owner: None,
        segment_size: SegmentSize::default(),
        hash: context.policy()?.hash(),
        created: unix_seconds(),
        content_type: PRIVATE_KEY,
        private: &Private {
            name: entry.name.to_string(),
            metadata: BTreeMap::new(),
        },
        revision: None,
        public_part: &[],
        digest_content: false,
    };
    write_sealed(output, pem.expose(), &sealing, options.force)?;
    let json = json!({
        "schema": "casemate.private-key-exported/1",
        "id": entry.id.to_hex(),
        "file": path_text(output),
        "recipients": options.to.len(),
    });
    context.printer.json(&json);
    context.printer.done(&format!(
        "sealed the private key {}@{} to {}; the recipient reads it with `casemate keys import`",
        entry.name,
        entry.version,
        output.display()
    ));
    Ok(())
}

fn write_sealed(
    output: &Path,
    content: &[u8],
    sealing: &SealOptions<'_>,
    force: bool,
) -> Result<(), Fault> {
    let existing = existing(force);
    let failed = |error| Fault::file("write", output, error);
    let target = AtomicFile::create(output, Access::Umask, existing).map_err(failed)?;
    seal(&content, target.file(), sealing, &|_| ())?;
    target.commit(existing).map_err(failed)
}
