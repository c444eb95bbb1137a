//! Throttle with debounce: changes that arrive together are one write, and a long series is written at growing intervals.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, Growth};

/// The pending changes of each key, and the intervals between their writes.
#[derive(Debug)]
pub struct Throttle<K> {
    debounce: Duration,
    interval: Duration,
    interval_max: Duration,
    /// When the first unwritten change of each key arrived.
    pending: HashMap<K, Instant>,
    written: Backoff<K, ()>,
}

impl<K: Clone + Eq + Hash> Throttle<K> {
    /// A change waits `debounce` for others. Two writes are `interval` apart, which doubles up to `interval_max` while
    /// changes arrive without a pause as long as the interval.
    #[must_use]
    pub fn new(debounce: Duration, interval: Duration, interval_max: Duration) -> Self {
        let growth = Growth { initial: interval, min: interval, max: interval_max, quiet: |interval| interval };
        Self { debounce, interval, interval_max, pending: HashMap::new(), written: Backoff::new(growth) }
    }

    /// How long to wait before the changes of `key` are written; `None`: write now.
    pub fn wait(&mut self, key: &K, now: Instant) -> Option<Duration> {
        self.wait_past(key, now, now)
    }

    /// The same while queued work will change `key` again: waits for that work, for the longest interval at most.
    pub fn wait_low_priority(&mut self, key: &K, now: Instant) -> Option<Duration> {
        let since = self.pending.get(key).copied().unwrap_or(now);
        self.wait_past(key, now, (now + self.interval).min(since + self.interval_max))
    }

    /// `earliest`: the earliest time of the write.
    fn wait_past(&mut self, key: &K, now: Instant, earliest: Instant) -> Option<Duration> {
        let since = *self.pending.entry(key.clone()).or_insert(now);
        let interval_ends = now + self.written.last(key).map_or(Duration::ZERO, |written| written.left(now));
        let at = (since + self.debounce).max(earliest).max(interval_ends);
        let wait = at.saturating_duration_since(now);
        if wait.is_zero() {
            self.pending.remove(key);
            self.written.start(key.clone(), now, ());
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// Removes keys without an effect, because objects are created and deleted, and memory above `room` keys.
    pub fn remove_old(&mut self, now: Instant, room: usize) {
        self.pending.retain(|_, since| *since + self.interval_max * 2 > now);
        self.pending.shrink_to(room);
        self.written.remove_old(now, room);
    }

    /// The number of keys with an effect.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.keys().filter(|key| self.written.last(key).is_none()).count() + self.written.len()
    }

    /// Whether no key has an effect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.written.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBOUNCE: Duration = Duration::from_millis(500);
    const INTERVAL: Duration = Duration::from_secs(5);
    const INTERVAL_MAX: Duration = Duration::from_mins(1);

    fn throttle() -> Throttle<u32> {
        Throttle::new(DEBOUNCE, INTERVAL, INTERVAL_MAX)
    }

    #[test]
    fn a_burst_is_written_once_and_a_long_one_at_growing_intervals() {
        let (mut pace, start) = (throttle(), Instant::now());
        let key = 1;
        assert_eq!(pace.wait(&key, start), Some(DEBOUNCE));
        assert_eq!(pace.wait(&key, start + DEBOUNCE / 2), Some(DEBOUNCE / 2));
        let mut told = start + DEBOUNCE;
        assert_eq!(pace.wait(&key, told), None);
        for interval in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert_eq!(pace.wait(&key, told), Some(interval));
            told += interval;
            assert_eq!(pace.wait(&key, told), None);
        }
        pace.remove_old(told + INTERVAL_MAX + DEBOUNCE, 0);
        assert_eq!(pace.len(), 1, "it may go on");
        assert_eq!(pace.wait(&key, told + 3 * INTERVAL_MAX), Some(DEBOUNCE), "after a pause it starts again");
    }

    #[test]
    fn a_low_priority_write_waits_for_others_but_not_indefinitely() {
        let (mut pace, start) = (throttle(), Instant::now());
        let key = 1;
        for times in 0..12 {
            assert_eq!(pace.wait_low_priority(&key, start + INTERVAL * times), Some(INTERVAL));
        }
        assert_eq!(pace.wait_low_priority(&key, start + INTERVAL_MAX), None);
        let told = start + INTERVAL_MAX;
        assert_eq!(pace.wait_low_priority(&key, told + INTERVAL), Some(INTERVAL));
        assert_eq!(pace.wait(&key, told + INTERVAL), Some(DEBOUNCE), "nothing waits any more");
    }

    #[test]
    fn an_inactive_object_is_removed_from_memory() {
        let (mut pace, start) = (throttle(), Instant::now());
        for number in 0..1_000 {
            assert_eq!(pace.wait(&number, start), Some(DEBOUNCE));
        }
        // Half of them were deleted before a write.
        for number in 0..500 {
            assert_eq!(pace.wait(&number, start + DEBOUNCE), None);
        }
        pace.remove_old(start + DEBOUNCE, 0);
        assert_eq!(pace.len(), 1_000);
        pace.remove_old(start + DEBOUNCE + 2 * INTERVAL_MAX, 0);
        assert_eq!(pace.len(), 0);
    }
}
