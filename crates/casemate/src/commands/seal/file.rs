//! `casemate seal` for a file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use casemate_gateway::unix_seconds;
use casemate_seal::{
    Private, SealOptions as Sealing, Sealed,
    file::{Access, AtomicFile},
    looks_sealed, seal as seal_artifact,
};
use casemate_store::Upload;
use serde_json::json;

use super::keys;
use crate::{
    args::SealOptions, context::Context, fault::Fault, keyring::Keyring, output::existing,
    place::Place, printer::bytes_text, progress,
};

pub(super) fn seal(
    context: &Context<'_>,
    options: &SealOptions,
    output: &Place,
) -> Result<(), Fault> {
    let for_folders = options.since.is_some() || options.expires.is_some();
    if for_folders || !options.exclude.is_empty() || options.follow_links {
        return Err(Fault::usage(format!(
            "{} is not a folder: --since, --expires, --exclude and --follow-links are for folders",
            options.input.display()
        )));
    }
    let segment_size = super::parse_size(&options.segment_size)?;
    let private = private_of(options)?;
    let source = open_regular(&options.input)?;
    if looks_sealed(&source) {
        let shown = options.input.display();
        context.printer.warning(&format!(
            "{shown} is already sealed, and will be sealed again; to change its recipients, run `casemate rewrap`"
        ));
    }
    let mut keyring = Keyring::new(context);
    let recipients = keyring.recipients_and_self(&options.to, options.to_self)?;
    let signer = keys::signer(context, &mut keyring, options)?;
    let owner = keys::owner(&mut keyring, options)?;
    keyring.warn_if_no_own_recipient(&recipients)?;

    let len = source
        .metadata()
        .map_err(|error| Fault::file("read", &options.input, error))?
        .len();
    keys::reserve(&mut keyring, options, 1, len)?;
    let recipients: Vec<_> = recipients.iter().collect();
    let sealing = Sealing {
        recipients: &recipients,
        signer: signer.as_ref(),
        owner: keys::list_signer(owner.as_ref()),
        segment_size,
        hash: context.policy()?.hash(),
        created: unix_seconds(),
        content_type: &options.content_type,
        private: &private,
        revision: options.revision,
        public_part: &[],
        digest_content: false,
    };
    let sealed = write(context, &source, len, output, options.force, &sealing)?;

    report_sealed(context, options, output, &sealed, recipients.len());
    Ok(())
}

fn report_sealed(
    context: &Context<'_>,
    options: &SealOptions,
    output: &Place,
    sealed: &Sealed,
    recipients: usize,
) {
    let added = sealed.artifact_len.saturating_sub(sealed.content_len);
    let json = json!({
        "schema": "casemate.sealed/1",
        "artifact": output.to_text(),
        "id": sealed.id.to_string(),
        "content_bytes": sealed.content_len,
        "artifact_bytes": sealed.artifact_len,
        "recipients": recipients,
        "signed": options.sign.is_some(),
    });
    context.printer.json(&json);
    context.printer.done(&format!(
        "sealed {} to {output} ({added} bytes added)",
        bytes_text(sealed.content_len),
    ));
}

/// Seals to a file or an object, which appears only when it is complete.
fn write(
    context: &Context<'_>,
    source: &File,
    len: u64,
    output: &Place,
    force: bool,
    sealing: &Sealing<'_>,
) -> Result<Sealed, Fault> {
    let existing = existing(force);
    let bar = progress::bar(len, "sealing");
    let count = |bytes| bar.inc(bytes);
    let shown = output.to_text();
    let failed = |error| Fault::file("write", Path::new(&shown), error);
    let sealed = match output {
        Place::Local(path) => {
            let target = AtomicFile::create(path, Access::Umask, existing).map_err(failed)?;
            let sealed = seal_artifact(source, target.file(), sealing, &count)?;
            target.commit(existing).map_err(failed)?;
            sealed
        }
        Place::Remote(address) => {
            let location = context.locate(address)?;
            if location.is_prefix() {
                return Err(
                    Fault::usage(format!("{address} is a prefix, not an object"))
                        .hint("write the full object key, without a slash at the end"),
                );
            }
            let target = Upload::create(&location, len, existing).map_err(failed)?;
            let sealed = seal_artifact(source, &target, sealing, &count)?;
            target.commit().map_err(failed)?;
            sealed
        }
    };
    bar.finish_and_clear();
    Ok(sealed)
}

fn open_regular(path: &Path) -> Result<File, Fault> {
    let failed = |error| Fault::file("read", path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(
            Fault::usage(format!("{} is not a regular file", path.display()))
                .hint("write it to a file first; the length of a pipe is not known in advance"),
        );
    }
    File::open(path).map_err(failed)
}

fn private_of(options: &SealOptions) -> Result<Private, Fault> {
    let mut metadata = BTreeMap::new();
    for pair in &options.metadata {
        let (name, value) = pair
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Fault::usage(format!("--metadata `{pair}` is not NAME=VALUE")))?;
        if metadata.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Fault::usage(format!("--metadata names `{name}` twice")));
        }
    }
    let name = options
        .input
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Private {
        name: name.unwrap_or_default(),
        metadata,
    })
}
