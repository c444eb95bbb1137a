//! The clients that have authenticated from a network in the last minutes. Namespaces share the table.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::util::fair_share::{FairShare, QUARTER};
use crate::util::source_network::Network;

/// How long a client is known after it has authenticated: longer than the time between two requests of a client whose
/// tokens live as long as the default.
const KNOWN_FOR: Duration = Duration::from_mins(30);
/// How often those that are no longer known are removed.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// A later use is not recorded within this time.
const QUANTUM: Duration = Duration::from_mins(1);

/// A client id as a request names it. A digest with a key of this process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ClientKey(u64);

pub(super) struct KnownClients {
    hasher: RandomState,
    table: Mutex<Table>,
}

struct Table {
    networks: HashMap<Network, Clients>,
    room: FairShare<Arc<str>>,
    swept_at: Instant,
}

/// The clients of one network.
#[derive(Default)]
struct Clients {
    of: HashMap<ClientKey, Known>,
    /// The latest of their ends.
    until: Option<Instant>,
}

struct Known {
    until: Instant,
    namespace: Arc<str>,
}

impl KnownClients {
    /// A table of this many pairs of a network and a client.
    pub(super) fn new(pairs: usize) -> Self {
        let room = FairShare::new(QUARTER, pairs);
        let table = Table { networks: HashMap::new(), room, swept_at: Instant::now() };
        Self { hasher: RandomState::new(), table: Mutex::new(table) }
    }

    pub(super) fn key(&self, client: &str) -> ClientKey {
        ClientKey(self.hasher.hash_one(client))
    }

    pub(super) fn has_clients(&self, network: Network, now: Instant) -> bool {
        self.lock().networks.get(&network).is_some_and(|clients| clients.until.is_some_and(|until| until > now))
    }

    pub(super) fn contains(&self, (network, key): (Network, ClientKey), now: Instant) -> bool {
        let table = self.lock();
        let known = table.networks.get(&network).and_then(|clients| clients.of.get(&key));
        known.is_some_and(|known| known.until > now)
    }

    /// The client has authenticated. A new pair is recorded if its namespace is within its share.
    pub(super) fn record(&self, (network, key): (Network, ClientKey), namespace: &Arc<str>, now: Instant) {
        let until = now + KNOWN_FOR;
        let mut table = self.lock();
        if let Some(clients) = table.networks.get_mut(&network)
            && let Some(known) = clients.of.get_mut(&key)
        {
            if until.duration_since(known.until) >= QUANTUM {
                known.until = until;
                clients.until = Some(until);
            }
            return;
        }
        table.sweep(now);
        if table.room.take(namespace) {
            let clients = table.networks.entry(network).or_default();
            clients.of.insert(key, Known { until, namespace: Arc::clone(namespace) });
            clients.until = Some(until);
        }
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> usize {
        self.lock().networks.values().map(|clients| clients.of.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Removes the pairs that have ended.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept_at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let room = &mut self.room;
        self.networks.retain(|_, clients| {
            clients.of.retain(|_, known| {
                let is_known = known.until > now;
                if !is_known {
                    room.free(&known.namespace);
                }
                is_known
            });
            !clients.of.is_empty()
        });
    }
}
