//! The read model of the endpoint: client id → everything that a request needs, compiled and swapped whole.
//!
//! ```text
//! Invalidation ─▶ updater ─▶ compile (pure) ─▶ Entry ─swap─▶ ReadModel ◀─lookup─ endpoint    no lock, no I/O
//!                                                                └─catch_up─▶ API server   unknown credentials only
//! ```
//!
//! The protocol accesses it through its trait [`ClientStore`]. Authorization depends on `spec` and on verifiers that only
//! the install's key can have made, never on claims in `status`.

mod catch_up;
mod catch_up_limiter;
mod client_certificates;
mod client_keys;
mod cluster_tokens;
mod compile;
mod expected_epochs;
pub(crate) mod from_objects;
mod history;
mod identities;
mod last_used;
mod secret_records;
mod updater;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::api::client_secret::LifetimePolicy;
use crate::api::lockout::LockoutDefaults;
use crate::cache::{Kind, WatchHealth};
use crate::clock::Clock;
use crate::key_sets::KeySets;
use crate::oauth::client_record::{ClientRecord, Denial, Grant, ObjectRevision, Tombstones};
use crate::oauth::client_store::{
    Availability, CatchUpError, ClientRef, ClientStore, Lookup, RecordError, TokenStateStore, UseError,
};
use crate::oauth::cluster_tokens::{ClusterIssuer, ClusterTokens, ReviewError};
use crate::oauth::lockout::Lockouts;
use crate::replica_state::heartbeat;
use crate::util::intern::Interner;

use expected_epochs::Fingerprints;

pub use crate::replica_state::api_store::Reporting;
pub use crate::replica_state::key_reports::KeyReports;
pub(crate) use client_keys::sources_of;
pub use updater::feed;

/// How often the first sync is waited for.
const SYNC_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The operator's limits, which a client's record depends on.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Maximum token lifetime.
    pub token_lifetime_max: SignedDuration,
    /// Limits on the lifetime of a secret version.
    pub lifetime: LifetimePolicy,
    /// What applies to a client that leaves a field of `spec.lockout` out.
    pub lockout: LockoutDefaults,
    /// Token requests a minute of a client whose Application names no number; `None`: any number.
    pub token_requests_per_minute: Option<NonZeroU32>,
}

/// Settings of the read model.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Limits of every client.
    pub clients: ClientLimits,
    /// Requests are answered with an error when the watches have been broken for longer than this.
    pub staleness_max: SignedDuration,
}

/// The state of one client id.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// The client may authenticate.
    Live(Arc<ClientRecord>, Arc<Fingerprints>),
    /// A rule disables the client. The fingerprints of its tokens are kept.
    Disabled(Arc<Denial>, Tombstones),
}

impl Entry {
    /// The record of a client that may authenticate.
    fn record(entry: Option<&Self>) -> Option<&ClientRecord> {
        match entry? {
            Self::Live(record, _) => Some(record),
            Self::Disabled(..) => None,
        }
    }
}

/// The read model. One per process; the feed writes it, every request reads it.
pub struct ReadModel {
    entries: papaya::HashMap<Arc<str>, Entry>,
    identities: identities::IdentityIndex,
    /// Clients with the same groups share one grant, which is the largest part of a record.
    grants: Interner<Grant>,
    synced: AtomicBool,
    listed: AtomicBool,
    progress: crate::replica_state::applied_revisions::RevisionTracker,
    freshness: Vec<(Kind, Arc<WatchHealth>)>,
    settings: Settings,
    catch_up: catch_up::CatchUp,
    cluster_tokens: cluster_tokens::ClusterTokenReader,
    shared: crate::replica_state::SharedState,
    key_sets: Arc<KeySets>,
    states: crate::replica_state::api_store::ApiStore,
}

