//! Rate limits: a token bucket, or one for each key. `governor` decides (generic cell rate algorithm), with a clock that
//! tests can turn and a store of bounded size.
//!
//! A bucket is stored as the instant at which it will be full again, so a full bucket needs no memory.

mod bounded_store;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

use bounded_store::{Access, BoundedStore, Shared};

type Limiter<K, S> = RateLimiter<K, S, SinceStart, NoOpMiddleware<Duration>>;

/// The size of a bucket, and its fill rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// The number of events that may happen immediately. Not zero.
    pub burst: u32,
    /// The time after which another event may happen. Not zero.
    pub every: Duration,
}

impl Rate {
    /// So many events a minute, in one burst or evenly.
    #[must_use]
    pub fn per_minute(events: NonZeroU32) -> Self {
        Self { burst: events.get(), every: Duration::from_mins(1) / events.get() }
    }

    /// So many events a second, in one burst or evenly.
    #[must_use]
    pub fn per_second(events: NonZeroU32) -> Self {
        Self { burst: events.get(), every: Duration::from_secs(1) / events.get() }
    }

    fn quota(self) -> Quota {
        let burst = NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN);
        Quota::with_period(self.every).unwrap_or(Quota::per_second(burst)).allow_burst(burst)
    }
}

/// A wait in whole seconds, rounded up: for `Retry-After`.
#[must_use]
pub fn whole_seconds(wait: Duration) -> NonZeroU32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// A clock that never goes back, from the start of its limiter. The clock of tokio, which tests can turn.
#[derive(Clone, Copy, Debug)]
struct SinceStart(Instant);

impl SinceStart {
    fn now() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One bucket.
#[derive(Debug)]
pub struct Bucket(Limiter<NotKeyed, InMemoryState>);

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self(RateLimiter::direct_with_clock(rate.quota(), SinceStart::now()))
    }

    /// Takes from the bucket.
    ///
    /// # Errors
    /// The time until the bucket is no longer empty.
    pub fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| wait(&until, self.0.clock()))
    }
}

/// A bucket for each key. Their number is bounded: beyond it, the buckets that were used least recently are full again. A key
/// is stored as a digest that nobody outside this process can compute.
pub struct Buckets<K> {
    limiter: Limiter<(u64, Access), Shared>,
    store: Arc<BoundedStore>,
    hasher: RandomState,
    keys: PhantomData<fn(&K)>,
}

impl<K: Hash> Buckets<K> {
    /// Full buckets for all keys, of which at most `keys_max` are remembered.
    #[must_use]
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        let store = Arc::new(BoundedStore::new(rate.every, keys_max));
        let limiter = RateLimiter::new(rate.quota(), Shared(Arc::clone(&store)), SinceStart::now());
        Self { limiter, store, hasher: RandomState::new(), keys: PhantomData }
    }

    /// Takes from the bucket of `key`.
    ///
    /// # Errors
    /// The time until the bucket is no longer empty.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        self.access(key, Access::Take)
    }

    /// Whether [`Buckets::take`] would succeed now.
    ///
    /// # Errors
    /// As [`Buckets::take`].
    pub fn peek(&self, key: &K) -> Result<(), Duration> {
        self.access(key, Access::Peek)
    }

    /// Puts back what was taken from the bucket of `key`.
    pub fn put_back(&self, key: &K) {
        self.store.put_back(self.hasher.hash_one(key), self.limiter.clock().now());
    }

    /// The number of keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.store.keys()
    }

    fn access(&self, key: &K, access: Access) -> Result<(), Duration> {
        let outcome = self.limiter.check_key(&(self.hasher.hash_one(key), access));
        outcome.map_err(|until| wait(&until, self.limiter.clock()))
    }
}

fn wait(until: &NotUntil<Duration>, clock: &SinceStart) -> Duration {
    until.wait_time_from(clock.now())
}

#[cfg(test)]
mod tests;
