//! Rate limits: one token bucket for each key.
//!
//! A bucket is stored as the instant at which it will be full again ("generic cell rate algorithm", ITU-T I.371). A
//! full bucket needs no memory, so the table contains only recently used keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The size of a bucket, and its fill rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// The number of events that may happen immediately.
    pub burst: u32,
    /// The time after which another event may happen.
    pub every: Duration,
}

impl Rate {
    /// Takes from a bucket that is full again at `full_at`. Returns the new instant, or the time to wait.
    fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let full_at = full_at.map_or(now, |full_at| full_at.max(now)) + self.every;
        match full_at.duration_since(now).checked_sub(self.every.saturating_mul(self.burst)) {
            None | Some(Duration::ZERO) => Ok(full_at),
            Some(wait) => Err(wait),
        }
    }
}

/// One bucket.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// Takes from the bucket, unless it is empty.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.rate.take(self.full_at, now);
        self.full_at = full_at.ok().or(self.full_at);
        full_at.is_ok()
    }
}

/// The number of keys at which full buckets are first removed.
const KEYS_MIN: usize = 1024;

/// A bucket for each key.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    full_at: HashMap<K, Instant>,
    /// The number of keys at which full buckets are removed next.
    clean_at: usize,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Full buckets for all keys.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new(), clean_at: KEYS_MIN }
    }

    /// Takes from the bucket of `key`.
    ///
    /// # Errors
    /// The time until the bucket is no longer empty.
    pub fn take(&mut self, key: &K, now: Instant) -> Result<(), Duration> {
        let full_at = self.rate.take(self.full_at.get(key).copied(), now)?;
        self.full_at.insert(key.clone(), full_at);
        if self.full_at.len() >= self.clean_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.clean_at = (self.full_at.len() * 2).max(KEYS_MIN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    #[test]
    fn the_rate_applies_after_a_burst_and_a_long_pause_allows_no_more_than_a_burst() {
        let (start, mut buckets) = (Instant::now(), Buckets::new(RATE));
        let mut taken = |second: u64| {
            let now = start + Duration::from_secs(second);
            (0..10).filter(|_| buckets.take(&"a", now).is_ok()).count()
        };
        assert_eq!([0, 9, 10, 15, 20, 45, 1_000].map(&mut taken), [3, 0, 1, 0, 1, 2, 3]);
    }

    #[test]
    fn a_refused_caller_gets_the_time_to_wait_and_then_succeeds() {
        let (start, mut buckets) = (Instant::now(), Buckets::new(RATE));
        (0..3).for_each(|_| assert_eq!(buckets.take(&"a", start), Ok(())));
        let later = start + Duration::from_secs(4);
        assert_eq!(buckets.take(&"a", later), Err(Duration::from_secs(6)));
        assert_eq!(buckets.take(&"b", later), Ok(()), "each key has its own");
        assert_eq!(buckets.take(&"a", later + Duration::from_secs(6)), Ok(()));
    }

    #[test]
    fn a_single_bucket_follows_the_same_rule() {
        let (start, mut bucket) = (Instant::now(), Bucket::new(RATE));
        let taken =
            |bucket: &mut Bucket, second| (0..10).filter(|_| bucket.take(start + Duration::from_secs(second))).count();
        assert_eq!([taken(&mut bucket, 0), taken(&mut bucket, 10), taken(&mut bucket, 3_600)], [3, 1, 3]);
    }

    #[test]
    fn full_buckets_take_no_memory() {
        let (start, mut buckets) = (Instant::now(), Buckets::new(RATE));
        for number in 0..100_000_u32 {
            assert_eq!(buckets.take(&number, start + Duration::from_secs(number.into())), Ok(()));
            assert!(buckets.full_at.len() <= KEYS_MIN);
        }
    }
}
