//! Opening and listing files below an open folder, without following any link on the way.
//!
//! A path is resolved again at each use, so anyone who can write to a folder on it could redirect a
//! later use.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use rustix::fs::OFlags;
//!
//! let folder = casemate_beneath::open_folder(Path::new("model"))?;
//! // A link on the way is an error, wherever it leads.
//! let file = casemate_beneath::open_regular(&folder, Path::new("sub/weights"), OFlags::RDONLY)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat},
    io::Errno,
};

/// Maximum number of attempts for a lookup that a concurrent rename interrupts.
const TRIES: usize = 16;

/// Opens a folder named by the user. Links in its path are followed, because the user chose them.
///
/// # Errors
///
/// The system's error.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// Opens `path` below `folder`. A link in any component is an error, as is a path that leaves the
/// folder.
///
/// # Errors
///
/// The system's error.
pub fn open(folder: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let folder = folder.as_fd();
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(folder, path, flags, mode, resolve) {
            Err(Errno::AGAIN) => (),
            // An older kernel, or a sandbox without this call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_parts(folder, path, flags, mode),
            done => return Ok(done?),
        }
    }
    Err(Errno::AGAIN.into())
}

fn open_by_parts(
    folder: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let mut held: Option<OwnedFd> = None;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            _ => return Err(Errno::XDEV.into()),
        };
        let at = held.as_ref().map_or(folder, AsFd::as_fd);
        if parts.peek().is_none() {
            return Ok(openat(at, name, flags, mode)?);
        }
        let way = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = openat(at, name, way, Mode::empty());
        held = Some(next.map_err(|error| match error {
            // The same error that `openat2` returns for a link.
            Errno::NOTDIR if is_link(at, name) => Errno::LOOP,
            other => other,
        })?);
    }
    Err(Errno::NOENT.into())
}

fn is_link(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    let found = statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Opens a regular file for reading. A special file is an error, and never blocks.
///
/// # Errors
///
/// The system's error; an error for a file that is not regular.
pub fn open_regular(folder: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK;
    let file = File::from(open(folder, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

/// Lists names and types in an open folder, without `.` and `..`.
///
/// # Errors
///
/// The system's error.
pub fn list(folder: impl AsFd) -> io::Result<Vec<(OsString, FileType)>> {
    let folder = folder.as_fd();
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let file_type = match entry.file_type() {
            // Some file systems do not return the type in a listing.
            FileType::Unknown => {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                FileType::from_raw_mode(statat(folder, &name, flags)?.st_mode)
            }
            known => known,
        };
        entries.push((name, file_type));
    }
    Ok(entries)
}

/// Calls `visit` with the relative path and type of each entry; it returns whether to descend into
/// a folder.
///
/// # Errors
///
/// The error of the system or of `visit`.
pub fn walk<E: From<io::Error>>(
    folder: impl AsFd,
    visit: &mut dyn FnMut(&Path, FileType) -> Result<bool, E>,
) -> Result<(), E> {
    let root = folder.as_fd();
    // A list instead of recursion: the system's path length limits nesting, not our stack.
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let opened = if below.as_os_str().is_empty() {
            None
        } else {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            Some(open(root, &below, flags, Mode::empty())?)
        };
        for (name, file_type) in list(opened.as_ref().map_or(root, AsFd::as_fd))? {
            let path = below.join(name);
            if visit(&path, file_type)? {
                folders.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    type Open = fn(BorrowedFd<'_>, &Path) -> io::Result<OwnedFd>;

    /// Both implementations: the kernel's, and the one for kernels without it.
    const WAYS: [Open; 2] = [
        |folder, path| open(folder, path, OFlags::RDONLY, Mode::empty()),
        |folder, path| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            open_by_parts(folder, path, flags, Mode::empty())
        },
    ];

    #[test]
    fn no_component_of_a_path_leads_out_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("folder/deep/er")).unwrap();
        fs::create_dir(at("other")).unwrap();
        for file in ["folder/deep/er/f", "other/f", "f"] {
            fs::write(at(file), "content").unwrap();
        }
        symlink(at("other"), at("folder/out")).unwrap();
        symlink("deep", at("folder/in")).unwrap();
        symlink(at("f"), at("folder/deep/link")).unwrap();
        let folder = open_folder(&at("folder")).unwrap();
        for way in WAYS {
            let open = |path: &str| way(folder.as_fd(), Path::new(path));
            open("deep/er/f").unwrap();
            open("deep").unwrap();
            for link in ["out/f", "in/er/f", "deep/link"] {
                let code = open(link).unwrap_err().raw_os_error();
                assert_eq!(code, Some(Errno::LOOP.raw_os_error()), "{link}");
            }
            for bad in ["../f", "deep/../../f", "f/more"] {
                let code = open(bad).unwrap_err().raw_os_error();
                assert_ne!(code, Some(Errno::LOOP.raw_os_error()), "{bad}");
            }
            assert_eq!(
                open("deep/none").unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
        }
        // The open folder, even if its name now leads elsewhere.
        fs::rename(at("folder"), at("moved")).unwrap();
        symlink(at("other"), at("folder")).unwrap();
        for way in WAYS {
            way(folder.as_fd(), Path::new("deep/er/f")).unwrap();
            way(folder.as_fd(), Path::new("f")).unwrap_err();
        }
    }
}
