//! Sealed and signed files as plain files of a read-only file system (FUSE), for programs that know nothing of Casemate.
//!
//! A read checks the segments it touches and decrypts sealed ones; the kernel keeps what it read in its page cache, so `mmap` works and a second read costs
//! nothing. Plaintext is in memory only. Files and folders belong to the user who mounts, and nobody else can look inside.

mod ahead;
mod cache;
mod content;
mod files;
mod filesystem;
mod tree;

pub use content::{Content, ReadError, Segment};

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

/// Opens a file when it is needed and was not used lately.
pub type Opener = Box<dyn Fn() -> Result<Arc<dyn Content>, ReadError> + Send + Sync>;

/// A file of the view.
pub struct MountedFile {
    /// Where it is below the mount point, with `/` between components, none of which is empty, `.` or `..`.
    pub path: String,
    /// Length of the content, in bytes.
    pub content_len: u64,
    /// Opens it.
    pub open: Opener,
}

impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Called with the path of a file that could not be read.
pub type Report = Arc<dyn Fn(&str, &ReadError) + Send + Sync>;

/// Why a view could not be mounted.
#[derive(Debug)]
#[non_exhaustive]
pub enum MountError {
    /// This machine has no FUSE, or the user may not use it.
    NoFuse(io::Error),
    /// The mount point is no empty folder.
    NotEmpty(PathBuf),
    /// Another system error.
    Io(io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFuse(_) => f.write_str("FUSE cannot be used here"),
            Self::NotEmpty(path) => write!(f, "{} is not an empty folder", path.display()),
            Self::Io(_) => f.write_str("cannot mount"),
        }
    }
}

impl std::error::Error for MountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoFuse(error) | Self::Io(error) => Some(error),
            Self::NotEmpty(_) => None,
        }
    }
}

/// A view that is mounted until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    session: Option<BackgroundSession>,
    point: PathBuf,
}

/// Mounts `files` at `point`, an empty folder. A view that a killed process left there is removed first.
///
/// # Errors
///
/// [`MountError`].
pub fn mount(files: Vec<MountedFile>, point: &Path, report: Report) -> Result<Mounted, MountError> {
    remove_stale(point)?;
    let mut listing = std::fs::read_dir(point).map_err(MountError::Io)?;
    if listing.next().is_some() {
        return Err(MountError::NotEmpty(point.to_owned()));
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoFuse(Errno::NODEV.into()));
    }
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoExec,
        MountOption::DefaultPermissions,
        MountOption::FSName("casemate".to_owned()),
    ];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(cache::threads());
    config.clone_fd = true;
    let filesystem = filesystem::View::new(files, report);
    let session = fuser::spawn_mount(filesystem, point, &config).map_err(|error| {
        // Without the helper of the package fuse3 a user who is not root cannot mount.
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => MountError::NoFuse(error),
            _ => MountError::Io(error),
        }
    })?;
    Ok(Mounted {
        session: Some(session),
        point: point.to_owned(),
    })
}

impl Mounted {
    /// Unmounts. Programs that still have files open keep what the kernel has cached and get errors for the rest.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn unmount(mut self) -> io::Result<()> {
        self.end()
    }

    /// Whether somebody else unmounted it.
    pub fn is_gone(&self) -> bool {
        self.session
            .as_ref()
            .is_none_or(|session| session.guard.is_finished())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        if session.guard.is_finished() {
            // Somebody unmounted it, and perhaps mounted another thing there since.
            return Ok(());
        }
        match session.umount_and_join() {
            Ok(()) => Ok(()),
            // Refused while a file is open; this process must be able to end all the same.
            Err(_) => detach(&self.point),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Nobody is left to tell.
        _ = self.end();
    }
}

/// Removes a view whose process is gone: the kernel answers "not connected" for it.
///
/// Attributes may still be in the kernel's cache, the state of the file system never is.
///
/// # Errors
///
/// [`MountError::Io`].
pub fn remove_stale(point: &Path) -> Result<(), MountError> {
    match rustix::fs::statfs(point) {
        Err(Errno::NOTCONN | Errno::CONNABORTED) => detach(point).map_err(MountError::Io),
        Err(errno) => Err(MountError::Io(errno.into())),
        Ok(_) => Ok(()),
    }
}

/// Takes the view away now and frees it when the last file in it is closed.
fn detach(point: &Path) -> io::Result<()> {
    unmount(point, UnmountFlags::DETACH)
        .map_err(io::Error::from)
        .or_else(|_| by_helper(point))
}

/// Users who are not root unmount with the helper of the package fuse3.
fn by_helper(point: &Path) -> io::Result<()> {
    let done = std::process::Command::new("fusermount3")
        .arg("-uz")
        .arg(point)
        .status()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run fusermount3: {error}"))
        })?;
    if done.success() {
        return Ok(());
    }
    Err(io::Error::other("fusermount3 could not unmount"))
}
