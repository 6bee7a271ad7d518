//! The thread that owns the key store.
//!
//! Uses that arrive while the disk is busy become entries of one change, so that many clients wait
//! for one write.

use std::{io, thread};

use casemate_keys::{Engine, KeyName, KeyStore, KeyUse, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::problem::Problem;

/// The key store of a service, over any engine.
pub type ServedStore = KeyStore<Box<dyn Engine + Send>>;

/// Most jobs that wait.
const JOBS_MAX: usize = 1024;
/// Most uses in one change.
const BATCH_MAX: usize = 128;

type Permit = Result<KeyName, Problem>;
type Call = Box<dyn FnOnce(&mut ServedStore) + Send>;

enum Job {
    Use(KeyUse, oneshot::Sender<Permit>),
    Call(Call),
}

/// Hands jobs to the thread.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread; it ends when the last handle is dropped.
    pub(crate) fn start(store: ServedStore, now: fn() -> u64) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        thread::Builder::new()
            .name("key store".to_owned())
            .spawn(move || run(store, waiting, now))?;
        Ok(Self { jobs })
    }

    /// Records a use before it is made. Returns the name of the key, as it is now.
    pub(crate) async fn record(&self, one: KeyUse) -> Permit {
        let (done, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Use(one, done)).await;
        sent.map_err(|_| Problem::stopped())?;
        answer.await.map_err(|_| Problem::stopped())?
    }

    /// Runs something on the key store.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut ServedStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let (done, answer) = oneshot::channel();
        let call: Call = Box::new(move |store| {
            // Whoever asked may have gone.
            _ = done.send(work(store).map_err(Problem::from));
        });
        let sent = self.jobs.send(Job::Call(call)).await;
        sent.map_err(|_| Problem::stopped())?;
        answer.await.map_err(|_| Problem::stopped())?
    }
}

fn run(mut store: ServedStore, mut waiting: mpsc::Receiver<Job>, now: fn() -> u64) {
    let mut next = waiting.blocking_recv();
    while let Some(job) = next.take() {
        match job {
            Job::Call(call) => call(&mut store),
            Job::Use(first, done) => {
                let (mut uses, mut answers) = (vec![first], vec![done]);
                while uses.len() < BATCH_MAX {
                    match waiting.try_recv() {
                        Ok(Job::Use(one, done)) => {
                            uses.push(one);
                            answers.push(done);
                        }
                        Ok(other) => {
                            next = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                record(&store, &uses, answers, now());
            }
        }
        if next.is_none() {
            next = waiting.blocking_recv();
        }
    }
}

fn record(store: &ServedStore, uses: &[KeyUse], answers: Vec<oneshot::Sender<Permit>>, now: u64) {
    match store.record_uses(uses, now) {
        Ok(results) => {
            for (answer, result) in answers.into_iter().zip(results) {
                _ = answer.send(result.map_err(Problem::from));
            }
        }
        Err(error) => {
            let problem = Problem::from(error);
            for answer in answers {
                _ = answer.send(Err(problem.clone()));
            }
        }
    }
}
