//! The attempts and locks that one replica records. Bounded: the number of sources of a client, and of all.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::{Attempt, Lock, LockedClient, LockoutPolicy, Published, SOURCES_MAX};

/// Maximum number of attempts, and of locks, that one replica records. One object publishes all of them.
pub const RECORDED_MAX: usize = 2_000;
/// The part of them that is dropped when there is no room, so that dropping is rare.
const DROPPED: usize = RECORDED_MAX / 10;

/// By UID of the Application.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    clients: HashMap<Arc<str>, Client>,
    attempts: usize,
    locks: usize,
}

#[derive(Debug)]
struct Client {
    client: LockedClient,
    sources: HashMap<Option<IpNet>, Source>,
}

/// The attempts from one network since its last lock, and that lock.
#[derive(Debug, Default)]
struct Source {
    attempts: Vec<Attempt>,
    lock: Option<Lock>,
}

/// Where a source is recorded, and when it was last active.
struct Place<'a> {
    last: Option<Timestamp>,
    uid: &'a Arc<str>,
    network: Option<IpNet>,
}

impl Source {
    fn last(&self) -> Option<Timestamp> {
        self.attempts.iter().map(|attempt| attempt.at).chain(self.lock.as_ref().map(|lock| lock.at)).max()
    }
}

impl Recorded {
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn is_locked(&self, uid: &str, network: IpNet, policy: &LockoutPolicy, now: Timestamp) -> bool {
        let Some(client) = self.clients.get(uid) else { return false };
        let locks = [None, Some(network)].into_iter().filter_map(|key| client.sources.get(&key)?.lock.as_ref());
        locks.into_iter().any(|lock| lock.refuses(network, policy, now))
    }

    /// The attempts from this network.
    pub(super) fn attempts(&self, uid: &str, network: Option<IpNet>) -> impl Iterator<Item = &Attempt> {
        let source = self.clients.get(uid).and_then(|client| client.sources.get(&network));
        source.into_iter().flat_map(|source| &source.attempts)
    }

    /// When the last lock of this network began, since the client was unlocked.
    pub(super) fn locked_at(&self, uid: &str, network: Option<IpNet>, policy: &LockoutPolicy) -> Option<Timestamp> {
        let lock = self.clients.get(uid)?.sources.get(&network)?.lock.as_ref();
        lock.filter(|lock| lock.unlock == policy.unlock).map(|lock| lock.at)
    }

    /// Adds an attempt.
    pub(super) fn add(&mut self, client: &LockedClient, attempt: Attempt, now: Timestamp) {
        self.make_room(now);
        self.source(client, attempt.network).attempts.push(attempt);
        self.attempts += 1;
    }

    /// Locks the client for a network. The attempts that led to it do not count again.
    pub(super) fn lock(&mut self, client: &LockedClient, lock: Lock, now: Timestamp) {
        self.make_room(now);
        let source = self.source(client, lock.network);
        let dropped = std::mem::take(&mut source.attempts).len();
        let is_new = source.lock.replace(lock).is_none();
        self.attempts -= dropped;
        self.locks += usize::from(is_new);
    }

    fn source(&mut self, client: &LockedClient, network: Option<IpNet>) -> &mut Source {
        let known = self.clients.entry(Arc::clone(&client.uid));
        let known = known.or_insert_with(|| Client { client: client.clone(), sources: HashMap::new() });
        if !known.sources.contains_key(&network) && known.sources.len() >= SOURCES_MAX {
            // Locks last: a caller with many networks must not end them.
            let oldest = known.sources.iter().min_by_key(|(_, source)| (source.lock.is_some(), source.last()));
            let dropped = oldest.map(|(network, _)| *network).and_then(|oldest| known.sources.remove(&oldest));
            if let Some(dropped) = dropped {
                self.attempts -= dropped.attempts.len();
                self.locks -= usize::from(dropped.lock.is_some());
            }
        }
        known.sources.entry(network).or_default()
    }

    /// Drops the attempts against a client, but not its locks. Returns whether there were any.
    pub(super) fn reset(&mut self, uid: &str) -> bool {
        let Some(client) = self.clients.get_mut(uid) else { return false };
        let mut dropped = 0;
        client.sources.retain(|_, source| {
            dropped += source.attempts.len();
            source.attempts.clear();
            source.lock.is_some()
        });
        if client.sources.is_empty() {
            self.clients.remove(uid);
        }
        self.attempts -= dropped;
        dropped > 0
    }

    /// Drops what has ended.
    pub(super) fn purge(&mut self, now: Timestamp) {
        self.clients.retain(|_, client| {
            client.sources.retain(|_, source| {
                source.attempts.retain(|attempt| now < attempt.until);
                source.lock = source.lock.take().filter(|lock| now < lock.until);
                source.last().is_some()
            });
            !client.sources.is_empty()
        });
        self.count();
    }

    /// Every attempt and every lock, with its client.
    pub(super) fn all(&self) -> Published {
        let mut all = Published::default();
        for known in self.clients.values() {
            for source in known.sources.values() {
                all.attempts.extend(source.attempts.iter().map(|attempt| (known.client.clone(), attempt.clone())));
                all.locks.extend(source.lock.iter().map(|lock| (known.client.clone(), lock.clone())));
            }
        }
        all
    }

    /// If there is no room: drops the least recent sources of the namespaces that have the most. First those without a
    /// lock.
    fn make_room(&mut self, now: Timestamp) {
        let is_full = |recorded: &Self| recorded.attempts >= RECORDED_MAX || recorded.locks >= RECORDED_MAX;
        if !is_full(self) {
            return;
        }
        self.purge(now);
        while is_full(self) {
            let is_locks = self.attempts < RECORDED_MAX;
            for (uid, network) in self.least_recent(is_locks) {
                let Some(client) = self.clients.get_mut(&uid) else { continue };
                client.sources.remove(&network);
                if client.sources.is_empty() {
                    self.clients.remove(&uid);
                }
            }
            self.count();
        }
    }

    /// The oldest sources with a lock, or with attempts, of the namespace that has most of these.
    fn least_recent(&self, is_locked: bool) -> Vec<(Arc<str>, Option<IpNet>)> {
        let is_concerned =
            |source: &Source| if is_locked { source.lock.is_some() } else { !source.attempts.is_empty() };
        let mut by_namespace: HashMap<&str, Vec<Place<'_>>> = HashMap::new();
        for (uid, client) in &self.clients {
            let sources = client.sources.iter().filter(|(_, source)| is_concerned(source));
            let places = sources.map(|(network, source)| Place { last: source.last(), uid, network: *network });
            by_namespace.entry(&client.client.namespace).or_default().extend(places);
        }
        let Some(mut most) = by_namespace.into_values().max_by_key(Vec::len) else { return Vec::new() };
        most.sort_unstable_by_key(|place| place.last);
        let dropped = most.into_iter().take(DROPPED);
        dropped.map(|place| (Arc::clone(place.uid), place.network)).collect()
    }

    fn count(&mut self) {
        let sources = || self.clients.values().flat_map(|client| client.sources.values());
        self.attempts = sources().map(|source| source.attempts.len()).sum();
        self.locks = sources().filter(|source| source.lock.is_some()).count();
    }
}
