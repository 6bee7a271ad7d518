//! Copies everything sealed below a prefix or a folder.

use std::{fs, path::Path};

use casemate_seal::{
    Source,
    file::{self, Existing},
    folder::{FolderSource, Links, LocalFolder, RelativePath, is_sealed_folder, list_source},
};
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder, RemoteObject, list};

use super::{Copied, CopyJob, Endpoint, copy_file, copy_folder};
use crate::{
    below::{SealedItem, SealedListing},
    context::Context,
    fault::{Fault, Outcome},
    place::Sealed,
};

/// Lists what is below `from`; `None` if `from` is itself an artifact or a sealed folder.
pub(super) fn units(from: &Endpoint) -> Result<Option<SealedListing>, Fault> {
    let paths = match from {
        Endpoint::Local(root) if root.is_dir() && !is_sealed_folder(root) => {
            let files = list_source(root, Links::Refuse, &|_, _| true).map_err(|error| {
                Fault::from(error).hint("remove it, or copy the artifacts beside it one by one")
            })?;
            files.iter().map(|file| file.path.to_string()).collect()
        }
        Endpoint::Remote(prefix) if prefix.is_prefix() => {
            let folder = RemoteFolder::new(prefix.clone(), Existing::Keep);
            if folder.has_manifest().map_err(|error| from.failed(error))? {
                return Ok(None);
            }
            list(prefix, OBJECTS_MAX).map_err(|error| from.failed(error))?
        }
        _ => return Ok(None),
    };
    let below = SealedListing::of(paths);
    if below.units.is_empty() {
        let message = format!(
            "no sealed files or folders below {}",
            from.shown().display()
        );
        return Err(Fault::new(Outcome::CheckFailed, message)
            .hint("seal files or folders with `casemate seal` first"));
    }
    Ok(Some(below))
}

/// Copies artifacts and folders one by one. A second run skips those already there.
pub(super) fn copy_below(
    context: &Context<'_>,
    job: &CopyJob,
    found: SealedListing,
) -> Result<Copied, Fault> {
    let mut all = Copied {
        plain: found.plain,
        ..Copied::default()
    };
    for unit in &found.units {
        // A store may return any name: refuse those that lead elsewhere.
        RelativePath::new(&unit.path)?;
        let one = CopyJob {
            from: job.from.join(&unit.path)?,
            name: None,
            to: job.to.join(&unit.path)?,
            force: job.force,
        };
        if let Endpoint::Local(root) = &job.to {
            refuse_links(root, &unit.path)?;
        }
        let copied = copy_unit(context, &one, unit).map_err(|fault| fault.about(&unit.path))?;
        all.files = all.files.saturating_add(copied.files);
        all.bytes = all.bytes.saturating_add(copied.bytes);
        all.resumed = all.resumed.saturating_add(copied.resumed);
    }
    Ok(all)
}

/// Refuses a link on the way to an output below `root`: it would lead the copy to another place.
fn refuse_links(root: &Path, path: &str) -> Result<(), Fault> {
    let mut at = root.to_owned();
    for part in Path::new(path) {
        at.push(part);
        if at.is_symlink() {
            let message = format!("{} is a symbolic link", at.display());
            return Err(Fault::usage(message).hint("remove it, or copy to another folder"));
        }
    }
    Ok(())
}

fn copy_unit(context: &Context<'_>, job: &CopyJob, unit: &SealedItem) -> Result<Copied, Fault> {
    if let Endpoint::Local(path) = &job.to
        && let Some(parent) = path.parent()
    {
        fs::create_dir_all(parent).map_err(|error| Fault::file("create", parent, error))?;
    }
    match open(&job.from, unit)? {
        Sealed::File(source) => copy_file(context, &source, job),
        Sealed::Folder(folder) => copy_folder(context, &*folder, job),
    }
}

fn open(from: &Endpoint, unit: &SealedItem) -> Result<Sealed, Fault> {
    let failed = |error| from.failed(error);
    Ok(match (from, unit.is_folder) {
        (Endpoint::Local(root), true) => {
            let folder = LocalFolder::open(root).map_err(failed)?;
            Sealed::Folder(Box::new(folder) as Box<dyn FolderSource>)
        }
        (Endpoint::Local(path), false) => {
            let file = file::open_shared(path).map_err(failed)?;
            Sealed::File(Box::new(file) as Source)
        }
        (Endpoint::Remote(location), true) => remote_folder(location),
        (Endpoint::Remote(location), false) => {
            let object = RemoteObject::open(location).map_err(failed)?;
            Sealed::File(Box::new(object))
        }
    })
}

fn remote_folder(location: &Location) -> Sealed {
    Sealed::Folder(Box::new(RemoteFolder::new(
        location.clone(),
        Existing::Keep,
    )))
}
