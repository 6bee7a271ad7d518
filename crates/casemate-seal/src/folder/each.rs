//! Processing the files of a folder on all cores.

use std::sync::{Mutex, PoisonError};

use super::FolderError;

/// Maximum length of a file that one thread processes alone, in bytes. The segments of longer files
/// keep all cores busy.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Runs `job` for every file, small files in parallel, and returns the results in the order of the
/// files.
///
/// # Errors
///
/// The error of the first file that fails, in the order of the files: files before it have been
/// started and are waited for.
pub(super) fn for_each_file<F: Sync, T: Send>(
    files: &[F],
    len_of: impl Fn(&F) -> u64,
    job: impl Fn(&F) -> Result<T, FolderError> + Sync,
) -> Result<Vec<T>, FolderError> {
    let numbered = files.iter().enumerate();
    let (small, large): (Vec<_>, Vec<_>) =
        numbered.partition(|(_, file)| len_of(file) <= SMALL_BYTES_MAX);
    let made = Mutex::new(Vec::with_capacity(files.len()));
    let run = |(number, file): (usize, &F)| {
        let done = job(file)?;
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push((number, done));
        Ok(())
    };
    let failed = Mutex::new(None);
    let is_done = casemate_parallel::for_each(
        small.len() as u64,
        || (),
        |(), index| {
            let file = usize::try_from(index).ok().and_then(|at| small.get(at));
            let Some(file) = file else { return Ok(()) };
            run(*file).map_err(|error| {
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|(number, _)| file.0 < *number) {
                    *first = Some((file.0, error));
                }
            })
        },
    );
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (Err(()), Some((_, error))) = (is_done, failed) {
        return Err(error);
    }
    large.into_iter().try_for_each(run)?;
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    made.sort_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, done)| done).collect())
}
