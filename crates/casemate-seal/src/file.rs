//! Local files: outputs that appear completely or not at all, and locks against concurrent rewraps.

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
    /// Whoever the process's umask allows: for ciphertext and public keys.
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

/// What to do if the destination already exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Replace it atomically.
    Replace,
}

/// Writes a small file that appears completely or not at all.
///
/// # Errors
///
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write(path: &Path, bytes: &[u8], access: Access, existing: Existing) -> io::Result<()> {
    let file = AtomicFile::create(path, access, existing)?;
    file.write_all_at(bytes, 0)?;
    file.commit(existing)
}

/// Writes a small note into an open folder, without any temporary name.
///
/// A crash may leave a partial note, which its readers must tolerate.
///
/// An existing file is replaced, not overwritten: it could be a symbolic link or a hard link to a
/// file elsewhere.
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

/// Opens an artifact for reading with a shared lock, which blocks rewraps until it is closed.
///
/// # Errors
///
/// The system's error.
pub fn open_shared(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    file.lock_shared()?;
    Ok(file)
}

/// Like [`open_shared`], relative to an open folder. Refuses links and special files, so an
/// untrusted folder cannot point elsewhere.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::InvalidInput`] for a special file.
pub(crate) fn open_shared_below(folder: impl AsFd, path: &Path) -> io::Result<File> {
    let file = beneath::open_regular(folder, path, OFlags::RDONLY)?;
    file.lock_shared()?;
    Ok(file)
}

/// Opens an artifact for a rewrap with an exclusive lock, which blocks readers and other rewraps
/// until it is closed.
///
/// Waits up to a few seconds for readers to finish. A mounted artifact is locked for as long as it
/// is mounted.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::ResourceBusy`] if others do not release it in time.
pub fn open_exclusive(path: &Path) -> io::Result<File> {
    let file = lock_exclusive(File::options().read(true).write(true).open(path)?)?;
    // The previous holder may have replaced the file.
    let (held, named) = (file.metadata()?, fs::metadata(path)?);
    if (held.dev(), held.ino()) == (named.dev(), named.ino()) {
        return Ok(file);
    }
    let replaced = "the file was replaced while waiting for it; run the command again";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, replaced))
}

/// Like [`open_exclusive`], relative to an open folder. Refuses links and special files.
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
    let busy = "another process is reading, mounting or changing it";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, busy))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}
