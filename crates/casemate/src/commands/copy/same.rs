//! Checks whether the target already has an artifact.

use std::path::Path;

use casemate_seal::{Artifact, OpenError, ReadAt, Source, file};
use casemate_store::{Location, RemoteObject};

use crate::fault::Fault;

/// Returns whether the object at `to` is the same artifact with the same recipients, which means
/// that its tail is the same, byte for byte. `None` if there is no object.
pub(super) fn is_there(source: &Source, to: &Location) -> Result<Option<bool>, Fault> {
    let failed = |error| Fault::file("read", Path::new(to.address()), error);
    let found = match RemoteObject::open(to) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    have_equal_tails(source, &found)
        .map(Some)
        .map_err(|error| match error {
            CompareError::Artifact(error) => error.into(),
            CompareError::Io(error) => failed(error),
        })
}

/// Returns whether a file is the same artifact with the same recipients, and intact. Its hashes
/// were checked when it was downloaded; this checks them again.
pub(super) fn is_same_file(source: &Source, path: &Path) -> Result<bool, Fault> {
    let Ok(found) = file::open_shared(path) else {
        return Ok(false);
    };
    let same = have_equal_tails(source, &found).map_err(|error| match error {
        CompareError::Artifact(error) => error.into(),
        CompareError::Io(error) => Fault::file("read", path, error),
    })?;
    let is_whole = || Artifact::read(&found)?.verify_segments(&|_| ());
    Ok(same && is_whole().is_ok())
}

/// Why two artifacts could not be compared.
enum CompareError {
    Artifact(OpenError),
    Io(std::io::Error),
}

fn have_equal_tails(source: &Source, found: &impl ReadAt) -> Result<bool, CompareError> {
    let len = source.byte_len().map_err(CompareError::Io)?;
    if found.byte_len().map_err(CompareError::Io)? != len {
        return Ok(false);
    }
    let body = Artifact::read(source)
        .map_err(CompareError::Artifact)?
        .header()
        .body_len();
    let tail = usize::try_from(len.saturating_sub(body)).unwrap_or(0);
    let (mut ours, mut theirs) = (vec![0; tail], vec![0; tail]);
    source
        .read_exact_at(&mut ours, body)
        .map_err(CompareError::Io)?;
    found
        .read_exact_at(&mut theirs, body)
        .map_err(CompareError::Io)?;
    Ok(ours == theirs)
}
