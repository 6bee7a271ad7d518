//! Temporary folders, private to their process and removed with everything in them.
//!
//! In a place that others can write to, such as `/tmp` or `/dev/shm`, anyone can create any name.
//! So a folder is accessed only through its descriptor, after a check that it belongs to this user
//! and that nobody else may enter it. Links are removed and never followed.

use std::{
    ffi::{OsStr, OsString},
    io, mem,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use casemate_beneath as beneath;
use rustix::{
    fs::{
        AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, chmodat, fchmod,
        flock, fstat, mkdirat, openat, renameat, renameat_with, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

/// Maximum number of names that are tried.
const TRIES: usize = 16;
/// Maximum number of times a folder is emptied while others still write to it.
const DISCARD_TRIES: usize = 100;
/// Deepest nesting that is removed; each level holds a descriptor.
const DEPTH_MAX: usize = 256;
/// Suffix of a folder that its creator has not locked yet. Such a folder is empty.
const NEW: &str = ".new";

/// The form of the names of a kind of temporary folder: prefix, 16 hex digits, suffix.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The part before the digits.
    pub prefix: OsString,
    /// The part after the digits.
    pub suffix: &'static str,
}

impl Naming {
    pub(crate) fn make(&self) -> io::Result<OsString> {
        let random: [u8; 8] = casemate_crypto::random::bytes().map_err(io::Error::other)?;
        let mut name = self.prefix.clone();
        name.push(format!(
            "{:016x}{}",
            u64::from_be_bytes(random),
            self.suffix
        ));
        Ok(name)
    }

    /// Returns whether a name has this form.
    pub(crate) fn matches(&self, name: &OsStr) -> bool {
        name.as_encoded_bytes()
            .strip_prefix(self.prefix.as_encoded_bytes())
            .and_then(|rest| rest.strip_suffix(self.suffix.as_bytes()))
            .is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
    }
}

/// The location of a temporary folder.
#[derive(Debug)]
struct Place {
    parent: OwnedFd,
    name: OsString,
}

impl Place {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            parent: self.parent.try_clone()?,
            name: self.name.clone(),
        })
    }

    fn remove(&self) -> io::Result<()> {
        remove_tree(self.parent.as_fd(), &self.name)
    }

    /// Removes the folder while others may still be writing to it. Without it, they cannot start
    /// another file.
    fn discard(&self) {
        for _ in 0..DISCARD_TRIES {
            match self.remove() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => (),
                _ => break,
            }
        }
    }
}

/// Temporary folders of this process.
static LIVE: Mutex<Vec<Place>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Place>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary folders of this process, for a process that is terminating.
///
/// No temporary folder can be created afterwards. Concurrent writes to the folders fail.
pub fn discard() {
    let live = live();
    live.iter().for_each(Place::discard);
    // A thread that wants to create another folder blocks until the process ends.
    mem::forget(live);
}

/// A folder private to this process, with mode 0700 and locked while in use.
///
/// It is removed with everything in it on drop, or when the process is told to terminate.
///
/// The folder of a killed process is not locked, and [`remove_abandoned`] removes it.
#[derive(Debug)]
pub struct ScratchFolder {
    place: Place,
    folder: OwnedFd,
    path: PathBuf,
}

