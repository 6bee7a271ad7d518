//! `casemate copy`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use casemate_seal::{
    Artifact, OpenError, Progress, ReadAt, Source, WriteAt,
    directory::{
        Links, LocalFolder, MANIFEST_NAME, RelativePath, SealedFolder, StagedDirectory,
        check_sealed_replaceable, is_sealed_directory, list_source, read_manifest,
        unfinished_rewrap,
    },
    file::{self, Access, AtomicFile, Existing},
};
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder, RemoteObject, send};
use serde_json::json;

use super::directory::{empty_prefix, existing};
use crate::{
    args::CopyOptions,
    context::Context,
    fault::{Fault, Outcome},
    place::{Place, Sealed},
    printer::bytes_text,
    progress,
};

/// Bytes that are moved at once.
const MOVED: u64 = 8 << 20;

/// What was copied.
#[derive(Default)]
struct Copied {
    files: usize,
    bytes: u64,
    /// Bytes that were there from an earlier, interrupted copy.
    resumed: u64,
}

pub(crate) fn run(context: &Context<'_>, options: &CopyOptions) -> Result<(), Fault> {
    if let (Place::Local(_), Place::Local(_)) = (&options.from, &options.to) {
        return Err(
            Fault::usage("both are on this machine").hint("`cp` copies sealed files as any others")
        );
    }
    let copied = match context.sealed(&options.from)? {
        Sealed::File(source) => copy_file(context, &source, options)?,
        Sealed::Folder(folder) => copy_folder(context, &*folder, options)?,
    };
    let json = json!({
        "schema": "casemate.copied/1",
        "from": options.from.to_text(),
        "to": options.to.to_text(),
        "files": copied.files,
        "bytes": copied.bytes,
        "resumed_bytes": copied.resumed,
    });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    let mut text = format!("copied {} to {}", bytes_text(copied.bytes), options.to);
    if copied.resumed > 0 {
        let resumed = bytes_text(copied.resumed);
        _ = write!(text, " ({resumed} of it were there already)");
    }
    context.printer.done(&text);
    Ok(())
}

fn copy_file(
    context: &Context<'_>,
    source: &Source,
    options: &CopyOptions,
) -> Result<Copied, Fault> {
    // Nothing leaves this machine that is not sealed.
    Artifact::read(source)?;
    let failed = |error| cannot_copy(&options.from, error);
    let bar = progress::bar(source.byte_len().map_err(failed)?, "copying");
    let count = |bytes| bar.inc(bytes);
    let existing = existing(options.force);
    let mut copied = Copied {
        files: 1,
        ..Copied::default()
    };
    match &options.to {
        Place::Local(path) => {
            let path = if path.is_dir() {
                path.join(options.from.file_name())
            } else {
                path.clone()
            };
            if is_same_file(source, &path)? {
                let len = source.byte_len().map_err(failed)?;
                (copied.bytes, copied.resumed) = (len, len);
                bar.finish_and_clear();
                return Ok(copied);
            }
            let target = AtomicFile::create(&path, Access::Umask, existing);
            let target = target.map_err(|error| Fault::file("write", &path, error))?;
            copied.bytes = fetch(source, target, &path, existing, &count)?;
        }
        Place::Remote(address) => {
            let location = context.locate(address)?;
            let location = if location.is_prefix() {
                let name = options.from.file_name();
                let name = name.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| Fault::usage("the file's name is not UTF-8"))?;
                location.join(name).map_err(failed)?
            } else {
                location
            };
            if is_there(source, &location)? == Some(true) {
                let len = source.byte_len().map_err(failed)?;
                (copied.bytes, copied.resumed) = (len, len);
            } else {
                let sent = send_one(context, source, &location, existing, &count)?;
                (copied.bytes, copied.resumed) = (sent.len, sent.resumed);
            }
        }
    }
    bar.finish_and_clear();
    Ok(copied)
}

fn send_one(
    context: &Context<'_>,
    source: &Source,
    to: &Location,
    existing: Existing,
    count: Progress<'_>,
) -> Result<casemate_store::Sent, Fault> {
    let journal = journal_of(context, to)?;
    send(source, to, existing, &journal, count)
        .map_err(|error| Fault::file("write", Path::new(to.address()), error))
}

/// Where it is noted how far a copy to `to` went.
fn journal_of(context: &Context<'_>, to: &Location) -> Result<PathBuf, Fault> {
    let folder = context.home()?.join("uploads");
    fs::create_dir_all(&folder).map_err(|error| Fault::file("make", &folder, error))?;
    Ok(folder.join(casemate_store::journal_name(to)))
}

