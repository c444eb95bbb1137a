//! Publishes the wrong secrets and the locks of this replica, and reads those of the others.
//!
//! The first change after a pause is published at once. The next write waits: longer for a larger object, so that an attack on
//! many clients costs etcd a bounded number of bytes per second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::cas_object::{CasObject, StateStore};
use crate::api::replica_state::{ClientLock, ReplicaStateSpec, WrongSecret};
use crate::clock::Clock;
use crate::oauth::lockout::{Attempt, Lock, LockedClient, Lockouts, Published};
use crate::util::error_chain::display_chain;

/// Interval between two writes of a small object, …
const INTERVAL: Duration = Duration::from_secs(1);
/// … and what each entry of some 250 bytes adds: at most 100 KB a second.
const PER_ENTRY: Duration = Duration::from_micros(2_500);

/// What this process publishes.
pub(crate) struct LockoutReports<S> {
    store: S,
    lockouts: Arc<Lockouts>,
    /// The other fields of the object.
    empty_spec: ReplicaStateSpec,
    document: Mutex<CasObject>,
}

impl<S: StateStore> LockoutReports<S> {
    /// `process_id` is part of the name of this process's object.
    pub(crate) fn new(store: S, lockouts: Arc<Lockouts>, empty_spec: ReplicaStateSpec, process_id: &str) -> Self {
        let document = Mutex::new(CasObject::new(format!("{process_id}-lockouts")));
        Self { store, lockouts, empty_spec, document }
    }

    /// Publishes each change until `closing`, and then what is new.
    pub(crate) async fn run(&self, clock: &impl Clock, closing: &CancellationToken) {
        let mut written = true;
        loop {
            let changed = async {
                if written {
                    self.lockouts.changed().await;
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = closing.cancelled() => return,
            }
            let published = self.lockouts.to_publish(clock.now());
            let wait = INTERVAL + PER_ENTRY * u32::try_from(published.len()).unwrap_or(u32::MAX);
            written = self.write(published, clock).await;
            if closing.is_cancelled() {
                return;
            }
            let _ = closing.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    async fn write(&self, published: Published, clock: &impl Clock) -> bool {
        let spec = to_spec(published, ReplicaStateSpec { reported_at: clock.now(), ..self.empty_spec.clone() });
        let written = self.document.lock().await.write(&self.store, |_| spec.clone()).await;
        if let Err(error) = &written {
            tracing::warn!(error = display_chain(error), "wrong secrets could not be reported, trying again");
        }
        written.is_ok()
    }
}

fn to_spec(published: Published, empty: ReplicaStateSpec) -> ReplicaStateSpec {
    let wrong = published.attempts.into_iter().map(|(client, attempt)| WrongSecret {
        namespace: client.namespace.to_string(),
        name: client.name.to_string(),
        uid: client.uid.to_string(),
        network: attempt.network,
        fingerprint: format!("{:016x}", attempt.fingerprint),
        at: attempt.at,
        until: attempt.until,
        unlock: attempt.unlock.into(),
    });
    let locks = published.locks.into_iter().map(|(client, lock)| ClientLock {
        namespace: client.namespace.to_string(),
        name: client.name.to_string(),
        uid: client.uid.to_string(),
        network: lock.network,
        at: lock.at,
        until: lock.until,
        unlock: lock.unlock.into(),
    });
    ReplicaStateSpec { wrong_secrets: wrong.collect(), locks: locks.collect(), ..empty }
}

/// What an object publishes. An unreadable fingerprint counts as a value of its own.
#[must_use]
pub fn published(spec: &ReplicaStateSpec) -> Published {
    let client = |namespace: &str, name: &str, uid: &str| LockedClient {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    };
    let attempts = spec.wrong_secrets.iter().map(|wrong| {
        let attempt = Attempt {
            network: wrong.network,
            fingerprint: u64::from_str_radix(&wrong.fingerprint, 16).unwrap_or_default(),
            at: wrong.at,
            until: wrong.until,
            unlock: wrong.unlock.as_str().into(),
        };
        (client(&wrong.namespace, &wrong.name, &wrong.uid), attempt)
    });
    let locks = spec.locks.iter().map(|lock| {
        let unlock = lock.unlock.as_str().into();
        let known = Lock { network: lock.network, at: lock.at, until: lock.until, unlock };
        (client(&lock.namespace, &lock.name, &lock.uid), known)
    });
    Published { attempts: attempts.collect(), locks: locks.collect() }
}
