//! Records each revocation before it is answered. The next write includes all revocations that arrive during a write.
//!
//! Namespaces share the capacity, and the writes of each client are limited. Revoking a revoked token costs no write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::cas_object::{CasObject, StateStore};
use super::group_commit::{CommitResult, Entry, GroupCommit};
use super::token_state::TokenState;
use crate::api::replica_state::{ReplicaStateSpec, Revoked};
use crate::oauth::client_store::RecordError;
use crate::util::error_chain::display_chain;
use crate::util::fair_share::{FairShare, QUARTER};
use crate::util::timing::rate_limit::{Buckets, Rate};

/// Revocations in one object. Each batch rewrites an object, so objects are small: 35 KiB.
const PER_OBJECT: usize = 500;
/// Revocations of tokens that have not expired. Every replica keeps all of them.
const LIVE_MAX: usize = 50_000;

/// A burst of a hundred, for a client that ends all of its sessions; then one per second. The writes of all clients are
/// batched, so this bounds the bytes that one client can cause: 35 KiB for each revocation.
const WRITES_PER_CLIENT: Rate = Rate { burst: 100, every: Duration::from_secs(1) };
/// Clients whose writes are counted.
const CLIENTS_MAX: usize = 16_384;

/// What this process records.
pub(crate) struct Revocations<S> {
    store: S,
    token_state: Arc<TokenState>,
    /// The fields that all objects share.
    empty_spec: ReplicaStateSpec,
    process_id: String,
    batch: GroupCommit<RevokedToken>,
    of_clients: Buckets<Arc<str>>,
    /// Locked during a write.
    objects: Mutex<Vec<Object>>,
}

#[derive(Clone)]
struct RevokedToken {
    until: Timestamp,
    namespace: Arc<str>,
}

/// An object, and the tokens that it certainly contains.
struct Object {
    document: CasObject,
    told: BTreeMap<String, RevokedToken>,
}

impl<S: StateStore> Revocations<S> {
    /// `process_id` is part of the names of this process's objects.
    pub(crate) fn new(
        store: S,
        token_state: Arc<TokenState>,
        empty_spec: ReplicaStateSpec,
        process_id: String,
    ) -> Self {
        let of_clients = Buckets::new(WRITES_PER_CLIENT, CLIENTS_MAX);
        Self {
            store,
            token_state,
            empty_spec,
            process_id,
            batch: GroupCommit::default(),
            of_clients,
            objects: Mutex::default(),
        }
    }

    /// Returns when the revocation is recorded where every replica sees it. After an error it has no effect here; a
    /// retry records it once.
    pub(crate) async fn revoke(
        self: &Arc<Self>,
        jti: &str,
        exp: i64,
        client_id: &Arc<str>,
        namespace: &Arc<str>,
        now: Timestamp,
    ) -> CommitResult {
        if self.token_state.is_revoked(jti) {
            return Ok(());
        }
        let until = Timestamp::from_second(exp).map_err(|_| RecordError::Behind)?;
        self.of_clients.take(client_id).map_err(RecordError::too_often)?;
        let outcome = self.batch.add(jti.to_owned(), RevokedToken { until, namespace: Arc::clone(namespace) });
        // In a separate task: the client may disconnect, and others wait for the same write.
        tokio::spawn(Arc::clone(self).write_down(now));
        outcome.await.unwrap_or(Err(RecordError::Behind))
    }

    async fn write_down(self: Arc<Self>, now: Timestamp) {
        let mut objects = self.objects.lock().await;
        let batch = self.batch.take();
        let mut reachable = true;
        for (number, part) in self.assign(&mut objects, batch, now) {
            let Some(object) = objects.get_mut(number) else { continue };
            // If the API server has just not answered, the rest of the batch fails without waiting.
            reachable = reachable && self.add(object, &part, now).await;
            let outcome = if reachable { Ok(()) } else { Err(RecordError::Behind) };
            for (jti, entry) in part {
                if reachable {
                    self.token_state.revoke(&jti, entry.value.until.as_second());
                }
                entry.answer(outcome);
            }
        }
    }

    /// Assigns each entry of the batch to an object, or answers it.
    fn assign(
        &self,
        objects: &mut Vec<Object>,
        batch: HashMap<String, Entry<RevokedToken>>,
        now: Timestamp,
    ) -> BTreeMap<usize, HashMap<String, Entry<RevokedToken>>> {
        let mut room = Quota::left(objects, now);
        let mut parts: BTreeMap<usize, HashMap<String, Entry<RevokedToken>>> = BTreeMap::new();
        for (jti, entry) in batch {
            if self.token_state.is_revoked(&jti) {
                entry.answer(Ok(()));
            } else if let Some(number) = room.take(&entry.value.namespace) {
                parts.entry(number).or_default().insert(jti, entry);
            } else {
                entry.answer(Err(RecordError::NoRoom));
            }
        }
        while objects.len() < room.used.len() {
            let part = format!("{}-revoked-{}", self.process_id, objects.len());
            objects.push(Object { document: CasObject::new(part), told: BTreeMap::new() });
        }
        parts
    }

    /// Whether the object certainly contains `part` now.
    async fn add(&self, object: &mut Object, part: &HashMap<String, Entry<RevokedToken>>, now: Timestamp) -> bool {
        let Object { document, told } = object;
        let added = || part.iter().map(|(jti, entry)| (jti.clone(), entry.value.clone()));
        let say = |found: Option<ReplicaStateSpec>| {
            // The effects of an abandoned write are valid: a replica that reads them treats those tokens as revoked.
            for Revoked { id, until } in found.into_iter().flat_map(|found| found.revoked) {
                told.entry(id).or_insert(RevokedToken { until, namespace: Arc::default() });
            }
            let all: BTreeMap<_, _> = told.clone().into_iter().chain(added()).collect();
            let revoked = all.into_iter().map(|(id, token)| Revoked { id, until: token.until }).collect();
            ReplicaStateSpec { revoked, reported_at: now, ..self.empty_spec.clone() }
        };
        match document.write(&self.store, say).await {
            Ok(()) => {
                told.extend(added());
                true
            }
            Err(error) => {
                tracing::warn!(error = display_chain(&error), "revocations could not be recorded");
                false
            }
        }
    }
}

/// The remaining capacity for revocations.
struct Quota {
    /// Tokens in each object.
    used: Vec<usize>,
    shares: FairShare<Arc<str>>,
}

impl Quota {
    /// Expired tokens are removed.
    fn left(objects: &mut [Object], now: Timestamp) -> Self {
        for object in &mut *objects {
            object.told.retain(|_, token| token.until > now);
        }
        let tokens = objects.iter().flat_map(|object| object.told.values());
        let shares = FairShare::counted(QUARTER, LIVE_MAX, tokens.map(|token| Arc::clone(&token.namespace)));
        Self { used: objects.iter().map(|object| object.told.len()).collect(), shares }
    }

    /// The object for one more token of `namespace`; `None`: the namespace has used up its share.
    fn take(&mut self, namespace: &Arc<str>) -> Option<usize> {
        if !self.shares.take(namespace) {
            return None;
        }
        let number = self.used.iter().position(|used| *used < PER_OBJECT).unwrap_or(self.used.len());
        match self.used.get_mut(number) {
            Some(used) => *used += 1,
            None => self.used.push(1),
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests;
