//! Copies a sealed folder to or from an object store.

use std::{collections::HashSet, path::Path};

use casemate_seal::{
    Progress,
    file::{Access, Existing},
    folder::{
        FolderSource, Links, LocalFolder, MANIFEST_NAME, RelativePath, SEALED_SUFFIX, StagedFolder,
        check_sealed_replaceable, is_sealed_folder, list_source, read_manifest, unfinished_rewrap,
    },
};
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder, list};

use super::{
    Copied, CopyJob, Endpoint,
    file::{fetch, send_one},
    same::{is_same_file, is_there},
};
use crate::{
    context::Context,
    fault::{Fault, Outcome},
    output::{empty_prefix, existing},
    progress,
};

pub(super) fn copy_folder(
    context: &Context<'_>,
    folder: &dyn FolderSource,
    job: &CopyJob,
) -> Result<Copied, Fault> {
    // Copy only sealed folders.
    read_manifest(folder)?;
    let (paths, plain) = artifacts_of(&job.from)?;
    let failed = |error| job.failed(error);
    let mut total = 0_u64;
    for path in &paths {
        let source = folder.open(Path::new(path)).map_err(failed)?;
        total = total.saturating_add(source.byte_len().map_err(failed)?);
    }
    let bar = progress::bar(total, "copying");
    let count = |bytes| bar.inc(bytes);
    let mut copied =
        match &job.to {
            Endpoint::Local(root) => match completed_copy(folder, &paths, root)? {
                Some(copied) => copied,
                None => fetch_folder(folder, &paths, root, job.force, &count)?,
            },
            Endpoint::Remote(_) if job.force => {
                return Err(Fault::usage("cannot replace a folder in an object store").hint(
                "give each version its own prefix, for example one that ends in its revision",
            ));
            }
            Endpoint::Remote(prefix) => send_folder(context, folder, &paths, prefix, &count)?,
        };
    bar.finish_and_clear();
    copied.plain = plain;
    Ok(copied)
}

/// Returns the relative paths of a folder's artifacts, the manifest last, and of its files that are
/// not sealed.
fn artifacts_of(from: &Endpoint) -> Result<(Vec<String>, Vec<String>), Fault> {
    let paths: Vec<String> = match from {
        Endpoint::Local(root) => {
            let folder = LocalFolder::open(root).map_err(|error| from.failed(error))?;
            if let Ok(Some(_)) = unfinished_rewrap(&folder) {
                let message = format!(
                    "a change of the recipients of {} is unfinished",
                    root.display()
                );
                return Err(Fault::new(Outcome::CheckFailed, message)
                    .hint("run `casemate rewrap` again first"));
            }
            let include = |path: &Path, _| path != Path::new(MANIFEST_NAME);
            let files = list_source(root, Links::Refuse, &include)?;
            files.iter().map(|file| file.path.to_string()).collect()
        }
        Endpoint::Remote(prefix) => {
            list(prefix, OBJECTS_MAX).map_err(|error| from.failed(error))?
        }
    };
    let others = paths.into_iter().filter(|path| path != MANIFEST_NAME);
    let (mut sealed, plain): (Vec<_>, _) = others.partition(|path| path.ends_with(SEALED_SUFFIX));
    sealed.push(MANIFEST_NAME.to_owned());
    Ok((sealed, plain))
}

fn fetch_folder(
    folder: &dyn FolderSource,
    paths: &[String],
    root: &Path,
    force: bool,
    count: Progress<'_>,
) -> Result<Copied, Fault> {
    let failed = |error| Fault::file("write", root, error);
    let existing = existing(force);
    let is_replaceable = &check_sealed_replaceable;
    let stage = StagedFolder::create(root, Access::Umask, existing, is_replaceable)?;
    let mut copied = Copied::default();
    for path in paths {
        if path != MANIFEST_NAME {
            // A store may return any name: refuse those that lead elsewhere.
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

/// Returns the result of an earlier copy, if `root` contains exactly the same artifacts.
fn completed_copy(
    folder: &dyn FolderSource,
    paths: &[String],
    root: &Path,
) -> Result<Option<Copied>, Fault> {
    if !is_sealed_folder(root) {
        return Ok(None);
    }
    let (there, added) = artifacts_of(&Endpoint::Local(root.to_owned()))?;
    let mut wanted: Vec<_> = paths.iter().collect();
    let mut there: Vec<_> = there.iter().collect();
    wanted.sort_unstable();
    there.sort_unstable();
    if there != wanted || !added.is_empty() {
        return Ok(None);
    }
    let mut copied = Copied::default();
    // Compare the manifest first: it differs in another version.
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
    folder: &dyn FolderSource,
    paths: &[String],
    prefix: &Location,
    count: Progress<'_>,
) -> Result<Copied, Fault> {
    let failed = |error| Fault::file("write", Path::new(prefix.address()), error);
    let done = RemoteFolder::new(prefix.clone(), Existing::Keep);
    // Without a manifest, the objects there may be the start of this copy.
    if done.has_manifest().map_err(failed)? {
        // The manifest of this version means that the copy is finished.
        let manifest = folder.open(Path::new(MANIFEST_NAME)).map_err(failed)?;
        let to = prefix.join(MANIFEST_NAME).map_err(failed)?;
        if is_there(&manifest, &to)? != Some(true) {
            empty_prefix(prefix)?;
        }
    }
    let found = list(prefix, OBJECTS_MAX).map_err(failed)?;
    let ours: HashSet<_> = paths.iter().collect();
    if found.iter().any(|path| !ours.contains(path)) {
        empty_prefix(prefix)?;
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
            // Another artifact, or the start of a copy of another version.
            Some(false) => {
                let message = format!("{to} already exists and differs");
                return Err(Fault::usage(message)
                    .hint("copy to another prefix, or remove the objects there"));
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
