//! The open connections, and which of them a new one displaces.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::Peer;

/// A bounded table of connections.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Table>,
    limit: usize,
    limit_per_peer: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In order of arrival.
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// Whether the connection carried a request of an admitted client.
    admitted: bool,
    displaced: Arc<Notify>,
}

/// A place in the table, released on drop.
#[derive(Debug)]
pub struct Seat {
    table: Arc<Connections>,
    id: u64,
    /// The peer that holds it.
    pub peer: Peer,
    displaced: Arc<Notify>,
}

impl Connections {
    /// Returns an empty table for `limit` connections, of which one peer may hold
    /// `limit_per_peer`.
    pub fn new(limit: usize, limit_per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            limit,
            limit_per_peer,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change is a single insertion or removal, so a panic leaves the table consistent.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if necessary by displacing another connection; `None` if none can be
    /// displaced.
    pub fn enter(self: &Arc<Self>, peer: Peer) -> Option<Seat> {
        let mut table = self.table();
        let own = table
            .entries
            .values()
            .filter(|entry| entry.peer == peer)
            .count();
        if own >= self.limit_per_peer {
            table.displace(Some(peer))?;
        } else if table.entries.len() >= self.limit {
            table.displace(None)?;
        }
        let id = table.next;
        table.next = id.wrapping_add(1);
        let displaced = Arc::new(Notify::new());
        table.entries.insert(
            id,
            Entry {
                peer,
                admitted: false,
                displaced: Arc::clone(&displaced),
            },
        );
        Some(Seat {
            table: Arc::clone(self),
            id,
            peer,
            displaced,
        })
    }
}

impl Table {
    /// Closes the oldest connection of `peer`, or of the peer that holds most. Those that carried
    /// an admitted request come last.
    fn displace(&mut self, peer: Option<Peer>) -> Option<()> {
        let of = |admitted| self.oldest_of_most(peer, admitted);
        let id = of(false).or_else(|| of(true))?;
        let entry = self.entries.remove(&id)?;
        tracing::debug!(peer = ?entry.peer, "displaced a connection");
        entry.displaced.notify_one();
        Some(())
    }

    /// Returns the oldest connection of the peer that holds most, among those with the given
    /// `admitted`.
    fn oldest_of_most(&self, peer: Option<Peer>, admitted: bool) -> Option<u64> {
        // Count and oldest connection of each peer. The older connection breaks ties, so that
        // addresses do not matter.
        let mut held: HashMap<Peer, (usize, Reverse<u64>)> = HashMap::new();
        for (id, entry) in &self.entries {
            if entry.admitted == admitted && peer.is_none_or(|peer| peer == entry.peer) {
                let (count, _) = held.entry(entry.peer).or_insert((0, Reverse(*id)));
                *count = count.saturating_add(1);
            }
        }
        held.into_values().max().map(|(_, oldest)| oldest.0)
    }
}

impl Seat {
    /// Records that the connection carried a request of an admitted client.
    pub fn admit(&self) {
        if let Some(entry) = self.table.table().entries.get_mut(&self.id) {
            entry.admitted = true;
        }
    }

    /// Returns whether the connection carried a request of an admitted client.
    pub fn is_admitted(&self) -> bool {
        let table = self.table.table();
        table
            .entries
            .get(&self.id)
            .is_some_and(|entry| entry.admitted)
    }

    /// Completes when the connection is displaced.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.table().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::of(Ipv4Addr::from_bits(number).into())
    }

    async fn is_displaced(seat: &Seat) -> bool {
        let waited = tokio::time::timeout(Duration::from_millis(1), seat.displaced());
        waited.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_peer_displaces_the_peer_that_holds_most() {
        let table = Connections::new(10, 8);
        let greedy: Vec<_> = (0..8).map(|_| table.enter(peer(1)).unwrap()).collect();
        let others: Vec<_> = (0..2).map(|_| table.enter(peer(2)).unwrap()).collect();
        let new = table.enter(peer(3)).unwrap();
        assert!(is_displaced(&greedy[0]).await);
        for seat in greedy[1..].iter().chain(&others).chain([&new]) {
            assert!(!is_displaced(seat).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_past_its_share_displaces_its_own_connection() {
        let table = Connections::new(10, 2);
        let seats: Vec<_> = (0..3).map(|_| table.enter(peer(1)).unwrap()).collect();
        assert!(is_displaced(&seats[0]).await);
        assert!(!is_displaced(&seats[1]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_admitted_request_is_displaced_last() {
        let table = Connections::new(2, 2);
        let (known, stranger) = (table.enter(peer(1)).unwrap(), table.enter(peer(2)).unwrap());
        known.admit();
        assert!(known.is_admitted() && !stranger.is_admitted());
        let next = table.enter(peer(3)).unwrap();
        assert!(is_displaced(&stranger).await && !is_displaced(&known).await);
        next.admit();
        // No peer holds every seat forever, and the newest stranger is displaced next.
        let last = table.enter(peer(4)).unwrap();
        assert!(is_displaced(&known).await && !is_displaced(&next).await);
        let _other = table.enter(peer(5)).unwrap();
        assert!(is_displaced(&last).await && !is_displaced(&next).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_does_not_decide_which_peer_is_displaced() {
        for (first, second) in [(1, 2), (2, 1)] {
            let table = Connections::new(2, 2);
            let older = table.enter(peer(first)).unwrap();
            let newer = table.enter(peer(second)).unwrap();
            let _third = table.enter(peer(3)).unwrap();
            assert!(is_displaced(&older).await && !is_displaced(&newer).await);
        }
    }
}
