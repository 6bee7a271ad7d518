//! Reading small files.

use std::{fs::File, io::Read as _, path::Path};

use casemate_crypto::SecretBytes;

use crate::EnvironmentError;

/// Reads a file of at most `limit` bytes whole, into a buffer that never grows and is wiped.
///
/// # Errors
///
/// [`EnvironmentError::Io`], [`EnvironmentError::TooLong`].
pub fn read_limited(path: &Path, limit: usize) -> Result<SecretBytes, EnvironmentError> {
    let failed = |source| EnvironmentError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len();
    let one_more = limit.saturating_add(1);
    // What a pipe holds is not known beforehand, and a buffer that grows leaves copies behind.
    let capacity = usize::try_from(expected).unwrap_or(one_more).min(limit);
    let capacity = if capacity == 0 {
        one_more
    } else {
        capacity.saturating_add(1)
    };
    let mut bytes = Vec::with_capacity(capacity);
    file.take(one_more as u64)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
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
        let missing = read_limited(&folder.path().join("none"), 100).map(|_| ());
        assert!(matches!(missing.unwrap_err(), EnvironmentError::Io { .. }));
    }
}
