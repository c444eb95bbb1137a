//! Counts and last uses in a status change in bursts; a burst is told once, and a long one now and then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Key;

/// How long a new count waits for others. Long enough for what is applied together, short enough for a person.
pub(super) const BURST: Duration = Duration::from_millis(500);
/// Least time between two counts of one object at first, …
const INTERVAL: Duration = Duration::from_secs(5);
/// … doubled up to a minute while they keep coming: otherwise each of ten thousand credentials that are applied at once
/// would cost its application a write.
const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// Least time between two times of last use. With the time until a replica reports it, that is less than a minute.
const USES_INTERVAL: Duration = Duration::from_secs(30);

/// Least time between two reads of a delivered Secret that other clients change, …
const READS_INTERVAL: Duration = Duration::from_secs(1);
/// … doubled up to this while the changes continue.
const READS_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Room that is kept when nothing is due.
const ROOM: usize = 64;

/// When the news of each object are due.
#[derive(Debug)]
pub(super) struct Pace {
    due: Mutex<HashMap<Key, Due>>,
    interval: Duration,
    interval_max: Duration,
}

#[derive(Debug, Default)]
struct Due {
    /// Since when there is something to tell.
    since: Option<Instant>,
    told: Option<(Instant, Duration)>,
}

impl Pace {
    /// For counts, which are best told when they are final.
    pub(super) fn of_counts() -> Self {
        Self { due: Mutex::default(), interval: INTERVAL, interval_max: INTERVAL_MAX }
    }

    /// For times of last use, which are never final.
    pub(super) fn of_uses() -> Self {
        Self { due: Mutex::default(), interval: USES_INTERVAL, interval_max: USES_INTERVAL }
    }

    /// For reads of delivered Secrets that other clients change.
    pub(super) fn of_reads() -> Self {
        Self { due: Mutex::default(), interval: READS_INTERVAL, interval_max: READS_INTERVAL_MAX }
    }

    /// How long to wait before the news of `key` are written; `None`: now.
    pub(super) fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        self.wait_past(key, now, |_| now)
    }

    /// The same while others wait for work that will change it again: lets them go first, for the longest interval at most.
    pub(super) fn wait_behind_others(&self, key: &Key, now: Instant) -> Option<Duration> {
        self.wait_past(key, now, |since| (now + self.interval).min(since + self.interval_max))
    }

    /// `earliest`: given since when there are news, before when they are not written.
    fn wait_past(&self, key: &Key, now: Instant, earliest: impl Fn(Instant) -> Instant) -> Option<Duration> {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = all.entry(key.clone()).or_default();
        let since = *due.since.get_or_insert(now);
        let mut at = (since + BURST).max(earliest(since));
        if let Some((told, interval)) = due.told {
            at = at.max(told + interval);
        }
        let wait = at.saturating_duration_since(now);
        if wait.is_zero() {
            // Counts that came one after the other without a pause are a burst.
            let goes_on = due.told.filter(|(told, interval)| now.duration_since(*told) < *interval * 2);
            let interval = goes_on.map_or(self.interval, |(_, interval)| (interval * 2).min(self.interval_max));
            *due = Due { since: None, told: Some((now, interval)) };
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// Forgets what makes no difference any more: objects come and go.
    pub(super) fn forget_old(&self, now: Instant) {
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
        let (pace, start) = (Pace::of_counts(), Instant::now());
        let key = Key::new("billing", "sync");
        assert_eq!(pace.wait(&key, start), Some(BURST));
        assert_eq!(pace.wait(&key, start + BURST / 2), Some(BURST / 2));
        let mut told = start + BURST;
        assert_eq!(pace.wait(&key, told), None);
        for interval in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert_eq!(pace.wait(&key, told), Some(interval));
            told += interval;
            assert_eq!(pace.wait(&key, told), None);
        }
        pace.forget_old(told + INTERVAL_MAX + BURST);
        assert_eq!(pace.due.lock().unwrap().len(), 1, "it may go on");
        assert_eq!(pace.wait(&key, told + 3 * INTERVAL_MAX), Some(BURST), "after a pause it starts again");
    }

    #[test]
    fn a_count_lets_credentials_go_first_but_not_for_ever() {
        let (pace, start) = (Pace::of_counts(), Instant::now());
        let key = Key::new("billing", "sync");
        for times in 0..12 {
            assert_eq!(pace.wait_behind_others(&key, start + INTERVAL * times), Some(INTERVAL));
        }
        assert_eq!(pace.wait_behind_others(&key, start + INTERVAL_MAX), None);
        let told = start + INTERVAL_MAX;
        assert_eq!(pace.wait_behind_others(&key, told + INTERVAL), Some(INTERVAL));
        assert_eq!(pace.wait(&key, told + INTERVAL), Some(BURST), "nothing waits any more");
    }

    #[test]
    fn an_object_that_nothing_is_heard_of_any_more_takes_no_room() {
        let (pace, start) = (Pace::of_uses(), Instant::now());
        for number in 0..1_000 {
            assert_eq!(pace.wait(&Key::new("billing", &number.to_string()), start), Some(BURST));
        }
        // Half of them were deleted before anything was told.
        for number in 0..500 {
            assert_eq!(pace.wait(&Key::new("billing", &number.to_string()), start + BURST), None);
        }
        pace.forget_old(start + BURST);
        assert_eq!(pace.due.lock().unwrap().len(), 1_000);
        pace.forget_old(start + BURST + 2 * USES_INTERVAL);
        assert_eq!(pace.due.lock().unwrap().len(), 0);
    }
}
