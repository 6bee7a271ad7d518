//! Work on the files of a folder, on all cores.

use std::sync::{Mutex, PoisonError};

use super::DirectoryError;

/// Longest file that one thread works on alone, in bytes. Longer ones are cut into segments, which keep all cores busy.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Does `job` for every file, small ones side by side, and gives what it made in the order of the files.
pub(super) fn for_each_file<F: Sync, T: Send>(
    files: &[F],
    len_of: impl Fn(&F) -> u64,
    job: impl Fn(&F) -> Result<T, DirectoryError> + Sync,
) -> Result<Vec<T>, DirectoryError> {
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
    casemate_parallel::for_each(
        small.len() as u64,
        || (),
        |(), index| {
            let file = usize::try_from(index).ok().and_then(|at| small.get(at));
            file.map_or(Ok(()), |file| run(*file))
        },
    )?;
    large.into_iter().try_for_each(run)?;
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    made.sort_by_key(|(number, _)| *number);
    Ok(made.into_iter().map(|(_, done)| done).collect())
}
