//! Memory for requests that are being received.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use casemate_server::Peer;

/// The memory that all requests above the small size share.
#[derive(Debug)]
pub(crate) struct Memory {
    held: Mutex<CachedKeys>,
    displaceable_after: Duration,
}

#[derive(Debug)]
struct CachedKeys {
    free: usize,
    by_peer: HashMap<Peer, usize>,
    next: u64,
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    peer: Peer,
    bytes: usize,
    /// Time at which content last arrived; `None` once all content has arrived.
    progress: Option<Instant>,
    admitted: bool,
    displaced: Arc<Notify>,
}

/// Memory reserved for one request, released on drop.
#[derive(Debug)]
pub(crate) struct Hold {
    memory: Arc<Memory>,
    id: u64,
    displaced: Arc<Notify>,
}

impl Memory {
    pub(crate) fn new(bytes: usize, displaceable_after: Duration) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::new(CachedKeys {
                free: bytes,
                by_peer: HashMap::new(),
                next: 0,
                holders: BTreeMap::new(),
            }),
            displaceable_after,
        })
    }

    fn held(&self) -> MutexGuard<'_, CachedKeys> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves memory for a request of `bytes`; `None` if none is available to it.
    ///
    /// `admitted` is whether the connection has carried an admitted request.
    pub(crate) fn hold(self: &Arc<Self>, peer: Peer, bytes: usize, admitted: bool) -> Option<Hold> {
        let mut held = self.held();
        while !held.may_take(peer, bytes) {
            // A peer past its own share may displace only its own requests.
            let only = (held.free >= bytes).then_some(peer);
            let stalled = held.displace(only, self.displaceable_after);
            // A stranger that trickles data never stalls, but must not keep admitted clients out
            // either.
            let freed = stalled.or_else(|| held.displace_stranger(only.is_none() && admitted));
            freed?;
        }
        let displaced = Arc::new(Notify::new());
        let id = held.next;
        held.next = id.wrapping_add(1);
        held.free = held.free.saturating_sub(bytes);
        let own = held.by_peer.entry(peer).or_default();
        *own = own.saturating_add(bytes);
        let holder = Holder {
            peer,
            bytes,
            progress: Some(Instant::now()),
            admitted,
            displaced: Arc::clone(&displaced),
        };
        held.holders.insert(id, holder);
        Some(Hold {
            memory: Arc::clone(self),
            id,
            displaced,
        })
    }

    /// Returns the number of free bytes.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.held().free
    }
}

impl CachedKeys {
    /// Returns whether a peer may take `bytes`: it may hold at most as much as it leaves free.
    fn may_take(&self, peer: Peer, bytes: usize) -> bool {
        let own = self.by_peer.get(&peer).copied().unwrap_or_default();
        let left = self.free.checked_sub(bytes);
        left.is_some_and(|left| own == 0 || own.saturating_add(bytes) <= left)
    }

    /// Displaces the request that has stalled longest, those of strangers first.
    fn displace(&mut self, only: Option<Peer>, after: Duration) -> Option<()> {
        let now = Instant::now();
        let stalled = self.holders.iter().filter_map(|(id, holder)| {
            let since = holder.progress?;
            let long =
                now.duration_since(since) >= after && only.is_none_or(|only| only == holder.peer);
            long.then_some((holder.admitted, since, *id))
        });
        let (_, _, id) = stalled.min()?;
        let displaced = self.give_back(id)?;
        displaced.notify_one();
        Some(())
    }

    /// Displaces the oldest request of a stranger, whatever its progress.
    fn displace_stranger(&mut self, may: bool) -> Option<()> {
        let mut holders = self.holders.iter();
        let receiving = |holder: &Holder| !holder.admitted && holder.progress.is_some();
        let (id, _) = holders.find(|(_, holder)| may && receiving(holder))?;
        let id = *id;
        let displaced = self.give_back(id)?;
        displaced.notify_one();
        Some(())
    }

    fn give_back(&mut self, id: u64) -> Option<Arc<Notify>> {
        let holder = self.holders.remove(&id)?;
        self.free = self.free.saturating_add(holder.bytes);
        if let Some(own) = self.by_peer.get_mut(&holder.peer) {
            *own = own.saturating_sub(holder.bytes);
            if *own == 0 {
                self.by_peer.remove(&holder.peer);
            }
        }
        Some(holder.displaced)
    }
}

