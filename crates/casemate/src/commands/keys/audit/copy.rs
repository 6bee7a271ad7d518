//! Copies of a log as tiles, which can be served and verified without the key store.

use std::{
    fs::DirBuilder,
    io::Read as _,
    os::{fd::AsRawFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use casemate_audit::{Entry, VerifierKeys, bundles, entries_of, leaf_hash, tile_path, tiles};
use casemate_beneath::open_regular;
use casemate_gateway::unix_seconds;
use casemate_seal::file::{self, Access, Existing};
use rustix::fs::{Mode, OFlags};

use super::compare::{self, Comparison, report};
use crate::{
    context::Context,
    fault::{Fault, Outcome},
    printer::count_text,
};

/// Entries of a full bundle.
const WIDTH: u64 = 256;
/// Longest bundle: full of the longest entries.
const BUNDLE_BYTES_MAX: usize = 256 * (2 + 4096);

pub(super) fn export(context: &Context<'_>, folder: &Path) -> Result<(), Fault> {
    let store = context.key_store()?;
    let name = folder.join("checkpoint");
    if name.symlink_metadata().is_ok() {
        compare::require_earlier(&store, &name, &read(folder, "checkpoint")?)?;
    }
    let (mut entries, mut leaves) = (Vec::new(), Vec::new());
    let log = store.verify_log::<Fault>(&mut |_, bytes, _| {
        entries.push(bytes.to_vec());
        leaves.push(leaf_hash(bytes));
        Ok(())
    })?;
    let signed = store.checkpoint_of(&log, unix_seconds())?;
    let mut written = 0_u64;
    for tile in tiles(&leaves).into_iter().chain(bundles(&entries)?) {
        if tile.is_full && read(folder, &tile.path).is_ok_and(|content| content == tile.content) {
            continue;
        }
        write(folder, &tile.path, &tile.content)?;
        written = written.saturating_add(1);
    }
    write(folder, "checkpoint", signed.as_bytes())?;
    context.printer.done(&format!(
        "exported {} entries to {} ({} written)",
        log.size,
        folder.display(),
        count_text(written, "file")
    ));
    Ok(())
}

/// Writes a file below a folder. Links below it are refused, as they are when the copy is read.
fn write(folder: &Path, below: &str, content: &[u8]) -> Result<(), Fault> {
    let path = folder.join(below);
    let parent = Path::new(below).parent().unwrap_or_else(|| Path::new(""));
    let made = folder.join(parent);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&made)
        .map_err(|error| Fault::file("create", &made, error))?;
    let opened = casemate_beneath::open_folder(folder).and_then(|root| {
        if parent == Path::new("") {
            return Ok(root);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        casemate_beneath::open(root, parent, flags, Mode::empty())
    });
    let opened = opened.map_err(|error| Fault::file("open", &made, error))?;
    // Through the open folder, so that nobody exchanges it for a link meanwhile.
    let within = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
    let within = within.join(path.file_name().unwrap_or_default());
    file::write(&within, content, Access::Umask, Existing::Replace)
        .map_err(|error| Fault::file("write", &path, error))
}

/// Verifies a copy: its checkpoint and those from elsewhere, every entry, and every tile.
pub(super) fn verify(
    context: &Context<'_>,
    folder: &Path,
    keys: &VerifierKeys,
    files: &[PathBuf],
) -> Result<(), Fault> {
    let own = read(folder, "checkpoint")?;
    let own = keys.verify(&own)?;
    let size = own.size();
    let mut comparison = Comparison::new(keys, files)?;
    comparison.expect(folder.join("checkpoint"), own)?;
    let mut leaves = Vec::new();
    let mut number = 0_u64;
    while number < size {
        for (leaf, entry) in bundle(folder, number, WIDTH.min(size.saturating_sub(number)))? {
            leaves.push(leaf);
            comparison.append(&entry)?;
            number = number.saturating_add(1);
        }
    }
    let log = comparison.end()?;
    for tile in tiles(&leaves) {
        if read(folder, &tile.path)? != tile.content {
            let message = format!("{} is not the tile of these entries", tile.path);
            return Err(Fault::new(Outcome::CheckFailed, message));
        }
    }
    report(context, &log, files.len());
    Ok(())
}

type Leaves = Vec<([u8; 32], Vec<u8>)>;

/// Reads a bundle, and compares each entry with its hash in the tile.
fn bundle(folder: &Path, first: u64, width: u64) -> Result<Leaves, Fault> {
    let at = usize::try_from(first.checked_div(WIDTH).unwrap_or_default());
    let (at, wide) = (
        at.unwrap_or(usize::MAX),
        usize::try_from(width).unwrap_or_default(),
    );
    let (bundle, tile) = (tile_path("entries", at, wide), tile_path("0", at, wide));
    let entries =
        entries_of(&read(folder, &bundle)?).map_err(|error| Fault::from(error).about(&bundle))?;
    let hashes = read(folder, &tile)?;
    if entries.len() != wide || hashes.len() as u64 != width.saturating_mul(32) {
        let message = format!("{bundle} or {tile} does not have {width} entries");
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    let mut leaves = Leaves::new();
    for ((entry, expected), number) in entries.into_iter().zip(hashes.chunks(32)).zip(first..) {
        let leaf = leaf_hash(&entry);
        if leaf != expected || Entry::decode(&entry).is_err() {
            let message = format!("entry {number} was changed, moved or removed");
            return Err(Fault::new(Outcome::CheckFailed, message)
                .hint("compare it with another copy of the log"));
        }
        leaves.push((leaf, entry));
    }
    Ok(leaves)
}

/// Reads a file of a copy, which may come from anyone: links and special files are refused.
fn read(folder: &Path, below: &str) -> Result<Vec<u8>, Fault> {
    let path = folder.join(below);
    let limit = BUNDLE_BYTES_MAX as u64;
    let mut content = Vec::new();
    casemate_beneath::open_folder(folder)
        .and_then(|root| open_regular(root, Path::new(below), OFlags::RDONLY))
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut content))
        .map_err(|error| Fault::file("read", &path, error))?;
    if content.len() > BUNDLE_BYTES_MAX {
        let message = format!("{} is longer than {limit} bytes", path.display());
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    Ok(content)
}
