//! Limits the failed authentications of each source network, so that nobody guesses credentials, and nobody makes the
//! endpoint compute hashes, at any rate.
//!
//! ```text
//! head ─▶ may_arrive ─▶ body ─▶ attempt ─▶ authenticate ─┬─ failed ───▶ the event stays taken
//!            │ 429                │ 429                  └─ otherwise ▶ put back
//! ```
//!
//! An attempt takes an event from the bucket of its network before it is decided, so that simultaneous requests count too.
//! While that bucket is empty, a client that shares the network with an attacker is served as follows:
//!
//! - A generated secret that this process has verified before is accepted: it cannot be guessed, and needs no hash.
//! - A client that has authenticated from this network in the last minutes has a bucket of its own there. Only failures
//!   that name this client empty it.
//! - All others share the events that the bucket of the network gets back.
//!
//! Every table is bounded. What is dropped from one is a full bucket again, so an attacker with many networks gets no more
//! than each network has. The limit of hashes applies to all networks together.

mod known_clients;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::oauth::client_auth::{Authenticated, ClientCredential};
use crate::oauth::error::{TokenError, Unavailable};
use crate::util::source_network::Network;
use crate::util::timing::rate_limit::{Buckets, Rate, whole_seconds};
use known_clients::{ClientKey, KnownClients};

/// Networks whose failures are remembered.
const NETWORKS_MAX: usize = 16_384;
/// Pairs of a network and a client whose failures are remembered.
const PAIRS_MAX: usize = 8_192;

/// The buckets of one process.
pub(crate) struct FailureLimit(Option<Tables>);

struct Tables {
    networks: Buckets<Network>,
    /// The clients that have authenticated from a network.
    known: KnownClients,
    of_clients: Buckets<(Network, ClientKey)>,
}

/// An authentication that is not decided. A dropped one has failed: its client has disconnected, and may have made the
/// endpoint compute a hash.
pub(crate) struct Attempt<'a> {
    tables: Option<&'a Tables>,
    network: Network,
    presented: Option<&'a ClientCredential>,
    taken: Taken,
}

/// Where the event of an attempt was taken from.
enum Taken {
    Network,
    Client(ClientKey),
    /// Nowhere: the credential cannot have been guessed.
    Nowhere,
}

impl FailureLimit {
    /// So many failures a minute of each network; `None`: no limit.
    pub(crate) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self(per_minute.map(|failures| {
            let rate = Rate::per_minute(failures);
            Tables {
                networks: Buckets::new(rate, NETWORKS_MAX),
                known: KnownClients::new(PAIRS_MAX),
                of_clients: Buckets::new(rate, PAIRS_MAX),
            }
        }))
    }

    /// Whether a request may be read before it is known whose it is.
    ///
    /// # Errors
    /// The time until the bucket of the network is no longer empty.
    pub(crate) fn check_network(&self, source: Option<IpAddr>) -> Result<(), Duration> {
        self.0.as_ref().map_or(Ok(()), |tables| tables.networks.peek(&network(source)))
    }

    /// Whether a client has authenticated from this network in the last minutes.
    pub(crate) fn has_clients(&self, source: Option<IpAddr>) -> bool {
        self.0.as_ref().is_some_and(|tables| tables.known.has_clients(network(source), Instant::now()))
    }

    /// Whether this client has authenticated from this network in the last minutes, and its bucket there is not empty.
    pub(crate) fn serves_client(&self, source: Option<IpAddr>, client: &str) -> bool {
        self.0.as_ref().is_some_and(|tables| {
            let pair = (network(source), tables.known.key(client));
            tables.known.contains(pair, Instant::now()) && tables.of_clients.peek(&pair).is_ok()
        })
    }

    /// Begins an authentication with a credential; `None`: none that can be read. `is_safe` tells whether it is a generated
    /// secret that was verified before.
    ///
    /// # Errors
    /// [`Unavailable::FailureLimit`]
    pub(crate) fn attempt<'a>(
        &'a self,
        source: Option<IpAddr>,
        presented: Option<&'a ClientCredential>,
        is_safe: impl FnOnce() -> bool,
    ) -> Result<Attempt<'a>, Unavailable> {
        let network = network(source);
        let Some(tables) = &self.0 else {
            return Ok(Attempt { tables: None, network, presented, taken: Taken::Nowhere });
        };
        let taken = match tables.networks.take(&network) {
            Ok(()) => Taken::Network,
            Err(_) if is_safe() => Taken::Nowhere,
            Err(wait) => {
                let client = presented.and_then(ClientCredential::client_id);
                let key = client.and_then(|client| tables.take_of_client(network, &client));
                key.map(Taken::Client).ok_or_else(|| Unavailable::FailureLimit(whole_seconds(wait)))?
            }
        };
        Ok(Attempt { tables: Some(tables), network, presented, taken })
    }
}

impl Tables {
    /// Takes an event of a client that is known at this network.
    fn take_of_client(&self, network: Network, client: &str) -> Option<ClientKey> {
        let key = self.known.key(client);
        let is_known = self.known.contains((network, key), Instant::now());
        (is_known && self.of_clients.take(&(network, key)).is_ok()).then_some(key)
    }
}

impl Attempt<'_> {
    /// The authentication is decided.
    pub(crate) fn decided(self, result: &Result<Authenticated, TokenError>) {
        match result {
            Ok(client) => self.succeeded(&client.record.application.namespace),
            // The client has a valid secret.
            Err(TokenError::Client(error)) if error.is_disclosed() => self.put_back(),
            Err(TokenError::Client(_)) => {}
            Err(_) => self.put_back(),
        }
    }

    /// The client is known at this network from now on. Its namespace has a share of the table.
    fn succeeded(self, namespace: &Arc<str>) {
        let client = self.presented.and_then(ClientCredential::client_id);
        if let (Some(tables), Some(client)) = (self.tables, client) {
            let pair = (self.network, tables.known.key(&client));
            tables.known.record(pair, namespace, Instant::now());
        }
        self.put_back();
    }

    fn put_back(self) {
        let Some(tables) = self.tables else { return };
        match self.taken {
            Taken::Network => tables.networks.put_back(&self.network),
            Taken::Client(key) => tables.of_clients.put_back(&(self.network, key)),
            Taken::Nowhere => {}
        }
    }
}

/// Requests of unknown source share one bucket.
fn network(source: Option<IpAddr>) -> Network {
    Network::of(source.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
}

#[cfg(test)]
mod tests;
