//! A folder that appears completely or not at all.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
    sync::atomic::{AtomicUsize, Ordering},
};

use casemate_beneath as beneath;
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, fstatfs, fsync, mkdirat, renameat,
        renameat_with, statat, syncfs, unlinkat,
    },
    io::Errno,
};

use super::FolderError;
use crate::{
    file::{Access, AtomicFile, Existing, folder_of, naming},
    scratch::{ScratchFolder, remove_abandoned},
};

/// The folder that is being filled, inside the private folder.
const CONTENT: &str = "content";
/// The new folder during an exchange, and the replaced one after it.
const EXCHANGED: &str = "exchanged";
/// Maximum number of files that are flushed one by one; each may cost a disk rotation.
const SINGLE_FLUSHES_MAX: usize = 64;

/// Checks whether the folder at a path may be removed.
pub type IsReplaceable<'a> = &'a dyn Fn(&Path) -> Result<(), FolderError>;

/// A folder that stays inside a private folder beside its destination until
/// [`StagedFolder::commit`].
///
/// Leftovers of a killed process are removed by the next attempt at the same destination.
#[derive(Debug)]
pub struct StagedFolder {
    scratch: ScratchFolder,
    content: OwnedFd,
    name: OsString,
    access: Access,
    /// Number of files that were started.
    files: AtomicUsize,
}

impl StagedFolder {
    /// Starts a folder that will appear at `destination`.
    ///
    /// If `destination` exists, `is_replaceable` decides whether it may be removed, both now and
    /// when the new folder takes its name.
    ///
    /// # Errors
    ///
    /// The error of the system or of `is_replaceable`; [`io::ErrorKind::AlreadyExists`] immediately
    /// if `existing` is [`Existing::Keep`].
    pub fn create(
        destination: &Path,
        access: Access,
        existing: Existing,
        is_replaceable: IsReplaceable<'_>,
    ) -> Result<Self, FolderError> {
        let failed = || FolderError::io("write", destination);
        let name = destination
            .file_name()
            .ok_or_else(|| failed()(io::ErrorKind::InvalidInput.into()))?;
        let parent = folder_of(destination);
        let there = destination.symlink_metadata().is_ok();
        if there && existing == Existing::Keep {
            return Err(failed()(Errno::EXIST.into()));
        }
        if there {
            is_replaceable(destination)?;
        }
        let naming = naming(name);
        // The replaced folder may hold files that must not be removed.
        let may_go = |left: &Path| {
            let before = left.join(EXCHANGED);
            before.symlink_metadata().is_err() || is_replaceable(&before).is_ok()
        };
        remove_abandoned(parent, &naming, &may_go);
        let scratch = ScratchFolder::create(parent, &naming).map_err(failed())?;
        let content = make_folder(scratch.folder(), OsStr::new(CONTENT), access);
        Ok(Self {
            content: content.map_err(failed())?,
            scratch,
            name: name.to_owned(),
            access,
            files: AtomicUsize::new(0),
        })
    }

    /// Starts the file at `below`, and creates its parent folders.
    ///
    /// # Errors
    ///
    /// The system's error; [`io::ErrorKind::InvalidInput`] if the path is not a plain relative
    /// path.
    pub fn file(&self, below: &Path) -> io::Result<AtomicFile> {
        let name = below.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = self.content.try_clone()?;
        for part in below.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            folder = make_folder(folder.as_fd(), part, self.access)?;
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        let file = AtomicFile::create_in(folder, name.to_owned(), self.access)?;
        Ok(file.flushed_with_others())
    }