/// Brings an artifact to this machine; it has no name before every segment of it was compared with its hash.
fn fetch(
    source: &Source,
    target: AtomicFile,
    to: &Path,
    existing: Existing,
    count: Progress<'_>,
) -> Result<u64, Fault> {
    let failed = |error| Fault::file("write", to, error);
    let len = Artifact::read(source)?.artifact_len();
    source.will_read(0..len);
    let mut buffer = Vec::new();
    let mut at = 0_u64;
    while at < len {
        let part = len.saturating_sub(at).min(MOVED);
        buffer.resize(usize::try_from(part).unwrap_or(0), 0);
        source.read_exact_at(&mut buffer, at).map_err(failed)?;
        target.write_all_at(&buffer, at).map_err(failed)?;
        count(part);
        at = at.saturating_add(part);
    }
    Artifact::read(target.file())?.verify_segments(&|_| ())?;
    target.commit(existing).map_err(failed)?;
    Ok(len)
}

/// The artifacts of a folder, by their paths below it, the manifest last.
fn artifacts_of(context: &Context<'_>, from: &Place) -> Result<Vec<String>, Fault> {
    let mut paths: Vec<String> = match from {
        Place::Local(root) => {
            let folder = LocalFolder::open(root).map_err(|error| cannot_copy(from, error))?;
            if let Ok(Some(_)) = unfinished_rewrap(&folder) {
                let message = format!("a change of recipients of {from} was not finished");
                return Err(
                    Fault::new(Outcome::No, message).hint("run `casemate rewrap` again first")
                );
            }
            let include = |path: &Path, _| path != Path::new(MANIFEST_NAME);
            let files = list_source(root, Links::Refuse, &include)?;
            files.iter().map(|file| file.path.to_string()).collect()
        }
        Place::Remote(address) => {
            let failed = |error| cannot_copy(from, error);
            let found = casemate_store::list(&context.locate(address)?, OBJECTS_MAX);
            found.map_err(failed)?
        }
    };
    paths.retain(|path| path != MANIFEST_NAME);
    paths.push(MANIFEST_NAME.to_owned());
    Ok(paths)
}

fn copy_folder(
    context: &Context<'_>,
    folder: &dyn SealedFolder,
    options: &CopyOptions,
) -> Result<Copied, Fault> {
    // Nothing is copied that is no sealed folder.
    read_manifest(folder)?;
    let paths = artifacts_of(context, &options.from)?;
    let failed = |error| cannot_copy(&options.from, error);
    let mut sources = Vec::with_capacity(paths.len());
    let mut total = 0_u64;
    for path in paths {
        let source = folder.open(Path::new(&path)).map_err(failed)?;
        total = total.saturating_add(source.byte_len().map_err(failed)?);
        drop(source);
        sources.push(path);
    }
    let bar = progress::bar(total, "copying");
    let count = |bytes| bar.inc(bytes);
    let copied = match &options.to {
        Place::Local(root) => match fetched_before(context, folder, &sources, root)? {
            Some(copied) => copied,
            None => fetch_folder(folder, &sources, root, options.force, &count)?,
        },
        Place::Remote(_) if options.force => {
            return Err(Fault::usage("a folder in a store is not replaced").hint(
                "give each version a prefix of its own, such as one that ends in its number",
            ));
        }
        Place::Remote(address) => send_folder(context, folder, &sources, address, &count)?,
    };
    bar.finish_and_clear();
    Ok(copied)
}

fn fetch_folder(
    folder: &dyn SealedFolder,
    paths: &[String],
    root: &Path,
    force: bool,
    count: Progress<'_>,
) -> Result<Copied, Fault> {
    let failed = |error| Fault::file("write", root, error);
    let existing = existing(force);
    let is_replaceable = &check_sealed_replaceable;
    let stage = StagedDirectory::create(root, Access::Umask, existing, is_replaceable)?;
    let mut copied = Copied::default();
    for path in paths {
        if path != MANIFEST_NAME {
            // A store may answer with any name; those that lead elsewhere are refused.
            RelativePath::new(path)?;
        }
        let source = folder.open(Path::new(path)).map_err(failed)?;
        let target = stage.file(Path::new(path)).map_err(failed)?;
        let bytes = fetch(&source, target, root, Existing::Keep, count)?;
        copied.files = copied.files.saturating_add(1);
        copied.bytes = copied.bytes.saturating_add(bytes);
    }
    stage.commit(root, existing, is_replaceable)?;
    Ok(copied)
}

