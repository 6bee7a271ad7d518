//! A folder that appears whole or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io, mem,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with},
    io::Errno,
};

use crate::file::{Access, Existing, directory_of, temporary_name};

const SUFFIX: &str = ".part";

const DISCARD_TRIES: usize = 100;

/// Temporary folders of this process that have no name yet.
static STAGED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn staged() -> MutexGuard<'static, Vec<PathBuf>> {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary folders of this process, for a process that ends now because it was told to: it can make no other ones afterwards. What is
/// written into them meanwhile fails.
pub fn discard_staged() {
    let staged = staged();
    for temporary in &*staged {
        // Others may be writing to it still; without its folder they cannot begin another file.
        for _ in 0..DISCARD_TRIES {
            if remove_any(temporary).is_ok() || !temporary.exists() {
                break;
            }
        }
    }
    // Whoever wants to begin another one waits for the end of the process.
    mem::forget(staged);
}

/// A folder under a hidden temporary name until [`StagedDirectory::commit`].
///
/// The temporary folder is locked while it is filled. One that a killed process left is not, and the next attempt at the same destination removes it.
#[derive(Debug)]
pub struct StagedDirectory {
    temporary: PathBuf,
    destination: PathBuf,
    /// Holds the lock.
    _lock: File,
    committed: bool,
}

impl StagedDirectory {
    /// Starts a folder that will appear at `destination`.
    ///
    /// # Errors
    ///
    /// The system's error; [`io::ErrorKind::AlreadyExists`] at once if `existing` says to keep what is there.
    pub fn create(destination: &Path, access: Access, existing: Existing) -> io::Result<Self> {
        if existing == Existing::Keep && fs::symlink_metadata(destination).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        remove_abandoned(destination)?;
        let temporary = temporary_name(destination)?;
        let mode = if access == Access::Owner {
            0o700
        } else {
            0o777
        };
        {
            let mut staged = staged();
            fs::DirBuilder::new().mode(mode).create(&temporary)?;
            staged.push(temporary.clone());
        }
        let lock = File::open(&temporary)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self {
            temporary,
            destination: destination.to_owned(),
            _lock: lock,
            committed: false,
        })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Makes the folders above `below` and returns its place in the staged folder.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn place(&self, below: &Path) -> io::Result<PathBuf> {
        let place = self.temporary.join(below);
        fs::create_dir_all(directory_of(&place))?;
        Ok(place)
    }

    /// Gives the folder its name. What was there before is removed if `existing` allows it, after the new one has the name.
    ///
    /// # Errors
    ///
    /// The system's error; the destination is then as it was.
    pub fn commit(mut self, existing: Existing) -> io::Result<()> {
        flush_folders(&self.temporary)?;
        let parent = directory_of(&self.destination);
        let rename = |flags| renameat_with(CWD, &self.temporary, CWD, &self.destination, flags);
        match rename(RenameFlags::NOREPLACE) {
            Ok(()) => self.committed = true,
            Err(Errno::EXIST) if existing == Existing::Replace => {
                rename(RenameFlags::EXCHANGE)?;
                // The old folder now has the temporary name and goes with it.
            }
            Err(errno) => return Err(errno.into()),
        }
        File::open(parent)?.sync_all()
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        staged().retain(|staged| *staged != self.temporary);
        if !self.committed {
            // Nothing can be done about a temporary folder that stays; the next attempt removes it.
            _ = remove_any(&self.temporary);
        }
    }
}

fn remove_any(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Removes temporary folders for `destination` whose process is gone.
fn remove_abandoned(destination: &Path) -> io::Result<()> {
    let mut prefix = OsString::from(".");
    prefix.push(destination.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    prefix.push(".");
    for entry in fs::read_dir(directory_of(destination))? {
        let entry = entry?;
        if !is_temporary(&entry.file_name(), &prefix) || !entry.file_type()?.is_dir() {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else {
            continue;
        };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Another process may have been faster.
            _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Whether a name is `prefix`, 16 hex digits, `.part`.
fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    name.as_encoded_bytes()
        .strip_prefix(prefix.as_encoded_bytes())
        .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()))
        .is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

fn flush_folders(root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    Ok(())
}
