//! Throttles status writes for counts and last-used times: a burst is written once, and a long burst at intervals.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cache::ObjectRef;
use crate::util::timing::throttle::Throttle;

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

/// When the changes of each object are written.
#[derive(Debug)]
pub(crate) struct StatusThrottle(Mutex<Throttle<ObjectRef>>);

impl StatusThrottle {
    /// For counts, which are best written when they are final.
    pub(crate) fn of_counts() -> Self {
        Self::with_intervals(INTERVAL, INTERVAL_MAX)
    }

    /// For last-used times, which are never final.
    pub(crate) fn of_uses() -> Self {
        Self::with_intervals(USES_INTERVAL, USES_INTERVAL)
    }

    /// For reads of delivered Secrets that other clients change.
    pub(crate) fn of_reads() -> Self {
        Self::with_intervals(READS_INTERVAL, READS_INTERVAL_MAX)
    }

    fn with_intervals(interval: Duration, interval_max: Duration) -> Self {
        Self(Mutex::new(Throttle::new(DEBOUNCE, interval, interval_max)))
    }

    /// How long to wait before the changes of `key` are written; `None`: write now.
    pub(crate) fn wait(&self, key: &ObjectRef, now: Instant) -> Option<Duration> {
        self.lock().wait(key, now)
    }

    /// The same while queued work will change `key` again: that work goes first.
    pub(crate) fn wait_low_priority(&self, key: &ObjectRef, now: Instant) -> Option<Duration> {
        self.lock().wait_low_priority(key, now)
    }

    /// Removes entries without an effect.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.lock().remove_old(now, ROOM);
    }

    fn lock(&self) -> MutexGuard<'_, Throttle<ObjectRef>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
