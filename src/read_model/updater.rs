//! Updates the read_model: compiles what a change affects, swaps each record whole, then publishes the applied revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client_keys::sources_of;
use super::compile::{Compiler, Sources};
use super::{Entry, ReadModel};
use crate::api::ClientSecret;
use crate::cache::{Cache, Compressed, Invalidation, Kind, ObjectRefs, Subscription, Update};
use crate::clock::Clock;
use crate::key_sets::KeySets;
use crate::replica_state::lockouts;
use jiff::{SignedDuration, Timestamp};

/// Maximum number of updates in one batch. After a burst each record is compiled once for all updates. The number
/// bounds the delay of the first update.
const BATCH: usize = 256;
/// Records compiled before the task yields to requests: a change of one group may affect ten thousand.
const YIELD_EVERY: usize = 16;

/// Feeds the read model until the watches end. Before the first full sync nothing is served. `served` receives, for each
/// change, the delay between the change and its serving.
pub async fn feed(
    read_model: Arc<ReadModel>,
    cache: Cache,
    clock: impl Clock,
    mut updates: Subscription,
    served: impl Fn(SignedDuration),
) {
    let started = clock.now();
    let mut waiting_for: BTreeSet<Kind> = read_model.freshness.iter().map(|(kind, _)| *kind).collect();
    let mut batch = Vec::with_capacity(BATCH);
    while updates.recv_many(&mut batch, BATCH).await > 0 {
        let mut pending = UpdateBatch::default();
        for update in batch.drain(..) {
            match update {
                Update::Listed(kind) => {
                    waiting_for.remove(&kind);
                    read_model.listed.store(waiting_for.is_empty(), Ordering::Release);
                }
                Update::Affected(affected) => pending.add(&affected),
            }
        }
        let is_listed = !waiting_for.iter().any(|kind| kind.is_served());
        let first = is_listed && !read_model.is_synced();
        if first {
            // Not earlier: a record compiled during the initial lists lacks the objects that are listed later.
            pending.clients.extend(cache.relations().claimants_of_client_id.keys().cloned());
        }
        for key in &pending.endpoints {
            let state = cache.replica_states.get(key);
            if let Some(state) = &state {
                read_model.shared.token_state.merge(&state.spec);
            }
            read_model.shared.lockouts.receive(&key.name, state.map(|state| lockouts::published(&state.spec)));
        }
        if is_listed {
            // Objects in the initial list are at least as new as the beginning of the list.
            let now = if first { started } else { clock.now() };
            for (number, client_id) in pending.clients.iter().enumerate() {
                read_model.compile(&cache, client_id, now);
                if number % YIELD_EVERY == YIELD_EVERY - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
        for (kind, resource_version) in pending.reached {
            read_model.progress.advance(kind, resource_version);
        }
        if first {
            read_model.synced.store(true, Ordering::Release);
            tracing::info!(clients = read_model.len(), "the read model is synced");
        } else if read_model.is_synced() {
            let now = clock.now();
            pending.made_at.into_iter().for_each(|made_at| served(now.duration_since(made_at)));
        }
    }
}

/// A batch of updates, merged.
#[derive(Default)]
struct UpdateBatch {
    clients: BTreeSet<Arc<str>>,
    endpoints: ObjectRefs,
    made_at: Vec<Timestamp>,
    reached: BTreeMap<Kind, u64>,
}

impl UpdateBatch {
    fn add(&mut self, affected: &Invalidation) {
        self.clients.extend(affected.clients.iter().cloned());
        self.endpoints.extend(affected.endpoints.iter().cloned());
        self.made_at.extend(affected.made_at.filter(|_| affected.kind.is_configuration()));
        let reached = self.reached.entry(affected.kind).or_default();
        *reached = (*reached).max(affected.resource_version);
    }
}

/// The entry of `client_id` according to the current objects; `None` if no Application claims it.
fn compiled(cache: &Cache, key_sets: &KeySets, client_id: &str, compiler: &Compiler<'_>) -> Option<Entry> {
    sources(cache, key_sets, client_id).map(|sources| compiler.entry(&sources))
}

impl ReadModel {
    /// Recompiles the record of `client_id` from the current objects.
    fn compile(&self, cache: &Cache, client_id: &Arc<str>, now: Timestamp) {
        let entries = self.entries.pin();
        let (limits, previous) = (&self.settings.clients, entries.get(client_id));
        let entry =
            compiled(cache, &self.key_sets, client_id, &Compiler { limits, grants: &self.grants, previous, now });
        let is_behind = matches!(&entry, Some(Entry::Live(record, _)) if record.is_stale);
        self.progress.set_stale(client_id, is_behind);
        let [before, after] = [previous, entry.as_ref()].map(Entry::record);
        self.identities.update(client_id, before, after);
        if let Some(lockout) = after.map(|record| &record.lockout).filter(|lockout| !lockout.policy.is_enabled) {
            self.shared.lockouts.reset(&lockout.client.uid);
        }
        match entry {
            Some(entry) => entries.insert(Arc::clone(client_id), entry),
            None => entries.remove(client_id),
        };
    }
}

/// The objects of a client id; `None` if no Application claims it.
fn sources(cache: &Cache, key_sets: &KeySets, client_id: &str) -> Option<Sources<Compressed<ClientSecret>>> {
    // The oldest claimant has the client id. While it is being deleted, no client has it: fail closed.
    let (client_id, key, is_subject) = {
        let relations = cache.relations();
        let claims = relations.claims_on_client_id(client_id)?;
        (Arc::clone(claims.client_id), claims.oldest.clone(), claims.is_subject)
    };
    let application = cache.application(&key)?;
    let user = cache.user(&key.sibling(&application.spec.service_user_ref.name));
    let held = user.as_ref().map(|user| cache.membership(user)).unwrap_or_default();
    let secrets = cache.secrets_of(&key);
    let fetched = |source| {
        let (keys, _) = key_sets.state(&key.namespace, &source).fetched?;
        Some((source, keys))
    };
    let published = sources_of(&application).into_iter().filter_map(fetched).collect();
    let knows_namespace = cache.knows_namespace(&key.namespace);
    Some(Sources { client_id, key, application, user, held, secrets, published, is_subject, knows_namespace })
}

#[cfg(test)]
mod tests;
