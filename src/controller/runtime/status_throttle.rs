//! Throttles status writes for counts and last-used times: a burst is written once, and a long burst at intervals.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cache::ObjectRef;

/// How long a new count waits for others. Long enough for objects that are applied together, short enough for a user.
pub(crate) const DEBOUNCE: Duration = Duration::from_millis(500);
/// Minimum time between two counts of one object at first, …
const INTERVAL: Duration = Duration::from_secs(5);
/// … doubled up to a minute while new counts arrive: otherwise each of ten thousand credentials that are applied
/// together would cost its Application a write.
const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// Minimum time between two last-used times. With the reporting delay of a replica, that is less than a minute.
const USES_INTERVAL: Duration = Duration::from_secs(30);

/// Minimum time between two reads of a delivered Secret that other clients change, …
const READS_INTERVAL: Duration = Duration::from_secs(1);
/// … doubled up to this while the changes continue.
const READS_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Capacity that is kept when nothing is due.
const ROOM: usize = 64;

/// When the changes of each object are due.
#[derive(Debug)]
pub(crate) struct StatusThrottle {
    due: Mutex<HashMap<ObjectRef, Due>>,
    interval: Duration,
    interval_max: Duration,
}

#[derive(Debug, Default)]
struct Due {
    /// When the first unwritten change arrived.
    since: Option<Instant>,
    told: Option<(Instant, Duration)>,
}

impl StatusThrottle {
    /// For counts, which are best written when they are final.
    pub(crate) fn of_counts() -> Self {
        Self { due: Mutex::default(), interval: INTERVAL, interval_max: INTERVAL_MAX }
    }

    /// For last-used times, which are never final.
    pub(crate) fn of_uses() -> Self {
        Self { due: Mutex::default(), interval: USES_INTERVAL, interval_max: USES_INTERVAL }
    }

    /// For reads of delivered Secrets that other clients change.
    pub(crate) fn of_reads() -> Self {
        Self { due: Mutex::default(), interval: READS_INTERVAL, interval_max: READS_INTERVAL_MAX }
    }

    /// How long to wait before the changes of `key` are written; `None`: write now.
    pub(crate) fn wait(&self, key: &ObjectRef, now: Instant) -> Option<Duration> {
        self.wait_past(key, now, |_| now)
    }

    /// The same while queued work will change `key` again: waits for that work, for the longest interval at most.
    pub(crate) fn wait_low_priority(&self, key: &ObjectRef, now: Instant) -> Option<Duration> {
        self.wait_past(key, now, |since| (now + self.interval).min(since + self.interval_max))
    }

    /// `earliest`: the earliest time of the write, from the time of the first change.
    fn wait_past(&self, key: &ObjectRef, now: Instant, earliest: impl Fn(Instant) -> Instant) -> Option<Duration> {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = all.entry(key.clone()).or_default();
        let since = *due.since.get_or_insert(now);
        let mut at = (since + DEBOUNCE).max(earliest(since));
        if let Some((told, interval)) = due.told {
            at = at.max(told + interval);
        }
        let wait = at.saturating_duration_since(now);
        if wait.is_zero() {
            // Counts that arrive without a pause are a burst.
            let goes_on = due.told.filter(|(told, interval)| now.duration_since(*told) < *interval * 2);
            let interval = goes_on.map_or(self.interval, |(_, interval)| (interval * 2).min(self.interval_max));
            *due = Due { since: None, told: Some((now, interval)) };
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// Removes entries without an effect, because objects are created and deleted.
    pub(crate) fn forget_old(&self, now: Instant) {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let matters = |due: &Due| {
            let waits = due.since.is_some_and(|since| since + self.interval_max * 2 > now);
            waits || due.told.is_some_and(|(told, interval)| told + interval * 2 > now)
        };
        all.retain(|_, due| matters(due));
        all.shrink_to(ROOM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_once_and_a_long_one_now_and_then() {
        let (pace, start) = (StatusThrottle::of_counts(), Instant::now());
        let key = ObjectRef::new("billing", "sync");
        assert_eq!(pace.wait(&key, start), Some(DEBOUNCE));
        assert_eq!(pace.wait(&key, start + DEBOUNCE / 2), Some(DEBOUNCE / 2));
        let mut told = start + DEBOUNCE;
        assert_eq!(pace.wait(&key, told), None);
        for interval in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert_eq!(pace.wait(&key, told), Some(interval));
            told += interval;
            assert_eq!(pace.wait(&key, told), None);
        }
        pace.forget_old(told + INTERVAL_MAX + DEBOUNCE);
        assert_eq!(pace.due.lock().unwrap().len(), 1, "it may go on");
        assert_eq!(pace.wait(&key, told + 3 * INTERVAL_MAX), Some(DEBOUNCE), "after a pause it starts again");
    }

    #[test]
    fn a_count_lets_credentials_go_first_but_not_for_ever() {
        let (pace, start) = (StatusThrottle::of_counts(), Instant::now());
        let key = ObjectRef::new("billing", "sync");
        for times in 0..12 {
            assert_eq!(pace.wait_low_priority(&key, start + INTERVAL * times), Some(INTERVAL));
        }
        assert_eq!(pace.wait_low_priority(&key, start + INTERVAL_MAX), None);
        let told = start + INTERVAL_MAX;
        assert_eq!(pace.wait_low_priority(&key, told + INTERVAL), Some(INTERVAL));
        assert_eq!(pace.wait(&key, told + INTERVAL), Some(DEBOUNCE), "nothing waits any more");
    }

    #[test]
    fn an_object_that_nothing_is_heard_of_any_more_takes_no_room() {
        let (pace, start) = (StatusThrottle::of_uses(), Instant::now());
        for number in 0..1_000 {
            assert_eq!(pace.wait(&ObjectRef::new("billing", &number.to_string()), start), Some(DEBOUNCE));
        }
        // Half of them were deleted before a write.
        for number in 0..500 {
            assert_eq!(pace.wait(&ObjectRef::new("billing", &number.to_string()), start + DEBOUNCE), None);
        }
        pace.forget_old(start + DEBOUNCE);
        assert_eq!(pace.due.lock().unwrap().len(), 1_000);
        pace.forget_old(start + DEBOUNCE + 2 * USES_INTERVAL);
        assert_eq!(pace.due.lock().unwrap().len(), 0);
    }
}
