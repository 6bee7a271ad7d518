//! Views, from mounting to unmounting.

use std::{
    io,
    path::{Path, PathBuf},
};

use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::{MountError, MountedFile, Report, cache, filesystem};

/// A mounted view, which is unmounted on drop.
#[derive(Debug)]
pub struct Mounted {
    session: Option<BackgroundSession>,
    point: PathBuf,
}

/// Mounts `files` at `point`, an empty folder. A view left there by a killed process is removed
/// first.
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
        // Without the helper in the package fuse3, only root can mount.
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
    /// Unmounts the view. Programs with open files can still read what the kernel has cached, and
    /// get errors for the rest.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn unmount(mut self) -> io::Result<()> {
        self.end()
    }

    /// Returns whether another process unmounted it.
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
            // Another process unmounted it, and may have mounted something else there since.
            return Ok(());
        }
        match session.umount_and_join() {
            Ok(()) => Ok(()),
            // This fails while a file is open, but this process must still be able to end.
            Err(_) => detach(&self.point),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // There is no one left to report it to.
        _ = self.end();
    }
}

/// Removes a stale view, whose process is gone: the kernel reports "not connected" for it.
///
/// The kernel may still have attributes in its cache, but never the state of the file system.
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

/// Detaches the view now; it is freed when the last open file in it is closed.
fn detach(point: &Path) -> io::Result<()> {
    unmount(point, UnmountFlags::DETACH)
        .map_err(io::Error::from)
        .or_else(|_| by_helper(point))
}

/// Unmounts with the helper in the package fuse3, for users other than root.
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
    Err(io::Error::other("fusermount3 cannot unmount the view"))
}