    /// Renames the folder to its destination.
    ///
    /// An existing folder is removed afterwards, if `existing` allows it and `is_replaceable` still
    /// finds nothing in it that would be lost.
    ///
    /// # Errors
    ///
    /// The error of the system or of `is_replaceable`; the destination is then unchanged.
    pub fn commit(
        self,
        destination: &Path,
        existing: Existing,
        is_replaceable: IsReplaceable<'_>,
    ) -> Result<(), FolderError> {
        let failed = || FolderError::io("write", destination);
        let files = self.files.load(Ordering::Relaxed);
        flush(self.content.as_fd(), files).map_err(failed())?;
        let (inside, parent) = (self.scratch.folder(), self.scratch.parent());
        match rename_new(inside, OsStr::new(CONTENT), parent, &self.name) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && existing == Existing::Replace =>
            {
                self.exchange(destination, is_replaceable)?;
            }
            done => done.map_err(failed())?,
        }
        fsync(parent).map_err(|errno| failed()(errno.into()))
    }

    fn exchange(
        &self,
        destination: &Path,
        is_replaceable: IsReplaceable<'_>,
    ) -> Result<(), FolderError> {
        let failed = |errno: Errno| FolderError::io("write", destination)(errno.into());
        let (inside, parent) = (self.scratch.folder(), self.scratch.parent());
        let exchange = || {
            let flags = RenameFlags::EXCHANGE;
            renameat_with(inside, EXCHANGED, parent, &self.name, flags).map_err(failed)
        };
        renameat(inside, CONTENT, inside, EXCHANGED).map_err(failed)?;
        exchange()?;
        // From now on, nobody else can add anything to the old folder, but they may have since the
        // first check.
        if let Err(error) = is_replaceable(&self.scratch.path().join(EXCHANGED)) {
            exchange()?;
            // Under its original name.
            return is_replaceable(destination).and(Err(error));
        }
        Ok(())
    }
}

/// Creates a folder, or opens an existing one.
fn make_folder(parent: BorrowedFd<'_>, name: &OsStr, access: Access) -> io::Result<OwnedFd> {
    let mode = match access {
        Access::Owner => Mode::RWXU,
        Access::Umask => Mode::RWXU | Mode::RWXG | Mode::RWXO,
    };
    match mkdirat(parent, name, mode) {
        Err(Errno::EXIST) | Ok(()) => (),
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    beneath::open(parent, Path::new(name), flags, Mode::empty())
}

/// Renames a folder to a name that must not exist.
fn rename_new(
    from: BorrowedFd<'_>,
    old: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
) -> io::Result<()> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // The file system does not support this call. Claim the name by creating an empty folder,
        // which a rename may replace.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if statat(to, new, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Errno::EXIST.into());
            }
            mkdirat(to, new, Mode::RWXU)?;
            renameat(from, old, to, new).map_err(|errno| {
                _ = unlinkat(to, new, AtFlags::REMOVEDIR);
                errno.into()
            })
        }
        done => Ok(done?),
    }
}

/// Flushes every file and folder to stable storage.
fn flush(root: BorrowedFd<'_>, files: usize) -> io::Result<()> {
    if files > SINGLE_FLUSHES_MAX && flushes_whole(root) {
        return Ok(syncfs(root)?);
    }
    beneath::walk(root, &mut |path, file_type| {
        let is_folder = file_type == FileType::Directory;
        if is_folder || file_type == FileType::RegularFile {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            File::from(beneath::open(root, path, flags, Mode::empty())?).sync_all()?;
        }
        Ok::<_, io::Error>(is_folder)
    })?;
    Ok(fsync(root)?)
}

/// Returns whether flushing the file system flushes each of its files and reports their errors
/// (Linux 5.8). Others, such as FUSE, do not receive the flush.
fn flushes_whole(root: BorrowedFd<'_>) -> bool {
    const LOCAL: [u64; 9] = [
        0xef53,      // ext4
        0x5846_5342, // XFS
        0x9123_683e, // Btrfs
        0xf2f5_2010, // F2FS
        0xca45_1a4e, // bcachefs
        0x2fc1_2fc1, // ZFS
        0x794c_7630, // overlayfs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
    ];
    let kind = fstatfs(root).map(|found| found.f_type);
    kind.is_ok_and(|kind| u64::try_from(kind).is_ok_and(|kind| LOCAL.contains(&kind)))
}
