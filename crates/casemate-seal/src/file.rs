//! Local files: outputs that appear whole or not at all, and locks against concurrent rewraps.

mod atomic;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    thread,
    time::Duration,
};

use casemate_beneath as beneath;
use rustix::{
    fs::{AtFlags, Mode, OFlags, fsync, unlinkat},
    io::Errno,
};

use crate::WriteAt;

pub use atomic::AtomicFile;
pub(crate) use atomic::naming;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner only: for plaintext and keys.
    Owner,
    /// What the process's umask allows: for ciphertext and public keys.
    Umask,
}

impl Access {
    fn mode(self) -> Mode {
        match self {
            Self::Owner => Mode::RUSR | Mode::WUSR,
            Self::Umask => Mode::from_raw_mode(0o666),
        }
    }
}

/// What to do if the destination is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Replace it in one step.
    Replace,
}

/// Writes a small file that appears whole or not at all.
///
/// # Errors
///
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write(path: &Path, bytes: &[u8], access: Access, existing: Existing) -> io::Result<()> {
    let file = AtomicFile::create(path, access, existing)?;
    file.write_all_at(bytes, 0)?;
    file.commit(existing)
}

/// Writes a small note into an open folder, where no other name may appear even for a moment. A crash may leave a part of it, so its readers have to
/// bear that.
///
/// What is there under the name is replaced, not written to: it could be a link, or another name of a file elsewhere.
pub(crate) fn write_note(folder: impl AsFd, name: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder.as_fd();
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) | Ok(()) => (),
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    let file = beneath::open(folder, name, flags, Access::Umask.mode())?;
    let file = File::from(file);
    WriteAt::write_all_at(&file, bytes, 0)?;
    file.sync_all()?;
    Ok(fsync(folder)?)
}

/// Opens an artifact for reading and keeps rewraps out until it is closed.
///
/// # Errors
///
/// The system's error.
pub fn open_shared(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    file.lock_shared()?;
    Ok(file)
}

/// As [`open_shared`], below an open folder. Links and whatever is no regular file are refused, so that a folder from a stranger leads nowhere else.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::InvalidInput`] for a special file.
pub(crate) fn open_shared_below(folder: impl AsFd, path: &Path) -> io::Result<File> {
    let file = beneath::open_regular(folder, path, OFlags::RDONLY)?;
    file.lock_shared()?;
    Ok(file)
}

/// Opens an artifact for a rewrap and keeps readers and other rewraps out until it is closed.
///
/// Readers that are soon done are waited for, some seconds in all; a mounted artifact is read for as long as it is mounted.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::ResourceBusy`] if others do not let go of it.
pub fn open_exclusive(path: &Path) -> io::Result<File> {
    let file = lock_exclusive(File::options().read(true).write(true).open(path)?)?;
    // Whoever held it may have put another file in its place.
    let (held, named) = (file.metadata()?, fs::metadata(path)?);
    if (held.dev(), held.ino()) == (named.dev(), named.ino()) {
        return Ok(file);
    }
    let replaced = "it was replaced in the meantime; run the command again";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, replaced))
}

/// As [`open_exclusive`], below an open folder; links and special files are refused.
pub(crate) fn open_exclusive_below(folder: impl AsFd, path: &Path) -> io::Result<File> {
    lock_exclusive(beneath::open_regular(folder, path, OFlags::RDWR)?)
}

fn lock_exclusive(file: File) -> io::Result<File> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let busy = "it is being read, mounted or changed by somebody else";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, busy))
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}
