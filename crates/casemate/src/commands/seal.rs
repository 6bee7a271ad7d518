//! `casemate seal`.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use casemate_crypto::signature::SigningKey;
use casemate_gateway::unix_seconds;
use casemate_seal::{
    ListSigner, Private, SealOptions as Sealing, Sealed, SegmentSize,
    file::{Access, AtomicFile, Existing},
    looks_sealed, seal,
};
use casemate_store::Upload;
use serde_json::json;

use super::directory;
use crate::{
    args::SealOptions, context::Context, fault::Fault, keyring::Keyring, place::Place,
    printer::bytes_text, progress,
};

pub(crate) fn run(context: &Context<'_>, options: &SealOptions) -> Result<(), Fault> {
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| Place::Local(with_suffix(&options.input)));
    if let Place::Local(path) = &output {
        if path == Path::new("-") {
            return Err(Fault::usage(
                "cannot seal to standard output: the output must be seekable",
            )
            .hint("name a file with -o; for a file called `-`, write `./-`"));
        }
        refuse_same_file(&options.input, path)?;
    }
    if options.input.is_dir() {
        return directory::seal(context, options, &output);
    }
    let for_folders = options.since.is_some() || options.expires.is_some();
    if for_folders || !options.exclude.is_empty() || options.follow_links {
        return Err(Fault::usage(format!(
            "{} is not a folder: --since, --expires, --exclude and --follow-links are for folders",
            options.input.display()
        )));
    }
    let segment_size = parse_size(&options.segment_size)?;
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
    let signer = signer(context, &mut keyring, options)?;
    let owner = owner(&mut keyring, options)?;
    keyring.warn_if_no_own_recipient(&recipients)?;

    let len = source
        .metadata()
        .map_err(|error| Fault::file("read", &options.input, error))?
        .len();
    let recipients: Vec<_> = recipients.iter().collect();
    let sealing = Sealing {
        recipients: &recipients,
        signer: signer.as_ref(),
        owner: list_signer(owner.as_ref()),
        segment_size,
        hash: context.policy()?.hash(),
        created: unix_seconds(),
        content_type: &options.content_type,
        private: &private,
        revision: options.revision,
        public_part: &[],
        digest_content: false,
    };
    let sealed = write(context, &source, len, &output, options.force, &sealing)?;

    report_sealed(context, options, &output, &sealed, recipients.len());
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
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    context.printer.done(&format!(
        "sealed {} to {output} ({added} bytes added)",
        bytes_text(sealed.content_len),
    ));
}

/// Refuses to overwrite the input with the output.
pub(super) fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Fault> {
    let [Ok(read), Ok(written)] = [input, output].map(fs::metadata) else {
        return Ok(());
    };
    if (read.dev(), read.ino()) != (written.dev(), written.ino()) {
        return Ok(());
    }
    let message = format!("{} is both the input and the output", output.display());
    Err(Fault::usage(message).hint("name another output with -o, and remove the input afterwards"))
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
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let bar = progress::bar(len, "sealing");
    let count = |bytes| bar.inc(bytes);
    let shown = output.to_text();
    let failed = |error| Fault::file("write", Path::new(&shown), error);
    let sealed = match output {
        Place::Local(path) => {
            let target = AtomicFile::create(path, Access::Umask, existing).map_err(failed)?;
            let sealed = seal(source, target.file(), sealing, &count)?;
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
            let sealed = seal(source, &target, sealing, &count)?;
            target.commit().map_err(failed)?;
            sealed
        }
    };
    bar.finish_and_clear();
    Ok(sealed)
}

/// Returns the signing key, or warns that there is none.
pub(super) fn signer(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &SealOptions,
) -> Result<Option<SigningKey>, Fault> {
    let named = options.sign.as_deref();
    let signer = named.map(|named| keyring.signer(named)).transpose()?;
    if signer.is_none() {
        context
            .printer
            .warning("not signed, so nothing proves who sealed this; pass --sign KEY to sign it");
    }
    Ok(signer)
}

/// Returns the owner's key, which signs the recipient list, if the artifact gets an owner.
pub(super) fn owner(
    keyring: &mut Keyring<'_>,
    options: &SealOptions,
) -> Result<Option<SigningKey>, Fault> {
    let named = options.owner.as_deref();
    named.map(|named| keyring.signer(named)).transpose()
}

pub(super) fn list_signer(owner: Option<&SigningKey>) -> Option<ListSigner<'_>> {
    owner.map(|key| ListSigner {
        key,
        delegation: None,
        epoch: None,
        now: unix_seconds(),
    })
}

fn with_suffix(input: &Path) -> PathBuf {
    // Drop the slash that shell completion adds to a folder name.
    let plain: PathBuf = input.components().collect();
    let mut name = OsString::from(plain);
    name.push(".sealed");
    name.into()
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

/// Reads `65536`, `64k` or `1m`.
pub(super) fn parse_size(text: &str) -> Result<SegmentSize, Fault> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix('k') {
        Some(digits) => (digits, 10),
        None => lower
            .strip_suffix('m')
            .map_or((lower.as_str(), 0), |digits| (digits, 20)),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    let bytes =
        bytes.ok_or_else(|| Fault::usage(format!("--segment-size `{text}` is not a size")))?;
    SegmentSize::new(bytes).map_err(|_| {
        Fault::usage(format!(
            "--segment-size {text} is not a power of two from 64k to 16m"
        ))
    })
}
