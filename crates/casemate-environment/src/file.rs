//! Reading small files.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
};

use casemate_crypto::SecretBytes;

use crate::EnvironmentError;

/// Permissions that a file with a secret must not grant: any for others, and writing for the group.
const EXPOSED: u32 = 0o027;

/// Reads a file of at most `limit` bytes into a buffer that never grows and is wiped on drop.
///
/// # Errors
///
/// [`EnvironmentError::Io`], [`EnvironmentError::TooLong`].
pub fn read_limited(path: &Path, limit: usize) -> Result<SecretBytes, EnvironmentError> {
    let file = open(path)?;
    read(file, path, limit)
}

/// Like [`read_limited`], for a passphrase or a private key, which other users must not be able to
/// read or change.
///
/// The group may read it, so that services can share a key.
///
/// # Errors
///
/// [`EnvironmentError::Exposed`], and as [`read_limited`].
pub fn read_secret(path: &Path, limit: usize) -> Result<SecretBytes, EnvironmentError> {
    let file = open(path)?;
    check_mode(&file, path)?;
    read(file, path, limit)
}

/// Returns a passphrase without the line ending that editors and shells put after it.
pub fn without_line_end(passphrase: &[u8]) -> &[u8] {
    let line = passphrase.strip_suffix(b"\n").unwrap_or(passphrase);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Refuses a file with a secret that other users can read or change.
///
/// # Errors
///
/// [`EnvironmentError::Exposed`], [`EnvironmentError::Io`].
pub fn check_secret(path: &Path) -> Result<(), EnvironmentError> {
    check_mode(&open(path)?, path)
}

fn check_mode(file: &File, path: &Path) -> Result<(), EnvironmentError> {
    let found = file.metadata().map_err(failed(path))?;
    let mode = found.permissions().mode() & 0o777;
    // Different rules apply to a device, such as /dev/stdin on a terminal.
    let holds = found.is_file() || found.file_type().is_fifo();
    if holds && mode & EXPOSED != 0 {
        return Err(EnvironmentError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, EnvironmentError> {
    File::open(path).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> EnvironmentError {
    |source| EnvironmentError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(file: File, path: &Path, limit: usize) -> Result<SecretBytes, EnvironmentError> {
    let failed = failed(path);
    let expected = file.metadata().map_err(&failed)?.len();
    let one_more = limit.saturating_add(1);
    // The length of a pipe is not known in advance, and a growing buffer leaves copies behind.
    let capacity = usize::try_from(expected).unwrap_or(one_more).min(limit);
    let capacity = if capacity == 0 {
        one_more
    } else {
        capacity.saturating_add(1)
    };
    let mut bytes = Vec::with_capacity(capacity);
    file.take(one_more as u64)
        .read_to_end(&mut bytes)
        .map_err(&failed)?;
    let bytes = SecretBytes::new(bytes);
    if bytes.expose().len() > limit {
        return Err(EnvironmentError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_at_the_limit_is_read_and_one_byte_more_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for len in [0, 1, 100] {
            std::fs::write(&path, vec![b'x'; len]).unwrap();
            assert_eq!(read_limited(&path, 100).unwrap().expose().len(), len);
        }
        std::fs::write(&path, vec![b'x'; 101]).unwrap();
        let refused = read_limited(&path, 100).map(|_| ()).unwrap_err();
        assert!(matches!(
            refused,
            EnvironmentError::TooLong { limit: 100, .. }
        ));
        // A world-readable file is not a secret.
        for (mode, refused) in [
            (0o600, false),
            (0o400, false),
            (0o640, false),
            (0o644, true),
            (0o604, true),
            (0o620, true),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret(&path, 200).map(|_| ());
            let exposed = matches!(read, Err(EnvironmentError::Exposed { .. }));
            assert_eq!(
                (exposed, check_secret(&path).is_err()),
                (refused, refused),
                "{mode:o}"
            );
            assert!(exposed || read.is_ok(), "{mode:o}");
        }
        let missing = read_limited(&folder.path().join("none"), 100).map(|_| ());
        assert!(matches!(missing.unwrap_err(), EnvironmentError::Io { .. }));
    }
}