impl ReadModel {
    /// An empty read model, not synced. `freshness` is that of the watches that feed the read model.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        reporting: Reporting,
        freshness: Vec<(Kind, Arc<WatchHealth>)>,
        key_sets: Arc<KeySets>,
    ) -> Self {
        let states = crate::replica_state::api_store::ApiStore::new(client.clone(), reporting);
        Self {
            entries: papaya::HashMap::new(),
            identities: identities::IdentityIndex::default(),
            grants: Interner::default(),
            synced: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            progress: crate::replica_state::applied_revisions::RevisionTracker::default(),
            freshness,
            settings,
            catch_up: catch_up::CatchUp::new(client.clone()),
            cluster_tokens: cluster_tokens::ClusterTokenReader::new(client),
            shared: crate::replica_state::SharedState::new(&states),
            key_sets,
            states,
        }
    }

    /// Whether the first full sync is done.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether every watch of this process has listed its kind, including those that only the controller needs.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Age of the read model: how long the watch that has failed longest has been broken.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        let served = self.freshness.iter().filter(|(kind, _)| kind.is_served());
        SignedDuration::from_secs(served.map(|(_, freshness)| freshness.age_seconds(now)).max().unwrap_or_default())
    }

    /// From the first sync until `closing`, publishes that this replica is live, what it has applied, and which keys it
    /// uses.
    pub async fn send_heartbeats(&self, keys: KeyReports, clock: impl Clock, closing: CancellationToken) {
        while !self.is_synced() {
            if closing.run_until_cancelled(tokio::time::sleep(SYNC_POLL_INTERVAL)).await.is_none() {
                return;
            }
        }
        heartbeat::run(&self.states, &self.progress, &keys, &clock, &closing).await;
    }

    /// Publishes to the other replicas which tokens were used. Call it every second.
    pub async fn publish_last_use(&self, now: Timestamp) {
        self.shared.sessions.publish(&self.shared.token_state, now).await;
    }

    /// The same for the last time.
    pub async fn publish_final_use(&self, now: Timestamp) {
        self.shared.sessions.publish_last(&self.shared.token_state, now).await;
    }

    /// Publishes wrong secrets and locks until `served_all`, and then what is new.
    pub async fn publish_lockouts(&self, clock: impl Clock, served_all: CancellationToken) {
        self.shared.lockout_reports.run(&clock, &served_all).await;
    }

    /// The number of locks of clients that this replica began since the last call.
    #[must_use]
    pub fn take_lockouts(&self) -> u64 {
        self.shared.lockouts.take_begun()
    }

    /// Drops the state of tokens that have expired.
    pub fn purge_expired(&self, now: Timestamp) {
        self.shared.token_state.purge_expired(now.as_second());
    }

    /// Reads issuer and keys of the ServiceAccount tokens of the cluster in the background, for ever.
    pub async fn follow_cluster_issuer(&self) {
        self.cluster_tokens.follow().await;
    }

    /// Number of known client ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no client id is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl TokenStateStore for ReadModel {
    fn is_revoked(&self, jti: &str) -> bool {
        self.shared.token_state.is_revoked(jti)
    }

    async fn revoke(&self, jti: &str, exp: i64, client: &ClientRecord, now: Timestamp) -> Result<(), RecordError> {
        self.shared.revocations.revoke(jti, exp, &client.client_id, &client.application.namespace, now).await
    }

    fn last_use(&self, jti: &str) -> Option<i64> {
        self.shared.token_state.last_use(jti)
    }

    fn used(&self, jti: &str, namespace: &Arc<str>, known: i64, now: i64, idle: i64, exp: i64) -> bool {
        self.shared.token_state.used(jti, namespace, known, now, idle, exp)
    }

    fn use_once(&self, id: &str, namespace: &Arc<str>, now: i64, exp: i64) -> Result<(), UseError> {
        self.shared.token_state.use_once(id, namespace, now, exp)
    }
}

impl ClusterTokens for ReadModel {
    fn cluster_issuer(&self) -> Option<Arc<ClusterIssuer>> {
        self.cluster_tokens.issuer()
    }

    async fn refresh_cluster_issuer(&self) {
        self.cluster_tokens.refresh().await;
    }

    async fn review(&self, token: &str, audience: &str) -> Result<(), ReviewError> {
        self.cluster_tokens.review(token, audience).await
    }
}

impl ClientStore for ReadModel {
    fn lookup(&self, client_id: &str) -> Lookup {
        match self.entries.pin().get(client_id) {
            Some(Entry::Live(record, _)) => Lookup::Live(Arc::clone(record)),
            Some(Entry::Disabled(refusal, _)) => Lookup::Disabled(Arc::clone(refusal)),
            None => Lookup::Unknown,
        }
    }

    fn clients_of(&self, identity: &ClientRef<'_>) -> Vec<Arc<str>> {
        self.identities.clients_of(identity)
    }

    async fn catch_up(&self, client: &ClientRef<'_>, credential: &str) -> Result<(), CatchUpError> {
        self.catch_up.run(&self.progress, client, credential).await
    }

    fn has_keys_within(&self, client: &ClientRecord, issuer: Option<&str>, age_max: SignedDuration) -> bool {
        let (namespace, name) = (&client.application.namespace, &client.application.name);
        let Some(source) = self.key_sets.source(namespace, name, issuer) else { return true };
        let state = self.key_sets.state(namespace, &source);
        let is_applied = |key| match issuer {
            None => client.keys.iter().any(|known| Arc::ptr_eq(&known.key, key)),
            Some(issuer) => {
                let mut trusted = client.issuers.iter().filter(|entry| *entry.issuer == *issuer);
                trusted.any(|entry| entry.keys.iter().any(|known| Arc::ptr_eq(known, key)))
            }
        };
        let is_current = match &state.fetched {
            // Until the updater has compiled the client again, the record has other keys.
            Some((keys, age)) => {
                SignedDuration::try_from(*age).is_ok_and(|age| age <= age_max) && keys.iter().all(is_applied)
            }
            None => state.problem.is_some_and(|problem| !problem.is_temporary()),
        };
        if !is_current {
            self.key_sets.refresh(namespace, &source);
        }
        is_current
    }

    fn lockouts(&self) -> &Lockouts {
        &self.shared.lockouts
    }

    async fn request_rotation(
        &self,
        client: &ClientRecord,
        secret: &ObjectRevision,
        version_id: &str,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        self.shared.requests.record(&client.client_id, secret, version_id, now).await
    }

    fn availability(&self, now: Timestamp) -> Availability {
        let mut served = self.freshness.iter().filter(|(kind, _)| kind.is_served());
        if !self.is_synced() {
            Availability::NotSynced
        } else if served.any(|(_, freshness)| freshness.is_stale()) {
            Availability::Behind
        } else if self.age(now) > self.settings.staleness_max {
            Availability::Stale
        } else {
            Availability::Serving
        }
    }
}
