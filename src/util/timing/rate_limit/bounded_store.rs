//! The buckets of a bounded number of keys.
//!
//! Each shard has two generations. When the younger one is full, the older one is dropped. So a write costs a constant
//! time, and the buckets that were used last are kept: half of the bound at least.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;

/// Requests that use different shards do not wait for each other.
const SHARDS: usize = 16;

/// What a limiter wants of a bucket.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Access {
    /// To take from it.
    Take,
    /// To know whether it is empty.
    Peek,
}

/// For each key the instant at which its bucket is full again.
pub(super) struct BoundedStore<K> {
    shards: Vec<Mutex<Generations<K>>>,
    hasher: RandomState,
    /// What one event takes, as time.
    every: Nanos,
    /// Size of a generation of one shard.
    keys: usize,
}

/// The same, for a limiter: `governor` hides the store that it has.
pub(super) struct Shared<K>(pub(super) Arc<BoundedStore<K>>);

struct Generations<K> {
    young: HashMap<K, Nanos>,
    old: HashMap<K, Nanos>,
}

impl<K: Clone + Eq + Hash> BoundedStore<K> {
    pub(super) fn new(every: Duration, keys_max: usize) -> Self {
        let shard = || Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() });
        let keys = (keys_max / SHARDS / 2).max(1);
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new(), every: every.into(), keys }
    }

    /// Reverts one event. A bucket that is full again is forgotten.
    pub(super) fn put_back(&self, key: &K, now: Duration) {
        let Some(mut shard) = self.shard(key) else { return };
        match shard.find(key).map(|full_at| full_at.saturating_sub(self.every)) {
            Some(full_at) if full_at > now.into() => shard.put(key, full_at, self.keys),
            Some(_) => shard.remove(key),
            None => {}
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard)).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, key: &K) -> Option<MutexGuard<'_, Generations<K>>> {
        let number = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % SHARDS;
        self.shards.get(number).map(lock)
    }
}

impl<K: Clone + Eq + Hash> Generations<K> {
    fn find(&self, key: &K) -> Option<Nanos> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn put(&mut self, key: &K, full_at: Nanos, keys: usize) {
        if let Some(known) = self.young.get_mut(key) {
            *known = full_at;
            return;
        }
        if self.young.len() >= keys {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(key);
        self.young.insert(key.clone(), full_at);
    }
}

fn lock<K>(shard: &Mutex<Generations<K>>) -> MutexGuard<'_, Generations<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The decision is made while the shard is locked, so that no two requests take the same event.
impl<K: Clone + Eq + Hash> StateStore for Shared<K> {
    type Key = (K, Access);

    fn measure_and_replace<T, F, E>(&self, (key, access): &(K, Access), decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(mut shard) = self.0.shard(key) else { return decide(None).map(|(outcome, _)| outcome) };
        let (outcome, full_at) = decide(shard.find(key))?;
        if *access == Access::Take {
            shard.put(key, full_at, self.0.keys);
        }
        Ok(outcome)
    }
}
