//! A fair limit on concurrent work.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits the number of concurrent tasks, in total and for each party.
///
/// A party waits for its own tasks first, so that only a few of its tasks are in the common queue.
/// The next party waits for those, not for everything that one party has requested.
#[derive(Debug)]
pub struct Shares<K> {
    all: Arc<Semaphore>,
    each: usize,
    parties: Mutex<HashMap<K, Party>>,
}

#[derive(Debug)]
struct Party {
    own: Arc<Semaphore>,
    users: usize,
}

/// The right to run one task, released on drop.
#[derive(Debug)]
pub struct Share<K: Copy + Eq + Hash> {
    shares: Arc<Shares<K>>,
    party: K,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// Allows `all` tasks at a time, and `each` of one party.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all)),
            each,
            parties: Mutex::default(),
        })
    }

    fn parties(&self) -> MutexGuard<'_, HashMap<K, Party>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub async fn enter(self: &Arc<Self>, party: K) -> Share<K> {
        let own = {
            let mut parties = self.parties();
            let found = parties.entry(party).or_insert_with(|| Party {
                own: Arc::new(Semaphore::new(self.each)),
                users: 0,
            });
            found.users = found.users.saturating_add(1);
            Arc::clone(&found.own)
        };
        // Created before waiting, so that a cancelled wait leaves nothing behind.
        let mut share = Share {
            shares: Arc::clone(self),
            party,
            permits: None,
        };
        let own = own.acquire_owned().await;
        let all = Arc::clone(&self.all).acquire_owned().await;
        // The semaphores are never closed.
        share.permits = own.ok().zip(all.ok());
        share
    }

    /// Returns the number of parties with waiting or running tasks.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.parties().len()
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        drop(self.permits.take());
        let mut parties = self.shares.parties();
        if let Some(party) = parties.get_mut(&self.party) {
            party.users = party.users.saturating_sub(1);
            if party.users == 0 {
                parties.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_party_does_not_delay_another() {
        let shares = Shares::new(2, 2);
        let (done, mut order) = mpsc::unbounded_channel();
        let ask = |party: char| {
            let (shares, done) = (Arc::clone(&shares), done.clone());
            tokio::spawn(async move {
                let _share = shares.enter(party).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                done.send(party).unwrap();
            })
        };
        (0..100).for_each(|_| drop(ask('a')));
        tokio::task::yield_now().await;
        drop(ask('b'));
        let mut before = 0;
        while order.recv().await.unwrap() != 'b' {
            before += 1;
        }
        assert!(before <= 4, "{before} went first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let shares = Shares::new(1, 1);
        let held = shares.enter(1).await;
        for party in [1, 2] {
            let waited = timeout(Duration::from_secs(1), shares.enter(party)).await;
            waited.unwrap_err();
        }
        assert_eq!(shares.len(), 1);
        drop(held);
        assert_eq!(shares.len(), 0);
        drop(shares.enter(2).await);
        assert_eq!(shares.len(), 0);
    }
}
