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
/// … and what each entry adds: most have some 250 bytes, so at most 100 KB a second.
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
    let wrong = published.attempts.into_iter().map(|(uid, attempt)| WrongSecret {
        uid: uid.to_string(),
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
    let attempts = spec.wrong_secrets.iter().map(|wrong| {
        let attempt = Attempt {
            network: wrong.network,
            fingerprint: u64::from_str_radix(&wrong.fingerprint, 16).unwrap_or_default(),
            at: wrong.at,
            until: wrong.until,
            unlock: wrong.unlock.as_str().into(),
        };
        (wrong.uid.as_str().into(), attempt)
    });
    let locks = spec.locks.iter().map(|lock| {
        let unlock = lock.unlock.as_str().into();
        let known = Lock { network: lock.network, at: lock.at, until: lock.until, unlock };
        let client = LockedClient {
            namespace: lock.namespace.as_str().into(),
            name: lock.name.as_str().into(),
            uid: lock.uid.as_str().into(),
        };
        (client, known)
    });
    Published { attempts: attempts.collect(), locks: locks.collect() }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::oauth::lockout::{Lockout, LockoutPolicy, LockoutScope};

    /// A client with the longest UID that Kubernetes gives, and names of this length.
    fn client(number: usize, attempts: u16, namespace: usize, name: usize) -> Lockout {
        let client = LockedClient {
            namespace: "n".repeat(namespace).into(),
            name: format!("{number:a>name$}").into(),
            uid: format!("{number:0>36}").into(),
        };
        let policy = LockoutPolicy {
            is_enabled: true,
            scope: LockoutScope::Source,
            attempts,
            duration: SignedDuration::from_mins(60),
            unlock: "0".repeat(32).into(),
        };
        Lockout { client, policy }
    }

    /// The longest text of a network, and of an instant.
    fn longest() -> (IpAddr, Timestamp) {
        let address = Ipv6Addr::from(0xffff_ffff_ffff_ffff_0000_0000_0000_0001);
        (address.into(), "2026-12-01T03:00:00.123456789Z".parse().unwrap())
    }

    /// etcd takes 1.5 MiB.
    #[test]
    fn q1_no_tenant_can_make_the_report_larger_than_etcd_takes() {
        let (address, now) = longest();
        for (namespace, name) in [(63, 253), (7, 4)] {
            let lockouts = Lockouts::default();
            for number in 0..5_000 {
                lockouts.record(&client(number, 1, namespace, name), Some(address), u64::MAX, now);
                lockouts.record(&client(5_000 + number, 100, namespace, name), Some(address), u64::MAX, now);
            }
            let published = lockouts.to_publish(now);
            assert!(published.attempts.len() > 1_500 && published.locks.len() > 700, "{}", published.locks.len());
            let spec = to_spec(published, ReplicaStateSpec::default());
            let bytes = serde_json::to_vec(&spec).unwrap().len();
            assert!(bytes < 1024 * 1024, "{bytes}");
        }
    }

    #[test]
    fn what_is_published_is_received() {
        let (lockouts, (address, now)) = (Lockouts::default(), longest());
        lockouts.record(&client(1, 2, 7, 4), Some(address), 7, now);
        lockouts.record(&client(2, 1, 7, 4), Some(address), 8, now);
        let sent = lockouts.to_publish(now);
        let received = published(&to_spec(sent.clone(), ReplicaStateSpec::default()));
        assert_eq!((received.attempts, received.locks), (sent.attempts, sent.locks));
    }
}
