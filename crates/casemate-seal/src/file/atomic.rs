//! Files that appear completely or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use casemate_beneath as beneath;
use rustix::{
    fs::{
        AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, fsync,
        linkat, openat, renameat, renameat_with, statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use super::{Access, Existing, folder_of};
use crate::{
    WriteAt,
    scratch::{Naming, by_number},
};

/// A file that has no name until [`AtomicFile::commit`].
///
/// On file systems that support unnamed files, a killed process leaves nothing behind. Elsewhere,
/// and for the instant in which an existing file is replaced, the file has a hidden temporary name.
/// Leftovers of a killed process are removed the next time the same file is replaced.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// The folder in which it will appear, even if its path then points elsewhere.
    folder: OwnedFd,
    name: OsString,
    /// The temporary name, on file systems without unnamed files.
    temporary: Option<OsString>,
    /// Whether the creator flushes it together with its folder.
    flushed_with_others: bool,
}

/// Minimum length of a file that is flushed on its own, in bytes. Flushing early keeps large files
/// out of memory.
const FLUSHED_ALONE_BYTES_MIN: u64 = 1 << 20;

impl AtomicFile {
    /// Starts a file that will appear at `destination`, and creates it in the same folder.
    ///
    /// # Errors
    ///
    /// The system's error; [`io::ErrorKind::AlreadyExists`] immediately if `existing` is
    /// [`Existing::Keep`]; [`io::ErrorKind::InvalidInput`] if `destination` is neither a regular
    /// file nor a link to one.
    pub fn create(destination: &Path, access: Access, existing: Existing) -> io::Result<Self> {
        let name = destination.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = beneath::open_folder(folder_of(destination))?;
        let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if existing == Existing::Keep && found {
            return Err(Errno::EXIST.into());
        }
        // Renaming a file over it would remove a device, such as `/dev/null`.
        let target = statat(&folder, name, AtFlags::empty());
        if target.is_ok_and(|found| !FileType::from_raw_mode(found.st_mode).is_file()) {
            let message = "it is not a regular file and is not replaced";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if existing == Existing::Replace {
            remove_leftovers(folder.as_fd(), name);
        }
        Self::create_in(folder, name.to_owned(), access)
    }

    /// Starts a file that will appear as `name` in an open folder.
    pub(crate) fn create_in(folder: OwnedFd, name: OsString, access: Access) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, temporary) = match openat(&folder, ".", flags, access.mode()) {
            Ok(file) => (file, None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                remove_leftovers(folder.as_fd(), &name);
                let temporary = naming(&name).make()?;
                let flags = OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::RDWR
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let file = openat(&folder, &temporary, flags, access.mode())?;
                (file, Some(temporary))
            }
            Err(errno) => return Err(errno.into()),
        };
        // So that no other process takes it for a leftover. Without locks, none can.
        _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self {
            file: file.into(),
            folder,
            name,
            temporary,
            flushed_with_others: false,
        })
    }

    /// Lets the caller flush the folder and the short files in it, all at once.
    #[must_use]
    pub(crate) const fn flushed_with_others(mut self) -> Self {
        self.flushed_with_others = true;
        self
    }

    /// Returns the open file.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Flushes the file to stable storage and renames it to its destination.
    ///
    /// # Errors
    ///
    /// The system's error; the destination is then unchanged.
    pub fn commit(mut self, existing: Existing) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        if !self.flushed_with_others || len >= FLUSHED_ALONE_BYTES_MIN {
            self.file.sync_all()?;
        }
        match (existing, self.temporary.take()) {
            (Existing::Keep, None) => self.link(&self.name)?,
            (Existing::Keep, Some(temporary)) => {
                let named = rename_new(self.folder.as_fd(), &temporary, &self.name);
                self.keep_temporary(temporary, named)?;
            }
            (Existing::Replace, temporary) => {
                let temporary = if let Some(temporary) = temporary {
                    temporary
                } else {
                    let temporary = naming(&self.name).make()?;
                    self.link(&temporary)?;
                    temporary
                };
                let named = renameat(&self.folder, &temporary, &self.folder, &self.name);
                self.keep_temporary(temporary, named.map_err(Into::into))?;
            }
        }
        if !self.flushed_with_others {
            fsync(&self.folder)?;
        }
        Ok(())
    }

    fn link(&self, name: &OsStr) -> io::Result<()> {
        let (file, flags) = (by_number(&self.file), AtFlags::SYMLINK_FOLLOW);
        Ok(linkat(CWD, file, &self.folder, name, flags)?)
    }

    /// Keeps the temporary name after a failure, so that it is removed on drop.
    fn keep_temporary(&mut self, temporary: OsString, done: io::Result<()>) -> io::Result<()> {
        if done.is_err() {
            self.temporary = Some(temporary);
        }
        done
    }
}