impl Hold {
    /// Records that content arrived.
    pub(crate) fn progress(&self) {
        self.set(Some(Instant::now()));
    }

    /// Records that all content arrived; the request can no longer be displaced.
    pub(crate) fn complete(&self) {
        self.set(None);
    }

    fn set(&self, progress: Option<Instant>) {
        if let Some(holder) = self.memory.held().holders.get_mut(&self.id) {
            holder.progress = progress;
        }
    }

    /// Completes when another request has displaced this one.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.memory.held().give_back(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MIB: usize = 1 << 20;

    fn peer(number: u32) -> Peer {
        Peer::of(Ipv4Addr::from_bits(number).into())
    }

    fn memory() -> Arc<Memory> {
        Memory::new(512 * MIB, Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_holds_at_most_as_much_as_it_leaves_free() {
        let memory = memory();
        let hold = |number| memory.hold(peer(number), 32 * MIB, false);
        let holds: Vec<_> = std::iter::from_fn(|| hold(1)).collect();
        assert_eq!(holds.len(), 8);
        let other: Vec<_> = std::iter::from_fn(|| hold(2)).collect();
        assert_eq!(other.len(), 4);
        drop(holds);
        drop(other);
        assert_eq!(memory.free(), 512 * MIB);
        assert!(memory.held().by_peer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_past_its_share_displaces_only_its_own() {
        let memory = memory();
        let hold = |number| memory.hold(peer(number), 32 * MIB, false);
        let other = hold(1).unwrap();
        let holds: Vec<_> = std::iter::from_fn(|| hold(2)).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let more = hold(2).unwrap();
        holds[0].displaced().await;
        let waited = tokio::time::timeout(Duration::from_secs(1), other.displaced());
        assert!(waited.await.is_err());
        drop(more);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_withholds_its_last_byte_is_displaced() {
        let memory = memory();
        let hold = |number| memory.hold(peer(number), 32 * MIB, false);
        let stalled: Vec<_> = (0..16).map(|number| hold(number).unwrap()).collect();
        assert!(
            hold(100).is_none(),
            "all memory is held, and no request has stalled yet"
        );
        tokio::time::sleep(Duration::from_millis(1100)).await;
        stalled[0].progress();
        let honest = hold(100).unwrap();
        stalled[1].displaced().await;
        let waited = tokio::time::timeout(Duration::from_secs(1), stalled[0].displaced());
        assert!(waited.await.is_err());
        honest.complete();
        tokio::time::sleep(Duration::from_secs(5)).await;
        for number in 101..200 {
            drop(hold(number).unwrap());
        }
        assert_eq!(
            memory.held().holders.len(),
            1 + 14,
            "the honest request stays"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_admitted_client_displaces_trickling_strangers() {
        let memory = Memory::new(3 * MIB, Duration::from_secs(1));
        let first = memory.hold(peer(1), MIB, false).unwrap();
        let second = memory.hold(peer(2), MIB, false).unwrap();
        let known = memory.hold(peer(3), MIB, true).unwrap();
        for hold in [&first, &second, &known] {
            hold.progress();
        }
        assert!(memory.hold(peer(4), MIB, false).is_none());
        let admitted = memory.hold(peer(4), MIB, true).unwrap();
        first.displaced().await;
        second.complete();
        // Complete requests, and requests of admitted clients, stay.
        assert!(memory.hold(peer(5), MIB, true).is_none());
        drop((known, admitted));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_displaced_before_admitted_clients() {
        let memory = Memory::new(3 * MIB, Duration::from_secs(1));
        let admitted = memory.hold(peer(1), MIB, true).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let stranger = memory.hold(peer(2), 2 * MIB, false).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let next = memory.hold(peer(3), 2 * MIB, false).unwrap();
        stranger.displaced().await;
        let waited = tokio::time::timeout(Duration::from_secs(1), admitted.displaced());
        assert!(waited.await.is_err());
        drop((admitted, next));
    }
}
