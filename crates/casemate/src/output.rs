//! The rules for outputs: what may be replaced, and where an output must not be.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use casemate_seal::file::Existing;
use casemate_store::{Location, OBJECTS_MAX, RemoteFolder};

use crate::fault::Fault;

/// Returns what to do about an output that exists.
pub(crate) const fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

/// Refuses to overwrite the input with the output.
pub(crate) fn refuse_same_file(input: &Path, output: &Path) -> Result<(), Fault> {
    let [Ok(read), Ok(written)] = [input, output].map(fs::metadata) else {
        return Ok(());
    };
    if (read.dev(), read.ino()) != (written.dev(), written.ino()) {
        return Ok(());
    }
    let message = format!("{} is both the input and the output", output.display());
    Err(Fault::usage(message).hint("name another output with -o, and remove the input afterwards"))
}

/// Refuses an output inside the input folder, which would change the input.
pub(crate) fn refuse_inside(input: &Path, output: &Path) -> Result<(), Fault> {
    let above = output
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
        .canonicalize();
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

/// Returns a prefix that is empty. A stray object in it would make the whole new version be
/// refused.
pub(crate) fn empty_prefix(location: &Location) -> Result<RemoteFolder, Fault> {
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