/// Renames to a name that must not exist.
fn rename_new(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // The file system does not support this call. Claim the name by creating it first.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(folder, to, flags, Mode::RUSR)?;
            renameat(folder, from, folder, to).map_err(|errno| {
                _ = unlinkat(folder, to, AtFlags::empty());
                errno.into()
            })
        }
        done => Ok(done?),
    }
}

/// Returns the temporary names for `name`, which have the same form as for folders.
pub(crate) fn naming(name: &OsStr) -> Naming {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Naming {
        prefix,
        suffix: ".part",
    }
}

/// Removes files that killed processes left under temporary names for `name`, if they belong to
/// this user, have no other name and are not locked.
fn remove_leftovers(folder: BorrowedFd<'_>, name: &OsStr) {
    let naming = naming(name);
    for (found, file_type) in beneath::list(folder).unwrap_or_default() {
        if file_type != FileType::RegularFile || !naming.matches(&found) {
            continue;
        }
        let Ok(file) = beneath::open_regular(folder, Path::new(&found), OFlags::RDONLY) else {
            continue;
        };
        let ours = fstat(&file)
            .is_ok_and(|found| found.st_uid == geteuid().as_raw() && found.st_nlink == 1);
        if ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            _ = unlinkat(folder, &found, AtFlags::empty());
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
        if let Some(temporary) = self.temporary.take() {
            // Nothing can be done about a temporary name that stays, and the content is not
            // affected.
            _ = unlinkat(&self.folder, &temporary, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use casemate_testkit::names;

    use super::*;

    #[test]
    fn what_a_killed_replacement_left_is_removed_and_what_is_not_ours_to_remove_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("model"), "old").unwrap();
        fs::write(at(".model.0123456789abcdef.part"), "left").unwrap();
        fs::write(at("precious"), "years").unwrap();
        fs::hard_link(at("precious"), at(".model.1123456789abcdef.part")).unwrap();
        std::os::unix::fs::symlink("precious", at(".model.2123456789abcdef.part")).unwrap();
        let held = File::create(at(".model.3123456789abcdef.part")).unwrap();
        held.lock().unwrap();
        let file = AtomicFile::create(&at("model"), Access::Umask, Existing::Replace).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        file.commit(Existing::Replace).unwrap();
        let left = names(home.path());
        let digits: Vec<_> = left.iter().filter(|name| name.starts_with('.')).collect();
        let kept = [1, 2, 3].map(|n| format!(".model.{n}123456789abcdef.part"));
        assert_eq!(digits, kept.iter().collect::<Vec<_>>());
        assert_eq!(fs::read(at("model")).unwrap(), b"new");
        assert_eq!(fs::read(at("precious")).unwrap(), b"years");
    }

    #[test]
    fn a_file_appears_in_the_folder_that_was_named_whatever_its_path_leads_to_later() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["a", "other"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for existing in [Existing::Keep, Existing::Replace] {
            let file = AtomicFile::create(&at("a/f"), Access::Umask, existing).unwrap();
            fs::rename(at("a"), at("moved")).unwrap();
            std::os::unix::fs::symlink("other", at("a")).unwrap();
            file.commit(existing).unwrap();
            assert_eq!(names(&at("moved")), ["f"]);
            assert_eq!(names(&at("other")), [""; 0]);
            fs::remove_file(at("a")).unwrap();
            fs::rename(at("moved"), at("a")).unwrap();
        }
    }

    #[test]
    fn a_free_name_is_taken_once_with_and_without_the_systems_help() {
        let home = tempfile::tempdir().unwrap();
        let folder = beneath::open_folder(home.path()).unwrap();
        let start = || {
            let mut file =
                AtomicFile::create_in(folder.try_clone().unwrap(), "f".into(), Access::Umask)
                    .unwrap();
            let temporary = naming(OsStr::new("f")).make().unwrap();
            file.link(&temporary).unwrap();
            file.temporary = Some(temporary);
            file
        };
        let (first, second) = (start(), start());
        first.commit(Existing::Keep).unwrap();
        let refused = second.commit(Existing::Keep).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(home.path()), ["f"]);
    }
}