/// What a finished copy brought, if all of it is there, is the same, and there is nothing else.
fn fetched_before(
    context: &Context<'_>,
    folder: &dyn SealedFolder,
    paths: &[String],
    root: &Path,
) -> Result<Option<Copied>, Fault> {
    if !is_sealed_directory(root) {
        return Ok(None);
    }
    let there = artifacts_of(context, &Place::Local(root.to_owned()))?;
    let mut wanted: Vec<_> = paths.iter().collect();
    let mut there: Vec<_> = there.iter().collect();
    wanted.sort_unstable();
    there.sort_unstable();
    if there != wanted {
        return Ok(None);
    }
    let mut copied = Copied::default();
    // The manifest first: another version differs there.
    for path in paths.iter().rev() {
        if path != MANIFEST_NAME {
            RelativePath::new(path)?;
        }
        let failed = |error| Fault::file("read", &root.join(path), error);
        let source = folder.open(Path::new(path)).map_err(failed)?;
        if !is_same_file(&source, &root.join(path))? {
            return Ok(None);
        }
        let len = source.byte_len().map_err(failed)?;
        copied.files = copied.files.saturating_add(1);
        copied.bytes = copied.bytes.saturating_add(len);
    }
    copied.resumed = copied.bytes;
    Ok(Some(copied))
}

fn send_folder(
    context: &Context<'_>,
    folder: &dyn SealedFolder,
    paths: &[String],
    address: &str,
    count: Progress<'_>,
) -> Result<Copied, Fault> {
    let prefix = context.locate(address)?;
    let failed = |error| Fault::file("write", Path::new(address), error);
    let done = RemoteFolder::new(prefix.clone(), Existing::Keep);
    // Without a manifest what is there may be the beginning of this copy.
    if done.has_manifest().map_err(failed)? {
        // That of this version stands for a copy that is finished.
        let manifest = folder.open(Path::new(MANIFEST_NAME)).map_err(failed)?;
        let to = prefix.join(MANIFEST_NAME).map_err(failed)?;
        if is_there(&manifest, &to)? != Some(true) {
            empty_prefix(context, address)?;
        }
    }
    let found = casemate_store::list(&prefix, OBJECTS_MAX).map_err(failed)?;
    if found.iter().any(|path| !paths.contains(path)) {
        empty_prefix(context, address)?;
    }
    let mut copied = Copied::default();
    for path in paths {
        let source = folder.open(Path::new(path)).map_err(failed)?;
        let to = prefix.join(path).map_err(failed)?;
        let len = source.byte_len().map_err(failed)?;
        match is_there(&source, &to)? {
            Some(true) => {
                copied.resumed = copied.resumed.saturating_add(len);
                count(len);
            }
            // Somebody else's, or the beginning of a copy of another version.
            Some(false) => {
                let message = format!("{to} exists, and is something else");
                return Err(
                    Fault::usage(message).hint("copy to another prefix, or remove what is there")
                );
            }
            None => {
                let sent = send_one(context, &source, &to, Existing::Keep, count)?;
                copied.resumed = copied.resumed.saturating_add(sent.resumed);
            }
        }
        copied.files = copied.files.saturating_add(1);
        copied.bytes = copied.bytes.saturating_add(len);
    }
    Ok(copied)
}

/// Whether what is at `to` is the same artifact with the same recipients: then its end is the same, byte for byte. `None` if nothing is there.
fn is_there(source: &Source, to: &Location) -> Result<Option<bool>, Fault> {
    let failed = |error| Fault::file("read", Path::new(to.address()), error);
    let found = match RemoteObject::open(to) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    have_one_end(source, &found)
        .map(Some)
        .map_err(|error| match error {
            Ends::Ours(error) => error.into(),
            Ends::Io(error) => failed(error),
        })
}

/// Whether a file is the same artifact with the same recipients, whole. It was compared with its hashes when it was brought here; this asks again.
fn is_same_file(source: &Source, path: &Path) -> Result<bool, Fault> {
    let Ok(found) = file::open_shared(path) else {
        return Ok(false);
    };
    let same = have_one_end(source, &found).map_err(|error| match error {
        Ends::Ours(error) => error.into(),
        Ends::Io(error) => Fault::file("read", path, error),
    })?;
    let is_whole = || Artifact::read(&found)?.verify_segments(&|_| ());
    Ok(same && is_whole().is_ok())
}

/// Why two artifacts could not be compared.
enum Ends {
    Ours(OpenError),
    Io(std::io::Error),
}

fn have_one_end(source: &Source, found: &impl ReadAt) -> Result<bool, Ends> {
    let len = source.byte_len().map_err(Ends::Io)?;
    if found.byte_len().map_err(Ends::Io)? != len {
        return Ok(false);
    }
    let body = Artifact::read(source).map_err(Ends::Ours)?;
    let body = body.header().body_len();
    let tail = usize::try_from(len.saturating_sub(body)).unwrap_or(0);
    let (mut ours, mut theirs) = (vec![0; tail], vec![0; tail]);
    source.read_exact_at(&mut ours, body).map_err(Ends::Io)?;
    found.read_exact_at(&mut theirs, body).map_err(Ends::Io)?;
    Ok(ours == theirs)
}

fn cannot_copy(from: &Place, error: std::io::Error) -> Fault {
    Fault::file("copy", Path::new(&from.to_text()), error)
}
