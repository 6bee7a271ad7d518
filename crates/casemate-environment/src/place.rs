//! Locations of temporary folders; those private to this user come first.

use std::{
    env,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{StatFs, statfs},
    process::geteuid,
};

use crate::EnvironmentError;

/// Linux's magic numbers of the in-memory file systems tmpfs and ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// The in-memory folder of Linux that all users share.
const SHARED_MEMORY: &str = "/dev/shm";

/// Returns whether a folder is in memory and, apart from swap, never on a disk.
pub fn is_in_memory(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| in_memory(&found))
}

fn in_memory(found: &StatFs) -> bool {
    IN_MEMORY.contains(&found.f_type)
}

/// Returns the user's private runtime folder, `XDG_RUNTIME_DIR`, if it has the right owner and
/// mode.
fn runtime_folder() -> Option<PathBuf> {
    let folder = env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty())?;
    let folder = PathBuf::from(folder);
    let found = folder.symlink_metadata().ok()?;
    let closed = found.permissions().mode() & 0o777 == 0o700;
    let private = found.is_dir() && found.uid() == geteuid().as_raw() && closed;
    (folder.is_absolute() && private).then_some(folder)
}

/// Returns the location of temporary folders without plaintext: the user's private runtime folder,
/// or the system's temporary folder.
pub fn temporary_folder() -> PathBuf {
    runtime_folder().unwrap_or_else(env::temp_dir)
}

/// Returns a folder in memory with room for `bytes`: the one given, else the user's private runtime
/// folder, else `/dev/shm`.
///
/// # Errors
///
/// [`EnvironmentError::NotInMemory`] for the one given; [`EnvironmentError::NoRoom`] if none has
/// room.
pub fn memory_folder(given: Option<&Path>, bytes: u64) -> Result<PathBuf, EnvironmentError> {
    let candidates = match given {
        Some(given) if !is_in_memory(given) => {
            return Err(EnvironmentError::NotInMemory(given.to_owned()));
        }
        Some(given) => vec![given.to_owned()],
        None => {
            let shared = PathBuf::from(SHARED_MEMORY);
            runtime_folder().into_iter().chain([shared]).collect()
        }
    };
    let mut most: Option<(PathBuf, u64)> = None;
    for folder in candidates {
        let Some(free) = statfs(&folder)
            .ok()
            .filter(in_memory)
            .map(|found| free(&found))
        else {
            continue;
        };
        if free >= bytes {
            return Ok(folder);
        }
        if most.as_ref().is_none_or(|(_, before)| *before < free) {
            most = Some((folder, free));
        }
    }
    let (folder, free) = most.ok_or(EnvironmentError::NoMemoryFolder)?;
    Err(EnvironmentError::NoRoom {
        folder,
        free,
        needed: bytes,
    })
}

/// Returns the free space, in bytes. A tmpfs of unlimited size reports no blocks at all.
fn free(found: &StatFs) -> u64 {
    if found.f_blocks == 0 {
        return u64::MAX;
    }
    let block = u64::try_from(found.f_bsize).unwrap_or(0);
    found.f_bavail.saturating_mul(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_a_disk_is_refused_and_so_is_one_without_room() {
        let memory = Path::new(SHARED_MEMORY);
        if !is_in_memory(memory) {
            return;
        }
        assert_eq!(memory_folder(Some(memory), 1).unwrap(), memory);
        let refused = memory_folder(Some(memory), u64::MAX - 1).unwrap_err();
        assert!(matches!(refused, EnvironmentError::NoRoom { .. }));
        let disk = Path::new("/proc");
        let refused = memory_folder(Some(disk), 1).unwrap_err();
        assert!(matches!(refused, EnvironmentError::NotInMemory(path) if path == disk));
    }
}
