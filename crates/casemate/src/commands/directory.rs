//! `seal`, `open`, `verify` and `inspect` for folders.

use std::{fmt::Write as _, path::Path};

use casemate_crypto::{kem::KemPrivateKey, policy::Expired};
use casemate_gateway::unix_seconds;
use casemate_seal::{
    Origin,
    directory::{
        DirectoryOptions, Links, LocalFolder, SealedDirectory, SealedFiles, SealedFolder, Since,
        SourceFile, is_sealed_directory, list_source, read_manifest, seal_directory,
        seal_directory_to, unfinished_rewrap,
    },
    file::Existing,
};
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Value, json};

use super::{open, owner, public, seal};
use crate::{
    args::{OpenOptions, SealOptions, VerifyOptions},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    place::{Place, Sealed},
    printer::{bytes_text, count_text, path_text, time_text},
    progress, seen,
    trust::{self, TrustedSigners},
};

/// Media type of every file of a folder.
const CONTENT_TYPE: &str = "application/octet-stream";
/// File inside the folder with patterns to leave out.
const IGNORE_FILE: &str = ".casemateignore";
/// Most recipients of an unfinished change to name.
const NAMED_MAX: usize = 8;

/// Refuses an output inside the input folder, which would change the input.
pub(super) fn refuse_inside(input: &Path, output: &Path) -> Result<(), Fault> {
    let above = output.parent().filter(|path| !path.as_os_str().is_empty());
    let above = above.unwrap_or_else(|| Path::new(".")).canonicalize();
    let (Ok(above), Ok(root)) = (above, input.canonicalize()) else {
        return Ok(());
    };
    if !above.starts_with(&root) {
        return Ok(());
    }
    let (output, input) = (output.display(), input.display());
    Err(
        Fault::usage(format!("{output} is inside the input, {input}"))
            .hint("pass an output outside the folder with -o"),
    )
}

