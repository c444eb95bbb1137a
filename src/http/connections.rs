//! The open connections, shared among their source networks.
//!
//! A network gets another connection while it has less than three times the free slots. Otherwise, or if no slot is
//! free, the longest idle connection is closed: one of the network with the most connections, if that has more than
//! the newcomer's network, and otherwise one of the newcomer's network. Connections that are in use, or were a moment
//! ago, are never closed for others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::activity::Activity;
use crate::util::fair_share::TRIPLE;
use crate::util::source_network::Network;

/// How long a connection must be idle before it may be closed for another one. Long enough for a handshake, or for the
/// first request: if more connections arrive at the same time than there are slots, the first ones succeed.
const GRACE: Duration = Duration::from_millis(250);

/// The origin that a connection counts for: a network; `None` for trusted proxies, which carry many callers.
pub(super) type Origin = Option<Network>;

/// Slots for connections.
#[derive(Debug)]
pub(super) struct Connections {
    capacity: usize,
    /// How long a connection must be idle before it may be closed for another one.
    grace: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_origin: HashMap<Origin, Vec<Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    activity: Arc<Activity>,
    evicted: CancellationToken,
}

impl Connections {
    /// This many slots, at least one.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.max(1), grace: GRACE, open: Mutex::default() })
    }

    /// Slots for connections in the handshake, at least one. A newcomer always gets one: a flood of incomplete
    /// handshakes closes the oldest of them, and a client that completes its handshake in time succeeds.
    pub(super) fn of_arrivals(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.max(1), grace: Duration::ZERO, open: Mutex::default() })
    }

    /// A slot for a connection. `None` when there is none and no idle connection may be closed.
    pub(super) fn enter(self: &Arc<Self>, origin: Origin, activity: &Arc<Activity>) -> Option<Seat> {
        let mut open = self.lock();
        let (held, free) = (open.held(&origin), self.capacity - open.total);
        if free == 0 || origin.is_some() && !TRIPLE.admits(held, free) {
            open.make_room(&origin, held, self.grace)?;
        }
        let entry = Arc::new(Entry { activity: Arc::clone(activity), evicted: CancellationToken::new() });
        open.by_origin.entry(origin).or_default().push(Arc::clone(&entry));
        open.total += 1;
        Some(Seat { connections: Arc::clone(self), origin, entry })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn held(&self, origin: &Origin) -> usize {
        self.by_origin.get(origin).map_or(0, Vec::len)
    }

    /// Closes one connection that has been idle for `grace`, for a newcomer whose origin has this many.
    fn make_room(&mut self, origin: &Origin, held: usize, grace: Duration) -> Option<()> {
        // Trusted proxies take precedence over networks, however many connections they have.
        let larger = self
            .by_origin
            .iter()
            .filter(|(network, entries)| network.is_some() && (origin.is_none() || entries.len() > held));
        // Among networks with equal numbers, the one with the longest idle connection.
        let idle = larger.filter_map(|(network, entries)| {
            let (since, entry) = longest_idle(entries, grace)?;
            Some(((Reverse(entries.len()), since), *network, entry))
        });
        let largest = idle.min_by_key(|(order, ..)| *order).map(|(_, network, entry)| (network, entry));
        let own = || Some((*origin, longest_idle(self.by_origin.get(origin)?, grace)?.1));
        let (victim, entry) = largest.or_else(own)?;
        entry.evicted.cancel();
        self.remove(&victim, &entry);
        Some(())
    }

    /// Removes a connection, if it is known.
    fn remove(&mut self, origin: &Origin, entry: &Arc<Entry>) {
        let Some(entries) = self.by_origin.get_mut(origin) else { return };
        if let Some(at) = entries.iter().position(|known| Arc::ptr_eq(known, entry)) {
            entries.swap_remove(at);
            self.total -= 1;
        }
        if entries.is_empty() {
            self.by_origin.remove(origin);
        }
    }
}

/// The longest idle connection, if idle for at least `grace`, and the start of its idle time.
fn longest_idle(entries: &[Arc<Entry>], grace: Duration) -> Option<(Instant, Arc<Entry>)> {
    let idle = entries.iter().filter_map(|entry| Some((entry.activity.idle_since()?, entry)));
    let longest = idle.min_by_key(|(since, _)| *since).filter(|(since, _)| since.elapsed() >= grace);
    longest.map(|(since, entry)| (since, Arc::clone(entry)))
}

/// The slot of a connection, released on drop.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    origin: Origin,
    entry: Arc<Entry>,
}

