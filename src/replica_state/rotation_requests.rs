//! Rotation requests of the clients, written where the controller sees them: the endpoint writes to no other object.
//!
//! Only new requests are written. A repeated request is answered from memory. The writes of each client and the
//! requests of each namespace are limited: a request costs etcd one write, and the rotation that follows costs several.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::cas_object::{CasObject, StateStore};
use super::group_commit::{CommitResult, Entry, GroupCommit};
use crate::api::replica_state::{ENTRIES_MAX, LastUse, ReplicaStateSpec};
use crate::oauth::client_record::ObjectRevision;
use crate::oauth::client_store::RecordError;
use crate::util::error_chain::display_chain;
use crate::util::fair_share::{FairShare, QUARTER};
use crate::util::timing::rate_limit::{Buckets, Rate};

/// How long a request is kept. After this time the controller has acted on it, or cannot.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(10);
/// How long a client waits for the API server and for the preceding write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// A burst as large as the default limit of active ClientSecrets of an Application, so that all of them can be rotated
/// after a leak.
const WRITES_PER_CLIENT: Rate = Rate { burst: 20, every: Duration::from_mins(1) };
/// Clients whose writes are counted.
const CLIENTS_MAX: usize = 16_384;

/// Requests of the last minutes.
pub(crate) struct RotationRequests<S> {
    store: S,
    /// The other fields of the object.
    empty_spec: ReplicaStateSpec,
    batch: GroupCommit<LastUse>,
    /// Locked for a whole write, so that no write undoes another.
    document: Mutex<CasObject>,
    /// The requests that are certainly in the object, by ClientSecret.
    recent: Lock<HashMap<String, LastUse>>,
    of_clients: Buckets<Arc<str>>,
}

impl<S: StateStore> RotationRequests<S> {
    /// `process_id` is part of the names of this process's object.
    pub(crate) fn new(store: S, empty_spec: ReplicaStateSpec, process_id: &str) -> Self {
        let document = Mutex::new(CasObject::new(format!("{process_id}-requests")));
        let of_clients = Buckets::new(WRITES_PER_CLIENT, CLIENTS_MAX);
        Self { store, empty_spec, batch: GroupCommit::default(), document, recent: Lock::default(), of_clients }
    }

    /// Returns when the controller can see the request. After an error the request may be visible as well; the next write
    /// removes it.
    pub(crate) async fn record(
        self: &Arc<Self>,
        client_id: &Arc<str>,
        secret: &ObjectRevision,
        version_id: &str,
        now: Timestamp,
    ) -> CommitResult {
        let asked = LastUse {
            namespace: secret.namespace.to_string(),
            name: secret.name.to_string(),
            version: version_id.to_owned(),
            at: now,
        };
        let key = key(&asked);
        {
            let recent = self.recent();
            let recent = recent.get(&key).filter(|recent| is_recent(recent, now));
            if recent.is_some_and(|recent| recent.version == asked.version) {
                return Ok(());
            }
            self.of_clients.take(client_id).map_err(RecordError::too_often)?;
        }
        let outcome = self.batch.add(key, asked);
        // In a separate task: the client may disconnect, and others wait for the same write.
        tokio::spawn(Arc::clone(self).write(now));
        let outcome = tokio::time::timeout(WRITE_TIMEOUT, outcome).await;
        outcome.ok().and_then(Result::ok).unwrap_or(Err(RecordError::Behind))
    }

    async fn write(self: Arc<Self>, now: Timestamp) {
        let mut document = self.document.lock().await;
        let mut recent = self.recent().clone();
        recent.retain(|_, asked| is_recent(asked, now));
        let added = admit(self.batch.take(), &mut recent);
        if added.is_empty() {
            return;
        }
        let mut rotations: Vec<LastUse> = recent.values().cloned().collect();
        rotations.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        let spec = ReplicaStateSpec { rotations, reported_at: now, ..self.empty_spec.clone() };
        let outcome = match document.write(&self.store, |_| spec.clone()).await {
            Ok(()) => {
                *self.recent() = recent;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error = display_chain(&error), "rotation requests could not be recorded");
                Err(RecordError::Behind)
            }
        };
        for entry in added {
            entry.answer(outcome);
        }
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<String, LastUse>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the entries to `recent` and returns them. Entries for which their namespace has no capacity are answered.
fn admit(batch: HashMap<String, Entry<LastUse>>, recent: &mut HashMap<String, LastUse>) -> Vec<Entry<LastUse>> {
    let mut room = FairShare::counted(QUARTER, ENTRIES_MAX, recent.values().map(|asked| asked.namespace.clone()));
    let mut added = Vec::with_capacity(batch.len());
    for (key, entry) in batch {
        // A newer version replaces the previous one.
        if recent.contains_key(&key) || room.take(&entry.value.namespace) {
            recent.insert(key, entry.value.clone());
            added.push(entry);
        } else {
            entry.answer(Err(RecordError::NoRoom));
        }
    }
    added
}

fn key(asked: &LastUse) -> String {
    format!("{}/{}", asked.namespace, asked.name)
}

fn is_recent(asked: &LastUse, now: Timestamp) -> bool {
    now.duration_since(asked.at) < KEPT_FOR
}

#[cfg(test)]
mod tests;