impl ScratchFolder {
    /// Creates a folder in `parent`.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn create(parent: &Path, naming: &Naming) -> io::Result<Self> {
        let held = beneath::open_folder(parent)?;
        for _ in 0..TRIES {
            let name = naming.make()?;
            // Hold the list's lock, so that a signal never misses an unlisted folder.
            let mut live = live();
            if let Some(folder) = make(held.as_fd(), &name)? {
                let place = Place {
                    parent: held,
                    name: name.clone(),
                };
                live.push(place.try_clone()?);
                let path = parent.join(name);
                return Ok(Self {
                    place,
                    folder,
                    path,
                });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Returns its path, for programs that need one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its open descriptor.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Returns the descriptor of its parent folder.
    pub(crate) fn parent(&self) -> BorrowedFd<'_> {
        self.place.parent.as_fd()
    }

    /// Removes the folder with everything in it.
    ///
    /// # Errors
    ///
    /// The system's error; anything that could not be removed stays.
    pub fn remove(self) -> io::Result<()> {
        self.place.remove()
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // This follows an error that was reported; the next attempt removes any leftovers.
        _ = self.place.remove();
        live().retain(|place| place.name != self.place.name);
    }
}

/// Creates a folder that is locked as soon as it has its name, so that it is never taken for
/// abandoned. Returns `None` if another process interfered.
fn make(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let mut new = name.to_owned();
    new.push(NEW);
    mkdirat(parent, &new, Mode::RWXU)?;
    let Ok(folder) = open_own(parent, &new) else {
        // Already gone: a clean-up found it empty and not yet locked.
        return Ok(None);
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        // The file system has no locks. A clean-up cannot lock it either, so it does not remove it.
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) | Ok(()) => (),
        Err(errno) => return Err(errno.into()),
    }
    match rename_new(parent, &new, name) {
        Ok(()) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY) => {
            _ = unlinkat(parent, &new, AtFlags::REMOVEDIR);
            Ok(None)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn rename_new(parent: BorrowedFd<'_>, new: &OsStr, name: &OsStr) -> Result<(), Errno> {
    match renameat_with(parent, new, parent, name, RenameFlags::NOREPLACE) {
        // Not every file system supports this. A random name is free, and a folder can replace only
        // an empty folder.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => renameat(parent, new, parent, name),
        done => done,
    }
}

/// Opens a folder that belongs to this user and that nobody else can enter.
fn open_own(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    let found = fstat(&folder)?;
    if !is_own(&found) || Mode::from_raw_mode(found.st_mode) != Mode::RWXU {
        let message = "it is not a private folder of this user";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(folder)
}

fn is_own(found: &Stat) -> bool {
    found.st_uid == geteuid().as_raw()
}

/// Removes the folders that killed processes left in `parent`.
///
/// Folders of other users or still in use are skipped silently. `may_go` makes the final decision
/// about a folder that we own and have locked, and can move something out of it first.
pub fn remove_abandoned(parent: &Path, naming: &Naming, may_go: &dyn Fn(&Path) -> bool) {
    let Ok(held) = beneath::open_folder(parent) else {
        return;
    };
    for (name, file_type) in beneath::list(&held).unwrap_or_default() {
        if file_type != FileType::Directory {
            continue;
        }
        if let Some(made) = name.as_encoded_bytes().strip_suffix(NEW.as_bytes()) {
            // It is empty, or not ours. Its creator notices and creates another.
            let ours = naming.matches(OsStr::from_bytes(made));
            if ours && open_own(held.as_fd(), &name).is_ok() {
                _ = unlinkat(&held, &name, AtFlags::REMOVEDIR);
            }
            continue;
        }
        if !naming.matches(&name) {
            continue;
        }
        if let Ok(folder) = open_own(held.as_fd(), &name)
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
            && may_go(&parent.join(&name))
        {
            _ = remove_tree(held.as_fd(), &name);
        }
    }
}

/// Removes a private folder of this user with everything in it. If another file system is mounted
/// in it, that and the folder stay.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let folder = open_own(parent, name)?;
    let device = fstat(&folder)?.st_dev;
    empty(folder, device)?;
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// A folder on the current path, and what is still to be removed in it.
struct Level {
    folder: OwnedFd,
    entries: Vec<(OsString, FileType)>,
    /// Its name in the parent folder.
    name: OsString,
}

fn empty(folder: OwnedFd, device: u64) -> io::Result<()> {
    let entries = beneath::list(&folder)?;
    let mut levels = vec![Level {
        folder,
        entries,
        name: OsString::new(),
    }];
    while let Some(level) = levels.last_mut() {
        let Some((name, file_type)) = level.entries.pop() else {
            let done = levels.pop().map(|level| level.name).unwrap_or_default();
            if let Some(above) = levels.last() {
                unless_gone(unlinkat(&above.folder, &done, AtFlags::REMOVEDIR))?;
            }
            continue;
        };
        if file_type != FileType::Directory {
            unless_gone(unlinkat(&level.folder, &name, AtFlags::empty()))?;
            continue;
        }
        let folder = match open_writable(level.folder.as_fd(), &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        if fstat(&folder)?.st_dev != device {
            return Err(Errno::XDEV.into());
        }
        if levels.len() >= DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let entries = beneath::list(&folder)?;
        levels.push(Level {
            folder,
            entries,
            name,
        });
    }
    Ok(())
}

/// Takes an entry that another thread has renamed or removed since it was listed for removed. Only
/// the whole folder may be missing: an error would say that it is.
fn unless_gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Opens a folder inside a private one, and makes it writable if a program made it read-only.
fn open_writable(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let pinned = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            chmodat(CWD, by_number(&pinned), Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let found = fstat(&folder)?;
    if is_own(&found) && !Mode::from_raw_mode(found.st_mode).contains(Mode::RWXU) {
        fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

/// Returns the kernel's path for an open file.
pub(crate) fn by_number(file: impl AsFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use casemate_testkit::names;

    use super::*;

    fn naming() -> Naming {
        Naming {
            prefix: OsString::from("run-"),
            suffix: ".part",
        }
    }

    /// Creates a folder as a killed process leaves it: named but not locked.
    fn abandoned(parent: &Path, name: &str) -> PathBuf {
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    const NAME: &str = "run-0123456789abcdef.part";

    #[test]
    fn a_folder_goes_with_everything_in_it_and_nothing_that_its_links_lead_to() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "years").unwrap();
        let parent = home.path().join("parent");
        fs::create_dir(&parent).unwrap();
        let scratch = ScratchFolder::create(&parent, &naming()).unwrap();
        let path = scratch.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::create_dir_all(path.join("a/b/c")).unwrap();
        fs::write(path.join("a/b/f"), "content").unwrap();
        symlink(&outside, path.join("a/link")).unwrap();
        symlink(outside.join("precious"), path.join("file-link")).unwrap();
        fs::set_permissions(path.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        scratch.remove().unwrap();
        assert_eq!(names(&parent), [""; 0]);
        assert_eq!(fs::read(outside.join("precious")).unwrap(), b"years");
    }

    #[test]
    fn a_folder_goes_while_another_thread_renames_and_removes_files_in_it() {
        let home = tempfile::tempdir().unwrap();
        for _ in 0..200 {
            let scratch = ScratchFolder::create(home.path(), &naming()).unwrap();
            let path = scratch.path().to_owned();
            let ended = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // As a file that is written beside its name, and others that come and go.
                    while !ended.load(std::sync::atomic::Ordering::Relaxed)
                        && fs::write(path.join("new"), "content").is_ok()
                    {
                        _ = fs::rename(path.join("new"), path.join("final"));
                        _ = fs::remove_file(path.join("final"));
                    }
                });
                scratch.place.discard();
                ended.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_folder_in_use_is_not_abandoned_and_one_without_its_process_is() {
        let home = tempfile::tempdir().unwrap();
        let scratch = ScratchFolder::create(home.path(), &naming()).unwrap();
        fs::write(scratch.path().join("f"), "content").unwrap();
        let left = abandoned(home.path(), NAME);
        fs::write(left.join("f"), "content").unwrap();
        abandoned(home.path(), "run-0123456789abcdef.part.new");
        remove_abandoned(home.path(), &naming(), &|_| false);
        assert!(left.exists());
        remove_abandoned(home.path(), &naming(), &|path| path == left);
        assert_eq!(names(home.path()).len(), 1);
        assert_eq!(fs::read(scratch.path().join("f")).unwrap(), b"content");
        drop(scratch);
        assert_eq!(names(home.path()), [""; 0]);
    }

    #[test]
    fn what_only_looks_like_a_folder_of_ours_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("precious"), "years").unwrap();
        symlink(&target, home.path().join(NAME)).unwrap();
        for name in [
            "run-0123456789abcdef",
            "run-0123456789abcde.part",
            "run-0123456789abcdeg.part",
            "other-0123456789abcdef.part",
        ] {
            fs::write(abandoned(home.path(), name).join("f"), "x").unwrap();
        }
        // Others can enter it, so we did not create it.
        let open = home.path().join("run-fedcba9876543210.part");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let full = abandoned(home.path(), "run-fedcba9876543210.part.new");
        fs::write(full.join("f"), "x").unwrap();
        let before = names(home.path());
        remove_abandoned(home.path(), &naming(), &|_| true);
        assert_eq!(names(home.path()), before);
        assert_eq!(fs::read(target.join("precious")).unwrap(), b"years");
    }

    #[test]
    fn a_clean_up_never_takes_a_folder_from_its_maker() {
        let home = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let cleaner = scope.spawn(|| {
                for _ in 0..3000 {
                    remove_abandoned(home.path(), &naming(), &|_| true);
                }
            });
            while !cleaner.is_finished() {
                let scratch = ScratchFolder::create(home.path(), &naming()).unwrap();
                fs::write(scratch.path().join("f"), "content").unwrap();
                assert_eq!(fs::read(scratch.path().join("f")).unwrap(), b"content");
                scratch.remove().unwrap();
            }
        });
        assert_eq!(names(home.path()), [""; 0]);
    }
}
