//! Limits how often the API server is asked about credentials that the read model does not know.
//!
//! Requests for the same client share a read that began after they arrived. The number of reads is bounded.
//!
//! A negative cache prevents one client from exhausting the read budget with a credential that was not found. The same
//! credential is looked up again after 250 ms at the earliest; the interval then doubles up to 10 s. Between look-ups
//! the read model decides. A change that enables the credential reaches the read model by the watch. Only a replica with a
//! lagging watch that has rejected this credential before can reject it for that interval again. Another credential of
//! the same client is looked up immediately.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::oauth::client_store::CatchUpError;
use crate::util::error_chain::display_chain;
use crate::util::timing::backoff::{Backoff, Growth};
use crate::util::timing::rate_limit::{Bucket, Rate};

/// Twenty reads per second, both as average and as burst. Each read costs the API server some small lists. Valid
/// clients need one read for each credential that is newer than this replica's watch.
const READS: Rate = Rate { burst: 20, every: Duration::from_millis(50) };
/// How long a request waits for the API server and the watch. Longer than the lag of a healthy watch, shorter than the
/// timeout of OAuth clients.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the first negative result is cached. A healthy watch lags less.
const NEGATIVE_TTL_MIN: Duration = Duration::from_millis(250);
/// The maximum for any negative result, and how long it is kept when no further read is allowed.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);
/// Maximum number of cached credentials; above it the cache is cleared.
const REMEMBERED_MAX: usize = 4096;
/// Requests of different clients that share a slot do not share reads; they only wait for each other.
const SHARDS: usize = 64;

/// Limiter of reads from the API server.
pub(super) struct CatchUpLimiter {
    slots: Vec<Mutex<LastRead>>,
    hasher: RandomState,
    budget: Bucket,
    negative_cache: Lock<NegativeCache>,
}

/// The last read of a slot.
#[derive(Default)]
struct LastRead {
    client_id: String,
    began: Option<Instant>,
    result: Option<Result<(), CatchUpError>>,
}

impl CatchUpLimiter {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            budget: Bucket::new(READS),
            negative_cache: Lock::default(),
        }
    }

    /// Runs `read`, unless an earlier read for the client, or for this credential of it, is recent enough for this
    /// request.
    pub(super) async fn run_coalesced<F>(
        &self,
        client_id: &str,
        credential: &str,
        read: impl FnOnce() -> F,
    ) -> Result<(), CatchUpError>
    where
        F: Future<Output = kube::Result<()>>,
    {
        let came = Instant::now();
        let credential = self.hasher.hash_one((client_id, credential));
        if self.negative_cache().is_fresh(credential, came) {
            return Ok(());
        }
        let slot = usize::try_from(self.hasher.hash_one(client_id)).unwrap_or_default() % SHARDS;
        let Some(slot) = self.slots.get(slot) else { return Err(CatchUpError::Behind) };
        let mut last = slot.lock().await;
        if last.client_id == client_id
            && last.began.is_some_and(|began| began >= came)
            && let Some(result) = last.result
        {
            return result;
        }
        // Another request looked it up while this one waited for the slot.
        if self.negative_cache().is_fresh(credential, came) {
            return Ok(());
        }
        if self.budget.take().is_err() {
            let looked_up = self.negative_cache().was_looked_up(credential, Instant::now());
            return if looked_up { Ok(()) } else { Err(CatchUpError::RateLimited) };
        }
        last.began = Some(Instant::now());
        client_id.clone_into(&mut last.client_id);
        let result = match tokio::time::timeout(CATCH_UP_TIMEOUT, read()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = display_chain(&error), "could not ask the API server about a credential");
                Err(CatchUpError::Behind)
            }
            Err(_) => Err(CatchUpError::Behind),
        };
        last.result = Some(result);
        if result.is_ok() {
            self.negative_cache().looked_up(credential, came);
        }
        result
    }

    fn negative_cache(&self) -> MutexGuard<'_, NegativeCache> {
        self.negative_cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Credentials that were looked up, by digest. Only those that are still rejected are looked up again. A wait begins
/// when the request arrives that causes the look-up, and the result is valid until it ends.
struct NegativeCache(Backoff<u64, ()>);

impl Default for NegativeCache {
    fn default() -> Self {
        let quiet = |ttl| NEGATIVE_TTL_MAX.saturating_mul(2).saturating_sub(ttl);
        Self(Backoff::new(Growth { initial: NEGATIVE_TTL_MIN, min: NEGATIVE_TTL_MIN, max: NEGATIVE_TTL_MAX, quiet }))
    }
}

impl NegativeCache {
    fn looked_up(&mut self, credential: u64, at: Instant) {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.start(credential, at, ());
    }

    /// Whether the last result is valid for a request that arrived at `now`.
    fn is_fresh(&self, credential: u64, now: Instant) -> bool {
        self.0.running(&credential, now).is_some()
    }

    /// Whether there was a recent look-up.
    fn was_looked_up(&self, credential: u64, now: Instant) -> bool {
        self.0.last(&credential).is_some_and(|last| last.age(now) < NEGATIVE_TTL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_credential_that_is_repeated_is_not_looked_up_each_time() {
        let (limiter, reads) = (CatchUpLimiter::new(), Cell::new(0));
        let look_up = async |credential: &str| {
            let read = || async {
                reads.set(reads.get() + 1);
                Ok(())
            };
            assert_eq!(limiter.run_coalesced("client", credential, read).await, Ok(()));
        };
        for _ in 0..100 {
            look_up("old").await;
        }
        assert!(reads.get() < 10, "{}", reads.get());
        let before = reads.get();
        look_up("new").await;
        assert_eq!(reads.get(), before + 1, "a new one of the same client is, at once");
    }

    #[tokio::test]
    async fn a_failed_look_up_is_not_cached() {
        let limiter = CatchUpLimiter::new();
        let away = || async { Err(kube::Error::LinesCodecMaxLineLengthExceeded) };
        assert_eq!(limiter.run_coalesced("client", "a", away).await, Err(CatchUpError::Behind));
        assert_eq!(limiter.run_coalesced("client", "a", || async { Ok(()) }).await, Ok(()));
        assert_eq!(limiter.run_coalesced("client", "b", away).await, Err(CatchUpError::Behind));
    }

    #[test]
    fn the_longer_a_credential_is_repeated_the_less_often_it_is_looked_up() {
        let start = Instant::now();
        let (mut negative_cache, mut look_ups) = (NegativeCache::default(), vec![]);
        for quarter in 0..200 {
            let now = start + NEGATIVE_TTL_MIN * quarter;
            if !negative_cache.is_fresh(1, now) {
                negative_cache.looked_up(1, now);
                look_ups.push(quarter);
            }
        }
        assert_eq!(look_ups, [0, 1, 3, 7, 15, 31, 63, 103, 143, 183]);
        let later = start + Duration::from_mins(5);
        negative_cache.looked_up(1, later);
        assert!(!negative_cache.is_fresh(1, later + NEGATIVE_TTL_MIN), "long after it begins anew");
        assert!(
            negative_cache.was_looked_up(1, later + NEGATIVE_TTL_MIN)
                && !negative_cache.was_looked_up(1, later + NEGATIVE_TTL_MAX)
        );
    }

    #[test]
    fn memory_of_credentials_is_bounded() {
        let (now, mut negative_cache) = (Instant::now(), NegativeCache::default());
        for credential in 0..10_000 {
            negative_cache.looked_up(credential, now);
            assert!(negative_cache.0.len() <= REMEMBERED_MAX);
        }
    }
}
