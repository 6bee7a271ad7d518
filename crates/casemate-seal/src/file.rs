//! Local files: outputs that appear whole or not at all, and locks against concurrent rewraps.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::WriteAt;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum Existing {
    /// Leave it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Replace it in one step.
    Replace,
}

/// A file without a name until [`AtomicFile::commit`].
///
/// On file systems that have nameless files a process that is killed leaves nothing behind. Elsewhere the file has a hidden
/// temporary name, which is removed unless the process is killed.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    destination: PathBuf,
    /// Present where the file system has no nameless files.
    temporary: Option<PathBuf>,
}

impl AtomicFile {
    /// Starts a file that will appear at `destination`, in whose directory it is made.
    ///
    /// # Errors
    ///
    /// The system's error; [`io::ErrorKind::AlreadyExists`] at once if `existing` says to keep what is there; [`io::ErrorKind::InvalidInput`] if what
    /// is there is no regular file, nor a link to one.
    pub fn create(destination: &Path, access: Access, existing: Existing) -> io::Result<Self> {
        if existing == Existing::Keep && fs::symlink_metadata(destination).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // To give a file its name would take away a device, such as `/dev/null`.
        if fs::metadata(destination).is_ok_and(|found| !found.is_file()) {
            let message = "it is not a regular file, and is not replaced";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let directory = directory_of(destination);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let nameless = rustix::fs::openat(CWD, directory, flags, access.mode());
        let destination = destination.to_owned();
        match nameless {
            Ok(fd) => Ok(Self {
                file: fd.into(),
                destination,
                temporary: None,
            }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let temporary = temporary_name(&destination)?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(CWD, &temporary, flags, access.mode())?;
                Ok(Self {
                    file: fd.into(),
                    destination,
                    temporary: Some(temporary),
                })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// The open file.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file to stable storage and gives it its name.
    ///
    /// # Errors
    ///
    /// The system's error; the destination is then as it was.
    pub fn commit(mut self, existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        if existing == Existing::Keep {
            self.link(&self.destination)?;
            self.discard_temporary();
        } else {
            let from = if let Some(temporary) = self.temporary.take() {
                temporary
            } else {
                let temporary = temporary_name(&self.destination)?;
                self.link(&temporary)?;
                temporary
            };
            if let Err(error) = fs::rename(&from, &self.destination) {
                self.temporary = Some(from);
                return Err(error);
            }
        }
        File::open(directory_of(&self.destination))?.sync_all()
    }

    fn link(&self, name: &Path) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            fs::hard_link(temporary, name)
        } else {
            use std::os::fd::AsRawFd;
            let fd = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
            Ok(rustix::fs::linkat(
                CWD,
                fd,
                CWD,
                name,
                AtFlags::SYMLINK_FOLLOW,
            )?)
        }
    }

    fn discard_temporary(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Nothing can be done about a temporary name that stays; the content is not affected.
            _ = fs::remove_file(temporary);
        }
    }
}

impl WriteAt for AtomicFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        WriteAt::write_all_at(&self.file, bytes, offset)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        self.discard_temporary();
    }
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

/// Writes a small note where no other name may appear even for a moment. A crash may leave a part of it, so its readers have to bear that. Links
/// are not followed.
pub(crate) fn write_note(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags =
        OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Access::Umask.mode())?);
    WriteAt::write_all_at(&file, bytes, 0)?;
    file.sync_all()?;
    File::open(directory_of(path))?.sync_all()
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

/// As [`open_shared`], and refuses links and whatever is no regular file, so that a folder from a stranger leads nowhere else.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::InvalidInput`] for a special file.
pub fn open_shared_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
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
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(50);
    let file = File::options().read(true).write(true).open(path)?;
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

pub(crate) fn temporary_name(destination: &Path) -> io::Result<PathBuf> {
    let random: [u8; 8] = casemate_crypto::random::bytes().map_err(io::Error::other)?;
    let mut name = OsString::from(".");
    name.push(destination.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{:016x}.part", u64::from_be_bytes(random)));
    Ok(directory_of(destination).join(name))
}