impl Seat {
    /// Cancelled when the connection must close for another one.
    pub(super) fn evicted(&self) -> &CancellationToken {
        &self.entry.evicted
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.origin, &self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the origin of a connection is optional")]
    fn network(number: u8) -> Origin {
        Some(Network::of([127, 0, 0, number].into()))
    }

    fn enter(connections: &Arc<Connections>, origin: Origin) -> Option<Seat> {
        connections.enter(origin, &Activity::new())
    }

    #[tokio::test]
    async fn an_arrival_is_always_accepted_and_evicts_the_oldest_if_every_slot_has_another_source() {
        let arrivals = Connections::of_arrivals(4);
        let flood: Vec<Seat> = (1..=4).map(|number| enter(&arrivals, network(number)).unwrap()).collect();
        let newcomer = enter(&arrivals, network(9)).expect("a place at once");
        let ended = flood.iter().map(|seat| seat.evicted().is_cancelled()).collect::<Vec<_>>();
        assert_eq!(ended, [true, false, false, false]);
        let more: Vec<Seat> = (5..=7).map(|number| enter(&arrivals, network(number)).unwrap()).collect();
        assert!(!newcomer.evicted().is_cancelled(), "those that came before it are older");
        assert!(more.iter().all(|seat| !seat.evicted().is_cancelled()));
    }

    /// Enters this many times, with enough time between that each is idle for long enough.
    async fn fill(connections: &Arc<Connections>, origin: Origin, number: usize) -> Vec<Seat> {
        let mut seats = Vec::new();
        for _ in 0..number {
            seats.push(enter(connections, origin).unwrap());
            tokio::time::sleep(GRACE).await;
        }
        seats
    }

    fn alive(seats: &[Seat]) -> usize {
        seats.iter().filter(|seat| !seat.evicted().is_cancelled()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_network_gets_three_quarters_and_then_evicts_its_longest_idle_connections() {
        let connections = Connections::new(400);
        let seats = fill(&connections, network(1), 500).await;
        assert_eq!(alive(&seats), 300);
        assert!(seats[..200].iter().all(|seat| seat.evicted().is_cancelled()), "the longest idle make room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_evicts_the_longest_idle_one_of_the_network_with_the_most() {
        let connections = Connections::new(4);
        let (most, fewer) = (fill(&connections, network(1), 3).await, fill(&connections, network(2), 1).await);
        let newcomer = enter(&connections, network(3)).unwrap();
        assert!(most[0].evicted().is_cancelled());
        assert_eq!((alive(&most), alive(&fewer), newcomer.evicted().is_cancelled()), (2, 1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_within_its_grace_period_is_not_evicted_and_a_new_one_is_refused() {
        let connections = Connections::new(2);
        let seats = [1, 2].map(|number| enter(&connections, network(number)).unwrap());
        assert!(enter(&connections, network(3)).is_none());
        assert_eq!(alive(&seats), 2);
        tokio::time::sleep(GRACE).await;
        assert!(enter(&connections, network(3)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_in_use_are_not_evicted() {
        let connections = Connections::new(3);
        let (busy, idle) = (Activity::new(), Activity::new());
        let _open = busy.open();
        let in_use = [1, 1].map(|number| connections.enter(network(number), &busy).unwrap());
        let unused = connections.enter(network(2), &idle).unwrap();
        tokio::time::sleep(GRACE).await;
        // The network with the most connections has no idle one, and the other network has no more than the newcomer
        // would have.
        assert!(connections.enter(network(2), &busy).is_some(), "its own makes room");
        assert!(unused.evicted().is_cancelled());
        assert_eq!(alive(&in_use), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn networks_with_equally_many_connections_do_not_evict_each_other() {
        let connections = Connections::new(2);
        let seats = [1, 2].map(|number| enter(&connections, network(number)).unwrap());
        tokio::time::sleep(GRACE).await;
        let _newer = enter(&connections, network(1)).unwrap();
        assert_eq!(seats.map(|seat| seat.evicted().is_cancelled()), [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_proxy_may_use_all_slots_and_is_not_evicted() {
        let connections = Connections::new(4);
        let network = fill(&connections, network(1), 2).await;
        let proxy = fill(&connections, None, 4).await;
        assert_eq!((alive(&network), alive(&proxy)), (0, 4));
        assert!(enter(&connections, self::network(2)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_recently_used_connection_is_kept() {
        let connections = Connections::new(2);
        let activities = [Activity::new(), Activity::new()];
        let seats = activities.each_ref().map(|activity| connections.enter(network(1), activity).unwrap());
        tokio::time::sleep(GRACE).await;
        drop(activities[0].open());
        let _newcomer = enter(&connections, network(2)).unwrap();
        assert_eq!(seats.map(|seat| seat.evicted().is_cancelled()), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connections_are_removed_from_the_counts() {
        let connections = Connections::new(4);
        drop(fill(&connections, network(1), 10).await);
        let open = connections.lock();
        assert_eq!((open.total, open.by_origin.len()), (0, 0));
    }
}
