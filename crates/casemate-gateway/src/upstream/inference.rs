//! Limits on concurrency and memory of embedded models.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use casemate_crypto::encoding::KeyId;
use casemate_server::{Share, Shares};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::limits::Limits;

/// Bytes of memory per semaphore permit.
const PERMIT_BYTES: usize = 4096;

/// Too many requests are waiting, or there is no memory for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model is overloaded; try again later")]
pub(super) struct Overloaded;

/// The resources that all requests to embedded models share.
#[derive(Debug)]
pub(super) struct Inference {
    turns: Arc<Shares<KeyId>>,
    queue: Arc<Queue>,
    patience: Duration,
    memory: Arc<Semaphore>,
}

/// The number of requests that run in a model or wait for it.
#[derive(Debug)]
struct Queue {
    limit: usize,
    limit_per_client: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_client: HashMap<KeyId, usize>,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, released on drop.
#[derive(Debug)]
struct Place {
    queue: Arc<Queue>,
    client: KeyId,
}

impl Place {
    fn take(queue: &Arc<Queue>, client: KeyId) -> Result<Self, Overloaded> {
        let mut waiting = queue.waiting();
        let own = waiting.by_client.get(&client).copied().unwrap_or_default();
        if waiting.all >= queue.limit || own >= queue.limit_per_client {
            return Err(Overloaded);
        }
        waiting.all = waiting.all.saturating_add(1);
        waiting.by_client.insert(client, own.saturating_add(1));
        Ok(Self {
            queue: Arc::clone(queue),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(own) = waiting.by_client.get_mut(&self.client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                waiting.by_client.remove(&self.client);
            }
        }
    }
}

/// The right to use a core, and the memory reserved so far.
#[derive(Debug)]
pub(super) struct Turn {
    _share: Share<KeyId>,
    _place: Place,
    memory: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
}

impl Turn {
    /// Reserves memory until the turn ends.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).map_err(|_| Overloaded)?;
        let permits = Arc::clone(&self.memory).try_acquire_many_owned(permits);
        self.held.push(permits.map_err(|_| Overloaded)?);
        Ok(())
    }
}

impl Inference {
    pub(super) fn new(limits: &Limits) -> Self {
        let (waiting, waiting_per_client) = limits.inference_queue;
        let (running, running_per_client) = limits.inferences;
        Self {
            turns: Shares::new(running, running_per_client),
            queue: Arc::new(Queue {
                limit: waiting.saturating_add(running),
                limit_per_client: waiting_per_client.saturating_add(running_per_client),
                waiting: Mutex::default(),
            }),
            patience: limits.inference_patience,
            memory: Arc::new(Semaphore::new(
                limits.inference_bytes.div_ceil(PERMIT_BYTES),
            )),
        }
    }

    /// Waits for a turn of `client`.
    pub(super) async fn turn(&self, client: KeyId) -> Result<Turn, Overloaded> {
        let place = Place::take(&self.queue, client)?;
        let share = timeout(self.patience, self.turns.enter(client)).await;
        Ok(Turn {
            _share: share.map_err(|_| Overloaded)?,
            _place: place,
            memory: Arc::clone(&self.memory),
            held: Vec::new(),
        })
    }

    /// Returns a turn with all memory, for tests.
    #[cfg(test)]
    pub(super) async fn test_turn(bytes: usize) -> Turn {
        let limits = Limits {
            inference_bytes: bytes,
            ..Limits::default()
        };
        Self::new(&limits)
            .turn(KeyId::from_bytes([0; 32]))
            .await
            .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn client(number: u8) -> KeyId {
        KeyId::from_bytes([number; 32])
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_fill_the_queue_and_waits_are_bounded() {
        let limits = Limits {
            inferences: (1, 1),
            inference_queue: (4, 2),
            inference_patience: Duration::from_secs(30),
            ..Limits::default()
        };
        let inference = Arc::new(Inference::new(&limits));
        let running = inference.turn(client(1)).await.unwrap();
        let wait = |number| {
            let inference = Arc::clone(&inference);
            tokio::spawn(async move { inference.turn(client(number)).await.map(drop) })
        };
        let waiting = [wait(1), wait(1)];
        tokio::task::yield_now().await;
        assert!(
            inference.turn(client(1)).await.is_err(),
            "the client's places are taken"
        );
        let others = [wait(2), wait(3)];
        tokio::task::yield_now().await;
        assert!(
            inference.turn(client(4)).await.is_err(),
            "all places are taken"
        );
        for waited in waiting.into_iter().chain(others) {
            assert_eq!(
                waited.await.unwrap(),
                Err(Overloaded),
                "after the maximum wait"
            );
        }
        drop(running);
        inference.turn(client(4)).await.unwrap();
        assert_eq!(inference.queue.waiting().all, 0);
        assert!(inference.queue.waiting().by_client.is_empty());
    }

    #[tokio::test]
    async fn memory_is_bounded_and_released() {
        let mut turn = Inference::test_turn(1 << 20).await;
        turn.take(1 << 19).unwrap();
        assert_eq!(turn.take(1 << 20), Err(Overloaded));
        let memory = Arc::clone(&turn.memory);
        drop(turn);
        assert_eq!(memory.available_permits(), (1 << 20) / PERMIT_BYTES);
    }
}
