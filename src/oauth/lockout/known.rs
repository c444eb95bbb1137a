//! The attempts and locks of all replicas, as this replica knows them.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::attempts::Recorded;
use super::{Attempt, Lock, LockedClient, Lockout, LockoutPolicy, LockoutScope, source_network};

/// Attempts and locks of one replica, and those that other replicas publish.
#[derive(Debug, Default)]
pub struct Lockouts {
    recorded: Mutex<Recorded>,
    /// Whether nothing is recorded: most requests then take no lock.
    is_recording: AtomicBool,
    /// What others publish, by name of their object.
    objects: Mutex<HashMap<String, Published>>,
    /// The same by UID of the Application.
    others: ArcSwap<HashMap<Arc<str>, Others>>,
    changed: Notify,
    /// Locks that this replica began since they were last taken.
    begun: AtomicU64,
}

/// What one object publishes.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Wrong secrets.
    pub attempts: Vec<(LockedClient, Attempt)>,
    /// Locks.
    pub locks: Vec<(LockedClient, Lock)>,
}

impl Published {
    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.locks.len()
    }
}

#[derive(Debug, Default)]
struct Others {
    attempts: Vec<Attempt>,
    locks: Vec<Lock>,
}

impl Lockouts {
    /// Whether the secrets of the client are refused for callers at `source`. No I/O.
    #[must_use]
    pub fn is_locked(&self, Lockout { client, policy }: &Lockout, source: Option<IpAddr>, now: Timestamp) -> bool {
        let others = self.others.load();
        let others = others.get(&client.uid);
        let is_recording = self.is_recording.load(Ordering::Acquire);
        if others.is_none() && !is_recording {
            return false;
        }
        let network = source_network(source);
        if others.is_some_and(|known| known.locks.iter().any(|lock| lock.refuses(network, policy, now))) {
            return true;
        }
        let mut recorded = self.recorded();
        if recorded.is_locked(&client.uid, network, policy, now) {
            return true;
        }
        // Attempts here and elsewhere may lock the client together, without a further one.
        let is_due = policy.is_enabled
            && others.is_some()
            && lock_if_due(&mut recorded, others, client, policy, counted_network(policy, source), now);
        drop(recorded);
        if is_due {
            self.is_recording.store(true, Ordering::Release);
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_one();
        }
        is_due
    }

    /// Records a wrong secret for an existing client, from `source`. No I/O: it is published soon.
    pub(crate) fn record(
        &self,
        Lockout { client, policy }: &Lockout,
        source: Option<IpAddr>,
        fingerprint: u64,
        now: Timestamp,
    ) {
        if !policy.is_enabled {
            return;
        }
        let network = counted_network(policy, source);
        let others = self.others.load();
        let others = others.get(&client.uid);
        let mut recorded = self.recorded();
        let mut known = counted(&recorded, others, client, network, policy, now);
        if known.any(|attempt| attempt.fingerprint == fingerprint) {
            return;
        }
        drop(known);
        let (until, unlock) = (end(now, policy), policy.unlock.clone());
        recorded.add(client, Attempt { network, fingerprint, at: now, until, unlock }, now);
        self.is_recording.store(true, Ordering::Release);
        let is_locked = lock_if_due(&mut recorded, others, client, policy, network, now);
        drop(recorded);
        self.begun.fetch_add(u64::from(is_locked), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Drops the attempts against a client whose policy counts none, but not its locks.
    pub(crate) fn reset(&self, uid: &str) {
        if self.is_recording.load(Ordering::Acquire) && self.recorded().reset(uid) {
            self.changed.notify_one();
        }
    }

    /// Replaces what the object of another replica publishes; `None`: the object is gone.
    pub fn receive(&self, object: &str, published: Option<Published>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let published = published.filter(|published| published.len() > 0);
        match published {
            Some(published) => drop(objects.insert(object.to_owned(), published)),
            None if objects.remove(object).is_none() => return,
            None => {}
        }
        let mut others: HashMap<Arc<str>, Others> = HashMap::new();
        for published in objects.values() {
            for (client, attempt) in &published.attempts {
                others.entry(Arc::clone(&client.uid)).or_default().attempts.push(attempt.clone());
            }
            for (client, lock) in &published.locks {
                others.entry(Arc::clone(&client.uid)).or_default().locks.push(lock.clone());
            }
        }
        self.others.store(Arc::new(others));
    }

    /// Knows the objects of replicas that ended, as `other` does.
    #[cfg(test)]
    pub(super) fn inherit(&self, other: &Self) {
        let objects = other.objects.lock().unwrap_or_else(PoisonError::into_inner);
        for (object, published) in objects.iter() {
            self.receive(object, Some(published.clone()));
        }
    }

    /// Returns when something was recorded since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The number of locks that this replica began since the last call.
    pub(crate) fn take_begun(&self) -> u64 {
        self.begun.swap(0, Ordering::Relaxed)
    }

    /// What this replica publishes: all that it recorded and that has not ended.
    pub(crate) fn to_publish(&self, now: Timestamp) -> Published {
        let mut recorded = self.recorded();
        recorded.purge(now);
        self.is_recording.store(!recorded.is_empty(), Ordering::Release);
        recorded.all()
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks the client if there are enough attempts. Returns whether it did.
fn lock_if_due(
    recorded: &mut Recorded,
    others: Option<&Others>,
    client: &LockedClient,
    policy: &LockoutPolicy,
    network: Option<IpNet>,
    now: Timestamp,
) -> bool {
    let attempts = counted(recorded, others, client, network, policy, now);
    let (values, times): (BTreeSet<u64>, Vec<Timestamp>) =
        attempts.map(|attempt| (attempt.fingerprint, attempt.at)).unzip();
    let Some(at) = times.into_iter().max().filter(|_| values.len() >= usize::from(policy.attempts)) else {
        return false;
    };
    let lock = Lock { network, at, until: end(at, policy), unlock: policy.unlock.clone() };
    recorded.lock(client, lock, now);
    true
}

/// The attempts that count, here and at other replicas. What led to a lock does not count again.
fn counted<'a>(
    recorded: &'a Recorded,
    others: Option<&'a Others>,
    client: &LockedClient,
    network: Option<IpNet>,
    policy: &LockoutPolicy,
    now: Timestamp,
) -> impl Iterator<Item = &'a Attempt> {
    let others_locks = others.into_iter().flat_map(|known| &known.locks);
    let others_locks = others_locks.filter(|lock| lock.network == network && lock.unlock == policy.unlock);
    let locked_at = others_locks.map(|lock| lock.at).max().max(recorded.locked_at(&client.uid, network, policy));
    let others_attempts = others.into_iter().flat_map(|known| &known.attempts);
    let attempts = recorded.attempts(&client.uid, network).chain(others_attempts);
    attempts.filter(move |attempt| {
        attempt.network == network
            && attempt.unlock == policy.unlock
            && now < attempt.until
            && locked_at.is_none_or(|locked| attempt.at > locked)
    })
}

/// The network of which the policy counts the attempts; `None`: all networks together.
fn counted_network(policy: &LockoutPolicy, source: Option<IpAddr>) -> Option<IpNet> {
    (policy.scope == LockoutScope::Source).then(|| source_network(source))
}

/// When an attempt of this instant ends, and a lock that it leads to.
fn end(at: Timestamp, policy: &LockoutPolicy) -> Timestamp {
    at.checked_add(policy.duration).unwrap_or(Timestamp::MAX)
}
