//! The buckets of a bounded number of keys, each known by a digest.
//!
//! Each shard has two generations. When the younger one is full, the older one is dropped. So a write costs a constant
//! time, and the buckets that were used last are kept: half of the bound at least.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
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

/// For each digest the instant at which its bucket is full again.
pub(super) struct BoundedStore {
    shards: Vec<Mutex<Generations>>,
    /// What one event takes, as time.
    every: Nanos,
    /// Size of a generation of one shard.
    keys: usize,
}

/// The same, for a limiter: `governor` hides the store that it has.
pub(super) struct Shared(pub(super) Arc<BoundedStore>);

#[derive(Default)]
struct Generations {
    young: FullAt,
    old: FullAt,
}

type FullAt = HashMap<u64, Nanos, BuildHasherDefault<Digest>>;

/// A digest is its own hash.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used: the keys are numbers.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

impl BoundedStore {
    pub(super) fn new(every: Duration, keys_max: usize) -> Self {
        let keys = (keys_max / SHARDS / 2).max(1);
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), every: every.into(), keys }
    }

    /// Reverts one event. A bucket that is full again is forgotten.
    pub(super) fn put_back(&self, key: u64, now: Duration) {
        let Some(mut shard) = self.shard(key) else { return };
        match shard.find(key).map(|full_at| full_at.saturating_sub(self.every)) {
            Some(full_at) if full_at > now.into() => shard.put(key, full_at, self.keys),
            Some(_) => shard.remove(key),
            None => {}
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(lock).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, key: u64) -> Option<MutexGuard<'_, Generations>> {
        // Bits that the maps do not use first.
        let number = usize::try_from(key >> 32).unwrap_or_default() % SHARDS;
        self.shards.get(number).map(lock)
    }
}

impl Generations {
    fn find(&self, key: u64) -> Option<Nanos> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    fn put(&mut self, key: u64, full_at: Nanos, keys: usize) {
        if let Some(known) = self.young.get_mut(&key) {
            *known = full_at;
            return;
        }
        if self.young.len() >= keys {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, full_at);
    }
}

fn lock(shard: &Mutex<Generations>) -> MutexGuard<'_, Generations> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The decision is made while the shard is locked, so that no two requests take the same event.
impl StateStore for Shared {
    type Key = (u64, Access);

    fn measure_and_replace<T, F, E>(&self, (key, access): &(u64, Access), decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(mut shard) = self.0.shard(*key) else { return decide(None).map(|(outcome, _)| outcome) };
        let (outcome, full_at) = decide(shard.find(*key))?;
        if *access == Access::Take {
            shard.put(*key, full_at, self.0.keys);
        }
        Ok(outcome)
    }
}