pub(crate) fn seal(
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
    let signer = seal::signer(context, &mut keyring, options)?;
    let owner = seal::owner(&mut keyring, options)?;
    keyring.warn_if_no_own_recipient(&recipients)?;
    let recipients: Vec<_> = recipients.iter().collect();
    let owned = match options.since {
        Some(_) => keyring.openers()?,
        None => Vec::new(),
    };
    let keys: Vec<_> = owned.iter().collect();
    let before = options.since.as_deref();
    let before = before
        .map(|root| open_previous_version(context, &mut keyring, root, &keys, signer.is_some()));
    let before = before.transpose()?;
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
    let sealing = DirectoryOptions {
        owner: seal::list_signer(owner.as_ref()),
        expires: options.expires,
        recipients: &recipients,
        signer: signer.as_ref(),
        segment_size: seal::parse_size(&options.segment_size)?,
        hash: context.policy()?.hash(),
        created: unix_seconds(),
        content_type: |_| CONTENT_TYPE,
        since: before.as_ref().map(|(directory, _)| Since {
            directory,
            keys: &keys,
        }),
    };
    let total = files
        .iter()
        .fold(0_u64, |sum, file| sum.saturating_add(file.len));
    let bar = progress::bar(total, "sealing");
    let existing = existing(options.force);
    let count = |bytes| bar.inc(bytes);
    let sealed = match output {
        Place::Local(path) => seal_directory(&files, path, existing, &sealing, &count)?,
        Place::Remote(address) => {
            let target = empty_prefix(&context.locate(address)?)?;
            seal_directory_to(&files, &target, &sealing, &count)?
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
        "schema": "casemate.sealed-directory/1",
        "directory": output.to_text(),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "unchanged": sealed.unchanged,
        "content_bytes": manifest.content_len(),
        "artifact_bytes": sealed.artifact_len,
        "recipients": recipients,
        "signed": options.sign.is_some(),
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
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
        && is_sealed_directory(output)
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
) -> Result<(SealedDirectory, TrustedSigners<'static>), Fault> {
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

/// Returns a prefix that is empty. A stray object in it would make the whole new version be
/// refused.
pub(super) fn empty_prefix(location: &Location) -> Result<RemoteFolder, Fault> {
    let address = location.address();
    let found = casemate_store::list(location, OBJECTS_MAX)
        .map_err(|error| Fault::file("list", Path::new(address), error))?;
    if found.is_empty() {
        return Ok(RemoteFolder::new(location.clone(), Existing::Keep));
    }
    let message = format!("{address} already contains {} objects", found.len());
    Err(Fault::usage(message)
        .hint("give each version its own prefix, for example one that ends in its revision"))
}

/// Lists the files to seal, without those that the folder's and the user's patterns exclude.
fn source_files(options: &SealOptions) -> Result<Vec<SourceFile>, Fault> {
    let single = !options.metadata.is_empty() || options.revision.is_some();
    if single || options.content_type != CONTENT_TYPE {
        return Err(Fault::usage(
            "--metadata, --revision and --content-type are for single files, not folders",
        ));
    }
    if is_sealed_directory(&options.input) {
        let shown = options.input.display();
        return Err(Fault::usage(format!("{shown} is already sealed"))
            .hint("run `casemate rewrap` to change its recipients"));
    }
    let excluded = patterns(&options.input, &options.exclude)?;
    let links = if options.follow_links {
        Links::Follow
    } else {
        Links::Refuse
    };
    Ok(list_source(&options.input, links, &|path, is_dir| {
        path != Path::new(IGNORE_FILE) && !excluded.matched(path, is_dir).is_ignore()
    })?)
}

pub(crate) fn open(
    context: &Context<'_>,
    options: &OpenOptions,
    folder: Box<dyn SealedFolder>,
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
    let directory = open_folder(context, &mut keyring, folder, &keys, trusted_signers)?;
    let place = options.input.to_text();
    trust::require_id(&directory.manifest().id, options.origin.id.as_deref())?;
    check_current(
        context,
        &directory,
        trusted_signers,
        &place,
        options.origin.min_revision,
    )?;
    owner::require_epoch(directory.artifact(), options.origin.min_epoch)?;
    let manifest = directory.manifest();
    let bar = progress::bar(manifest.content_len(), "opening");
    directory.copy_to(output, existing(options.force), &keys, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    let json = json!({
        "schema": "casemate.opened-directory/1",
        "output": path_text(output),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "content_bytes": manifest.content_len(),
        "origin_checked": !matches!(trusted_signers, TrustedSigners::Anyone),
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    let (files, content) = (manifest.files.len(), bytes_text(manifest.content_len()));
    let shown = output.display();
    let text = format!(
        "opened {}, {content}, to {shown}",
        count_text(files, "file")
    );
    context.printer.done(&text);
    Ok(())
}

/// Checks the manifest, the list of files, and every segment of each file against the manifest.
pub(crate) fn verify(
    context: &Context<'_>,
    options: &VerifyOptions,
    folder: Box<dyn SealedFolder>,
) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    // The recipient list is not authenticated yet, so it must not decide how much is checked.
    if options.without_key || !keyring.has_opener()? {
        let artifact = read_manifest(&*folder)?;
        return public::verify(context, options, &mut keyring, &*folder, &artifact);
    }
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let directory = open_folder(
        context,
        &mut keyring,
        folder,
        &keys,
        options.trusted_signers(),
    )?;
    trust::require_id(&directory.manifest().id, options.id.as_deref())?;
    let (place, trusted_signers) = (options.input.to_text(), options.trusted_signers());
    check_current(
        context,
        &directory,
        trusted_signers,
        &place,
        options.min_revision,
    )?;
    owner::require_epoch(directory.artifact(), options.min_epoch)?;
    let manifest = directory.manifest();
    let bar = progress::bar(manifest.content_len(), "verifying");
    directory.verify_files(&keys, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    // It was verified when the folder was opened.
    let record = directory.artifact().signature();
    let (id, suite) = record.map_or_else(Default::default, |r| (r.key.to_hex(), r.suite.name));
    let json = json!({
        "schema": "casemate.verified-directory/1",
        "directory": options.input.to_text(),
        "id": manifest.id.to_string(),
        "revision": manifest.revision,
        "files": manifest.files.len(),
        "signer": id,
        "suite": suite,
        "owner": owner::fields(directory.artifact()),
        "message_sha384": hex::encode(directory.artifact().message_digest()),
        "opened": true,
    });
    let text = format!(
        "verified {}: revision {} signed by {id} ({suite}), {} files, complete and intact",
        options.input,
        manifest.revision,
        manifest.files.len()
    );
    context.printer.data(&json, &text);
    Ok(())
}

/// Lists the files, which takes a key. Without one the caller shows only the manifest's artifact.
pub(crate) fn listing(
    context: &Context<'_>,
    folder: Box<dyn SealedFolder>,
) -> Result<(Value, String), Fault> {
    let mut keyring = Keyring::new(context);
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let artifact = read_manifest(&*folder)?;
    // Only `verify` checks that the signer is trusted; the output says that this listing did not.
    let directory = SealedDirectory::open(folder, artifact, &keys, Origin::Unchecked)?;
    let manifest = directory.manifest();
    let files: Vec<_> = manifest
        .files
        .iter()
        .map(|file| json!({ "path": file.path.as_str(), "content_bytes": file.content_len, "id": file.id.to_string() }))
        .collect();
    let json =
        json!({ "id": manifest.id.to_string(), "revision": manifest.revision, "files": files });
    let mut text = format!(
        "\ndirectory   {}\nrevision    {}\nfiles       {}, {}",
        manifest.id,
        manifest.revision,
        manifest.files.len(),
        bytes_text(manifest.content_len())
    );
    for file in &manifest.files {
        let len = bytes_text(file.content_len);
        _ = write!(text, "\n            {} {len}", file.path);
    }
    Ok((json, text))
}

/// Refuses a version older than one seen before; called before anything of it is used.
pub(super) fn check_not_older(
    context: &Context<'_>,
    directory: &SealedDirectory,
    trusted_signers: TrustedSigners<'_>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    if let Some(minimum) = minimum {
        directory.require_revision(minimum)?;
    }
    let publisher = directory.artifact().header().publisher();
    let verified = publisher.filter(|_| !matches!(trusted_signers, TrustedSigners::Anyone));
    seen::check(context, directory, verified, place, minimum)
}

/// As [`check_not_older`]; also handles expiry as the policy says.
pub(super) fn check_current(
    context: &Context<'_>,
    directory: &SealedDirectory,
    trusted_signers: TrustedSigners<'_>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    check_not_older(context, directory, trusted_signers, place, minimum)?;
    let Some(end) = directory.manifest().expires else {
        return Ok(());
    };
    if end >= unix_seconds() {
        return Ok(());
    }
    let message = format!("this version expired on {}", time_text(end));
    match context.policy()?.expired() {
        Expired::Warn => context.printer.warning(&message),
        Expired::Refuse => {
            return Err(Fault::new(Outcome::NotPermitted, message).hint(
                "get the current version from the publisher; the policy refuses expired ones",
            ));
        }
    }
    Ok(())
}

/// Opens the manifest and requires the expected signer's signature.
pub(super) fn open_folder(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    folder: Box<dyn SealedFolder>,
    keys: &[&KemPrivateKey],
    trusted_signers: TrustedSigners<'_>,
) -> Result<SealedDirectory, Fault> {
    if let Some(local) = folder.local() {
        note_unfinished(context, local);
    }
    let artifact = read_manifest(&*folder)?;
    open::note_leftover(context, &artifact);
    let signer = trust::expected_signer_with_warning(context, keyring, &artifact, trusted_signers)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    Ok(SealedDirectory::open(folder, artifact, keys, origin)?)
}

fn note_unfinished(context: &Context<'_>, folder: &LocalFolder) {
    if let Ok(Some(wanted)) = unfinished_rewrap(folder) {
        // The list is untrusted and may name thousands.
        let shown: Vec<_> = wanted
            .iter()
            .take(NAMED_MAX)
            .map(ToString::to_string)
            .collect();
        let trusted_signers = match (shown.as_slice(), wanted.len().saturating_sub(shown.len())) {
            ([], _) => String::new(),
            (some, 0) => format!(" to {}", some.join(", ")),
            (some, more) => format!(" to {} and {more} more", some.join(", ")),
        };
        let text = format!(
            "a change of recipients{trusted_signers} was not finished; run `casemate rewrap` again"
        );
        context.printer.note(&text);
    }
}

fn patterns(root: &Path, exclude: &[String]) -> Result<Gitignore, Fault> {
    // Paths are already relative to the folder, so the patterns need no root.
    let mut builder = GitignoreBuilder::new("");
    let file = root.join(IGNORE_FILE);
    if file.is_file()
        && let Some(error) = builder.add(&file)
    {
        return Err(Fault::from_error(Outcome::Usage, error));
    }
    for pattern in exclude {
        builder.add_line(None, pattern).map_err(|error| {
            Fault::from_error(Outcome::Usage, error).hint("write patterns as in `.gitignore`")
        })?;
    }
    builder
        .build()
        .map_err(|error| Fault::from_error(Outcome::Usage, error))
}

pub(super) const fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}
