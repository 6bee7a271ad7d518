//! A folder that appears whole or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io, mem,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::DirectoryError;
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

/// A temporary folder that goes when it is dropped, or when the process is told to end.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: PathBuf, mode: u32) -> io::Result<Self> {
        // With the lock: no signal finds a folder that is not listed.
        let mut staged = staged();
        fs::DirBuilder::new().mode(mode).create(&path)?;
        staged.push(path.clone());
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing can be done about a temporary folder that stays; the next attempt removes it. After a commit there is none.
        _ = remove_any(&self.0);
        staged().retain(|path| *path != self.0);
    }
}

/// A folder under a hidden temporary name until [`StagedDirectory::commit`].
///
/// The temporary folder is locked while it is filled. One that a killed process left is not, and the next attempt at the same destination removes it.
#[derive(Debug)]
pub struct StagedDirectory {
    temporary: Temporary,
    destination: PathBuf,
    /// Holds the lock.
    _lock: File,
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
        let temporary = Temporary::create(temporary, mode)?;
        let lock = File::open(&temporary.0)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self {
            temporary,
            destination: destination.to_owned(),
            _lock: lock,
        })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        &self.temporary.0
    }

    /// Makes the folders above `below` and returns its place in the staged folder.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn place(&self, below: &Path) -> io::Result<PathBuf> {
        let place = self.temporary.0.join(below);
        fs::create_dir_all(directory_of(&place))?;
        Ok(place)
    }

    /// Gives the folder its name. What was there before is removed if `existing` allows it and `is_replaceable` still finds nothing in it that would be
    /// lost, after the new one has the name.
    ///
    /// # Errors
    ///
    /// The system's error, or that of `is_replaceable`; the destination is then as it was.
    pub fn commit(
        self,
        existing: Existing,
        is_replaceable: impl Fn(&Path) -> Result<(), DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let (temporary, destination) = (&self.temporary.0, &self.destination);
        let failed = || DirectoryError::io("write", destination);
        flush_folders(temporary).map_err(failed())?;
        let rename =
            |flags| renameat_with(CWD, temporary, CWD, destination, flags).map_err(io::Error::from);
        match rename(RenameFlags::NOREPLACE) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && existing == Existing::Replace =>
            {
                rename(RenameFlags::EXCHANGE).map_err(failed())?;
                // The old folder has the temporary name, and nobody puts anything into it any more. It may have come in after the first look.
                if let Err(error) = is_replaceable(temporary) {
                    rename(RenameFlags::EXCHANGE).map_err(failed())?;
                    // By its own name.
                    return is_replaceable(destination).and(Err(error));
                }
            }
            done => done.map_err(failed())?,
        }
        let parent = File::open(directory_of(destination));
        parent
            .and_then(|parent| parent.sync_all())
            .map_err(failed())
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
