//! Copies one artifact to or from an object store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use casemate_seal::{
    Artifact, Progress, ReadAt as _, Source, WriteAt as _,
    file::{Access, AtomicFile, Existing},
};
use casemate_store::{Location, Sent, journal_name, send};

use super::{
    Copied, CopyJob, Endpoint,
    same::{is_same_file, is_there},
};
use crate::{context::Context, fault::Fault, output::existing, progress};

/// Bytes to copy at a time.
const MOVED: u64 = 8 << 20;

pub(super) fn copy_file(
    context: &Context<'_>,
    source: &Source,
    job: &CopyJob,
) -> Result<Copied, Fault> {
    // Only sealed files leave this machine.
    Artifact::read(source)?;
    let len = source.byte_len().map_err(|error| job.failed(error))?;
    let bar = progress::bar(len, "copying");
    let count = |bytes| bar.inc(bytes);
    let existing = existing(job.force);
    let whole = Copied {
        files: 1,
        bytes: len,
        resumed: len,
        ..Copied::default()
    };
    let copied = match &job.to {
        Endpoint::Local(path) => {
            let path = match &job.name {
                Some(name) if path.is_dir() => path.join(name),
                _ => path.clone(),
            };
            if is_same_file(source, &path)? {
                whole
            } else {
                let target = AtomicFile::create(&path, Access::Umask, existing)
                    .map_err(|error| Fault::file("write", &path, error))?;
                let bytes = fetch(source, target, &path, existing, &count)?;
                Copied {
                    bytes,
                    resumed: 0,
                    ..whole
                }
            }
        }
        Endpoint::Remote(location) => {
            let location = if location.is_prefix() {
                let name = job
                    .name
                    .as_deref()
                    .and_then(Path::file_name)
                    .and_then(|name| name.to_str())
                    .ok_or_else(|| Fault::usage("the file's name is not UTF-8"))?;
                location.join(name).map_err(|error| job.failed(error))?
            } else {
                location.clone()
            };
            if is_there(source, &location)? == Some(true) {
                whole
            } else {
                let sent = send_one(context, source, &location, existing, &count)?;
                Copied {
                    bytes: sent.len,
                    resumed: sent.resumed,
                    ..whole
                }
            }
        }
    };
    bar.finish_and_clear();
    Ok(copied)
}

pub(super) fn send_one(
    context: &Context<'_>,
    source: &Source,
    to: &Location,
    existing: Existing,
    count: Progress<'_>,
) -> Result<Sent, Fault> {
    let journal = journal_of(context, to)?;
    send(source, to, existing, &journal, count)
        .map_err(|error| Fault::file("write", Path::new(to.address()), error))
}

/// Returns the path of the journal that records the progress of a copy to `to`.
fn journal_of(context: &Context<'_>, to: &Location) -> Result<PathBuf, Fault> {
    let folder = context.home()?.join("uploads");
    fs::create_dir_all(&folder).map_err(|error| Fault::file("create", &folder, error))?;
    Ok(folder.join(journal_name(to)))
}

/// Downloads an artifact. The file appears only after every segment was checked against its hash.
pub(super) fn fetch(
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
