//! The same items in a build without FUSE. Nothing can be mounted, so no value of [`Mounted`]
//! exists.

use std::{io, path::Path};

use crate::{MountError, MountedFile, Report};

/// A mounted view.
#[derive(Debug)]
pub enum Mounted {}

/// Refuses to mount.
///
/// # Errors
///
/// [`MountError::NotBuilt`].
pub fn mount(
    _files: Vec<MountedFile>,
    _point: &Path,
    _report: Report,
) -> Result<Mounted, MountError> {
    Err(MountError::NotBuilt)
}

impl Mounted {
    /// Unmounts the view.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn unmount(self) -> io::Result<()> {
        match self {}
    }

    /// Returns whether another process unmounted it.
    pub const fn is_gone(&self) -> bool {
        match *self {}
    }
}

/// Does nothing: this build left no view.
///
/// # Errors
///
/// None.
pub const fn remove_stale(_point: &Path) -> Result<(), MountError> {
    Ok(())
}
