//! The thread that owns the key store.
//!
//! Uses come before everything else, and those that arrive while the disk is busy become entries
//! of one change, so that many clients wait for one write. Of everything else, each client has one
//! at a time, so that nobody waits for more than one of each other client.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use casemate_keys::{AnyEngine, KeyName, KeyStore, KeyUse, StoreError};
use casemate_server::Shares;
use tokio::sync::oneshot;

use crate::{grants::ClientId, problem::Problem};

/// The key store of a service, over any engine.
pub type ServedStore = KeyStore<AnyEngine>;

/// Most uses in one change.
const BATCH_MAX: usize = 48;
/// Most uses that wait.
const USES_MAX: usize = 8192;
/// Most other jobs that wait, in total and of one client.
const CALLS_MAX: (usize, usize) = (64, 1);

type Permit = Result<KeyName, Problem>;
type Call = Box<dyn FnOnce(&mut ServedStore) + Send>;
type Use = (KeyUse, oneshot::Sender<Permit>);

#[derive(Default)]
struct Waiting {
    uses: VecDeque<Use>,
    calls: VecDeque<Call>,
    /// Nobody will ask any longer.
    ends: bool,
    /// Nobody will answer any longer.
    has_ended: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.waiting());
        self.arrived.notify_one();
    }
}

/// Hands jobs to the thread, which ends when this is dropped.
pub(crate) struct Worker {
    queue: Arc<Queue>,
    calls: Arc<Shares<ClientId>>,
}

impl Worker {
    pub(crate) fn start(store: ServedStore, now: fn() -> u64) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let (all, each) = CALLS_MAX;
        let worker = Self {
            queue: Arc::clone(&queue),
            calls: Shares::new(all, each),
        };
        thread::Builder::new()
            .name("key store".to_owned())
            .spawn(move || run(store, &queue, now))?;
        Ok(worker)
    }

    /// Records a use before it is made. Returns the name of the key, as it is now.
    pub(crate) async fn record(&self, one: KeyUse) -> Permit {
        let (done, answer) = oneshot::channel();
        self.queue.add(|waiting| {
            // What nobody waits for any longer is not made.
            if waiting.uses.len() >= USES_MAX {
                waiting.uses.retain(|(_, done)| !done.is_closed());
            }
            if waiting.uses.len() < USES_MAX && !waiting.has_ended {
                waiting.uses.push_back((one, done));
            }
        });
        answer.await.map_err(|_| Problem::stopped())?
    }

    /// Runs something on the key store for a client.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        client: ClientId,
        work: impl FnOnce(&mut ServedStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.calls.enter(client).await;
        let (done, answer) = oneshot::channel();
        let call: Call = Box::new(move |store| {
            // Whoever asked may have gone.
            _ = done.send(work(store).map_err(Problem::from));
            drop(turn);
        });
        self.queue.add(|waiting| {
            if !waiting.has_ended {
                waiting.calls.push_back(call);
            }
        });
        answer.await.map_err(|_| Problem::stopped())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.add(|waiting| waiting.ends = true);
    }
}

/// Refuses everything once the thread has ended, also by a panic.
struct Ending<'a>(&'a Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.has_ended = true;
        // Dropping what waits tells those who wait for it.
        waiting.uses.clear();
        waiting.calls.clear();
        if !waiting.ends {
            tracing::error!("the thread of the key store ended; restart the service");
        }
    }
}

fn run(mut store: ServedStore, queue: &Queue, now: fn() -> u64) {
    let _ending = Ending(queue);
    loop {
        let mut waiting = queue.waiting();
        while waiting.uses.is_empty() && waiting.calls.is_empty() {
            if waiting.ends {
                return;
            }
            let woken = queue.arrived.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let count = waiting.uses.len().min(BATCH_MAX);
        let uses: Vec<_> = waiting.uses.drain(..count).collect();
        let call = waiting.calls.pop_front();
        drop(waiting);
        if !uses.is_empty() {
            record(&store, uses, now());
        }
        if let Some(call) = call {
            call(&mut store);
        }
    }
}

fn record(store: &ServedStore, mut uses: Vec<Use>, now: u64) {
    uses.retain(|(_, done)| !done.is_closed());
    let (uses, answers): (Vec<_>, Vec<_>) = uses.into_iter().unzip();
    match store.record_uses(&uses, now) {
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
