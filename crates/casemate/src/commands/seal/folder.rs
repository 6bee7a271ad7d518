//! `casemate seal` for a folder.

use std::path::Path;

use casemate_crypto::kem::KemPrivateKey;
use casemate_environment::Excluded;
use casemate_gateway::unix_seconds;
use casemate_seal::folder::{
    FolderOptions, Links, SealedFiles, SealedFolder, Since, SourceFile, is_sealed_folder,
    list_source, read_manifest, seal_folder, seal_folder_to,
};
use serde_json::json;

use super::keys;
use crate::{
    args::SealOptions,
    context::Context,
    fault::Fault,
    folder::{check_not_older, open_folder},
    keyring::Keyring,
    output::{empty_prefix, existing, refuse_inside},
    place::{Place, Sealed},
    printer::{bytes_text, count_text},
    progress, seen,
    trust::TrustedSigners,
};

/// Media type of every file of a folder.
const CONTENT_TYPE: &str = "application/octet-stream";

pub(super) fn seal(
    context: &Context<'_>,
    options: &SealOptions,
    output: &Place,
) -> Result<(), Fault> {
    if let Place::Local(output) = output {
        refuse_inside(&options.input, output)?;
    }
    let files = source_files(options)?;
    warn_if_restarting_revisions(context, options, output);
    let mut keyring = Keyring::new(context);
    let recipients = keyring.recipients_and_self(&options.to, options.to_self)?;
    let signer = keys::signer(context, &mut keyring, options)?;
    let owner = keys::owner(&mut keyring, options)?;
    keyring.warn_if_no_own_recipient(&recipients)?;
    let total = files
        .iter()
        .fold(0_u64, |sum, file| sum.saturating_add(file.len));
    let artifacts = (files.len() as u64).saturating_add(1);
    keys::reserve(&mut keyring, options, artifacts, total)?;
    let recipients: Vec<_> = recipients.iter().collect();
    let owned = match options.since {
        Some(_) => keyring.openers()?,
        None => Vec::new(),
    };
    let keys: Vec<_> = owned.iter().collect();
    let before = options
        .since
        .as_deref()
        .map(|root| open_previous_version(context, &mut keyring, root, &keys, signer.is_some()))
        .transpose()?;
    if let (Some((before, trusted_signers)), Some(place)) = (&before, &options.since) {
        let place = place.display().to_string();
        let minimum = options.min_revision;
        check_not_older(context, before, *trusted_signers, &place, minimum)?;
        if before.artifact().header().owner().is_some() && owner.is_none() {
            context.printer.warning(
                "the previous version has an owner but this one does not, so any recipient can change its recipients; pass --owner to keep the owner",
            );
        }
    }
    let sealing = FolderOptions {
        owner: keys::list_signer(owner.as_ref()),
        expires: options.expires,
        recipients: &recipients,
        signer: signer.as_ref(),
        segment_size: super::parse_size(&options.segment_size)?,
        hash: context.policy()?.hash(),
        created: unix_seconds(),
        content_type: |_| CONTENT_TYPE,
        since: before.as_ref().map(|(folder, _)| Since {
            folder,
            keys: &keys,
        }),
    };
    let bar = progress::bar(total, "sealing");
    let existing = existing(options.force);
    let count = |bytes| bar.inc(bytes);
    let sealed = match output {
        Place::Local(path) => seal_folder(&files, path, existing, &sealing, &count)?,
        Place::Remote(address) => {
            let target = empty_prefix(&context.locate(address)?)?;
            seal_folder_to(&files, &target, &sealing, &count)?
        }
    };
    bar.finish_and_clear();

    seen::record(context, signer.as_ref(), &sealed, &output.to_text())?;
    report_sealed(context, options, output, &sealed, recipients.len());
    Ok(())
}

fn report_sealed(
    context: &Context<'_>,
    options: &SealOptions,
    output: &Place,
    sealed: &SealedFiles,
    recipients: usize,
) {
    let manifest = &sealed.manifest;
    let json = json!({
        "schema": "casemate.sealed-folder/1",
        "folder": output.to_text(),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "unchanged": sealed.unchanged,
        "content_bytes": manifest.content_len(),
        "artifact_bytes": sealed.artifact_len,
        "recipients": recipients,
        "signed": options.sign.is_some(),
    });
    context.printer.json(&json);
    let (files, unchanged) = (manifest.files.len(), sealed.unchanged);
    let anew = files.saturating_sub(unchanged);
    let (content, revision) = (bytes_text(manifest.content_len()), manifest.revision);
    context.printer.done(&format!(
        "sealed {}, {content}, to {output} (revision {revision}, {unchanged} unchanged, {anew} newly sealed)",
        count_text(files, "file")
    ));
}

/// Warns if a new folder replaces a sealed folder instead of continuing it.
fn warn_if_restarting_revisions(context: &Context<'_>, options: &SealOptions, output: &Place) {
    if let Place::Local(output) = output
        && options.force
        && options.since.is_none()
        && is_sealed_folder(output)
    {
        let shown = output.display();
        context.printer.warning(&format!(
            "{shown} starts again at revision 1, so anyone who requires a later revision will refuse it; pass `--since {shown}` to continue from the existing version"
        ));
    }
}

/// Opens the previous version, whose unchanged files are reused.
fn open_previous_version(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    root: &Path,
    keys: &[&KemPrivateKey],
    signs: bool,
) -> Result<(SealedFolder, TrustedSigners<'static>), Fault> {
    match context.sealed(&Place::Local(root.to_owned()))? {
        Sealed::Folder(folder) => {
            let unsigned = read_manifest(&*folder)?.signature().is_none();
            let trusted_signers = if unsigned && !signs {
                context
                    .printer
                    .warning("the previous version is not signed, so nothing proves who made it");
                TrustedSigners::Anyone
            } else {
                TrustedSigners::Store
            };
            Ok((
                open_folder(context, keyring, folder, keys, trusted_signers)?,
                trusted_signers,
            ))
        }
        Sealed::File(_) => Err(Fault::usage(format!(
            "--since {} is not a folder",
            root.display()
        ))),
    }
}

/// Lists the files to seal, without those that the folder's and the user's patterns exclude.
fn source_files(options: &SealOptions) -> Result<Vec<SourceFile>, Fault> {
    let single = !options.metadata.is_empty() || options.revision.is_some();
    if single || options.content_type != CONTENT_TYPE {
        return Err(Fault::usage(
            "--metadata, --revision and --content-type are for single files, not folders",
        ));
    }
    if is_sealed_folder(&options.input) {
        let shown = options.input.display();
        return Err(Fault::usage(format!("{shown} is already sealed"))
            .hint("run `casemate rewrap` to change its recipients"));
    }
    let excluded = Excluded::read(&options.input, &options.exclude)?;
    let links = if options.follow_links {
        Links::Follow
    } else {
        Links::Refuse
    };
    Ok(list_source(&options.input, links, &|path, is_dir| {
        !excluded.contains(path, is_dir)
    })?)
}
