//! Parallel processing of independent segments: two threads per core, one buffer per thread.
//!
//! The kernel serialises writes to one file, and a thread that waits there spins on a core. So
//! writers take turns here, where waiting costs nothing. There are more threads than cores: while
//! one writes or waits for the disk, the others process segments.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! let sum = AtomicU64::new(0);
//! casemate_parallel::for_each(100, || (), |(), index| {
//!     sum.fetch_add(index, Ordering::Relaxed);
//!     Ok::<(), ()>(())
//! })?;
//! assert_eq!(sum.into_inner(), 4950);
//! # Ok::<(), ()>(())
//! ```

mod pieces;

pub use pieces::{Piece, for_each_piece, short_piece};

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Builder},
};

const THREADS_PER_CORE: usize = 2;

/// Returns the number of cores this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A lock that lets one thread write at a time.
#[derive(Debug, Default)]
pub struct Turn(Mutex<()>);

impl Turn {
    /// Runs `write` exclusively.
    pub fn take<T>(&self, write: impl FnOnce() -> T) -> T {
        // The lock protects no data that a panic in another thread could leave inconsistent.
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write()
    }
}

/// Runs `job` for every index below `count`, on two threads per core. `init` creates the state of
/// each thread.
///
/// After the first error, no new index is started, and that error is returned.
///
/// # Errors
///
/// The error of the first job that failed.
pub fn for_each<S, E: Send>(
    count: u64,
    init: impl Fn() -> S + Sync,
    job: impl Fn(&mut S, u64) -> Result<(), E> + Sync,
) -> Result<(), E> {
    for_each_on(cores().saturating_mul(THREADS_PER_CORE), count, init, job)
}

/// As [`for_each`], on at most `threads` threads, for jobs that wait more than they compute.
///
/// # Errors
///
/// The error of the first job that failed.
pub fn for_each_on<S, E: Send>(
    threads: usize,
    count: u64,
    init: impl Fn() -> S + Sync,
    job: impl Fn(&mut S, u64) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let workers = usize::try_from(count).unwrap_or(usize::MAX).min(threads);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed = Mutex::new(None);
    let work = || {
        let mut state = init();
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            if let Err(error) = job(&mut state, index) {
                stop.store(true, Ordering::Relaxed);
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        // This thread is one of the workers. If the system refuses more threads, continue with
        // those that started.
        for _ in 1..workers {
            if Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

/// Runs two jobs in parallel, or sequentially if the system refuses a thread.
pub fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    // A thread that cannot be started drops its job, so keep the job here until it is run.
    let first = Mutex::new(Some(first));
    let run_first = || {
        let job = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        job.map(|job| job())
    };
    thread::scope(|scope| {
        let other = Builder::new().spawn_scoped(scope, run_first);
        let second = second();
        let done = match other {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => run_first(),
        };
        let first = done.unwrap_or_else(|| unreachable!("the job is run once"));
        (first, second)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once() {
        let done: Vec<_> = (0..1000).map(|_| AtomicU64::new(0)).collect();
        for_each(
            1000,
            || (),
            |(), index| {
                done[usize::try_from(index).unwrap()].fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(())
            },
        )
        .unwrap();
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn no_more_threads_run_than_allowed() {
        let (running, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let job = |(): &mut (), _| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        };
        for_each_on(3, 30, || (), job).unwrap();
        assert_eq!(most.into_inner(), 3);
        for_each_on(3, 0, || (), |(), _| Err(())).unwrap();
    }

    #[test]
    fn two_jobs_are_both_done() {
        let mut counted = 0;
        assert_eq!(both(|| "first", || counted += 1), ("first", ()));
        assert_eq!(counted, 1);
    }

    #[test]
    fn an_error_stops_the_work_and_is_returned() {
        let started = AtomicU64::new(0);
        let refused = for_each(
            1_000_000,
            || (),
            |(), index| {
                started.fetch_add(1, Ordering::Relaxed);
                if index == 3 { Err("third") } else { Ok(()) }
            },
        );
        assert_eq!(refused, Err("third"));
        assert!(started.load(Ordering::Relaxed) < 1_000_000);
    }
}
