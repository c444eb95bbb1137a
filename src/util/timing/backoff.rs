//! Exponential backoff: a separate wait for each key, which doubles while the key is repeated.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How a wait grows.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// The first wait.
    pub initial: Duration,
    /// The shortest wait after a repetition.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// The time after the end of a wait of this length in which a repetition continues the series. After it, the next
    /// wait is the first again.
    pub quiet: fn(Duration) -> Duration,
}

impl Growth {
    /// The wait after one of this length in the same series; the first one after `None`.
    #[must_use]
    pub fn after(&self, length: Option<Duration>) -> Duration {
        length.map_or(self.initial, |length| (length * 2).clamp(self.min, self.max))
    }
}

/// The waits of all keys. Each key has a value of the caller.
#[derive(Debug)]
pub struct Backoff<K, V> {
    growth: Growth,
    waits: HashMap<K, Wait<V>>,
}

/// A wait, and the value that the caller recorded with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wait<V> {
    until: Instant,
    length: Duration,
    /// The value of the caller.
    pub value: V,
}

impl<V> Wait<V> {
    /// The rest of the wait; zero if it has ended.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// The time since the wait began.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        (now + self.length).saturating_duration_since(self.until)
    }

    fn is_running(&self, now: Instant) -> bool {
        now < self.until
    }

    fn continues(&self, growth: &Growth, now: Instant) -> bool {
        now < self.until + (growth.quiet)(self.length)
    }
}

impl<K: Eq + Hash, V> Backoff<K, V> {
    /// No key has a wait.
    #[must_use]
    pub fn new(growth: Growth) -> Self {
        Self { growth, waits: HashMap::new() }
    }

    /// Begins the next wait of `key` at `now`.
    pub fn start(&mut self, key: K, now: Instant, value: V) -> &Wait<V> {
        let growth = self.growth;
        let before = self.waits.get(&key).filter(|wait| wait.continues(&growth, now));
        let length = growth.after(before.map(|wait| wait.length));
        self.waits.entry(key).insert_entry(Wait { until: now + length, length, value }).into_mut()
    }

    /// The wait of `key` that has not ended.
    pub fn running<Q>(&self, key: &Q, now: Instant) -> Option<&Wait<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.last(key).filter(|wait| wait.is_running(now))
    }

    /// The last wait of `key`, even if it has ended.
    pub fn last<Q>(&self, key: &Q) -> Option<&Wait<V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.waits.get(key)
    }

    /// Removes the series of `key`.
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.waits.remove(key);
    }

    /// Removes the series that a repetition would not continue, and their memory above a capacity of `room` keys.
    pub fn remove_old(&mut self, now: Instant, room: usize) {
        let growth = self.growth;
        self.waits.retain(|_, wait| wait.continues(&growth, now));
        self.waits.shrink_to(room);
    }

    /// Removes all series.
    pub fn clear(&mut self) {
        self.waits.clear();
    }

    /// The number of keys with a series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// Whether no key has a series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth {
        initial: Duration::ZERO,
        min: Duration::from_secs(2),
        max: Duration::from_secs(10),
        quiet: |_| Duration::from_mins(1),
    };

    #[test]
    fn a_wait_doubles_while_the_key_is_repeated_and_is_the_first_again_after_a_quiet_time() {
        let (mut backoff, mut now) = (Backoff::new(GROWTH), Instant::now());
        for seconds in [0, 2, 4, 8, 10, 10] {
            backoff.start("blue", now, ());
            let wait = Duration::from_secs(seconds);
            assert_eq!(backoff.last(&"blue").map(|last| (last.left(now), last.age(now))), Some((wait, Duration::ZERO)));
            now += wait;
            assert_eq!(backoff.running(&"blue", now), None);
        }
        backoff.start("green", now, ());
        assert_eq!(backoff.running(&"green", now), None, "each key has a series of its own");
        now += Duration::from_mins(1);
        assert_eq!(backoff.last(&"blue").map(|last| last.age(now)), Some(Duration::from_secs(70)));
        backoff.start("blue", now, ());
        assert_eq!(backoff.running(&"blue", now), None);
    }

    #[test]
    fn only_a_series_that_can_continue_takes_memory() {
        let (mut backoff, now) = (Backoff::new(GROWTH), Instant::now());
        backoff.start("blue", now, ());
        backoff.start("green", now + Duration::from_secs(1), ());
        backoff.remove_old(now + Duration::from_mins(1), 0);
        assert_eq!(backoff.len(), 1);
        backoff.remove(&"green");
        assert!(backoff.is_empty());
    }
}
