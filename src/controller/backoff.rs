//! How long to wait before something is tried again that the API server has refused: longer each time, for each object.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Key;

/// After the first refusal, …
const FIRST: Duration = Duration::from_secs(2);
/// … doubled up to this: a quota that was raised is noticed in five minutes, and until then there are twelve attempts an
/// hour.
const LONGEST: Duration = Duration::from_mins(5);

/// What was refused last time, by object.
#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<HashMap<Key, Wait>>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    length: Duration,
}

impl Backoff {
    /// How long to wait after a refusal at `now`. One that comes before the wait was over, because something changed
    /// meanwhile, does not make it longer.
    pub(super) fn after_refusal(&self, key: &Key, now: Instant) -> Duration {
        let mut waits = self.lock();
        let wait = match waits.get(key) {
            Some(wait) if now < wait.until => *wait,
            Some(wait) => Wait::from(now, (wait.length * 2).min(LONGEST)),
            None => Wait::from(now, FIRST),
        };
        waits.insert(key.clone(), wait);
        wait.until.saturating_duration_since(now)
    }

    /// It was not refused, or it is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    fn from(now: Instant, length: Duration) -> Self {
        Self { until: now + length, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_and_again_is_tried_less_and_less_often_and_no_event_changes_that() {
        let (backoff, mut now) = (Backoff::default(), Instant::now());
        let key = Key::new("billing", "blue");
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let wait = backoff.after_refusal(&key, now);
            assert_eq!(wait, Duration::from_secs(seconds));
            assert_eq!(backoff.after_refusal(&key, now + wait / 2), wait / 2, "tried early, because something changed");
            now += wait;
        }
        assert_eq!(backoff.after_refusal(&Key::new("billing", "green"), now), FIRST, "each for itself");
        backoff.forget(&key);
        assert_eq!(backoff.after_refusal(&key, now), FIRST, "it went well meanwhile");
    }
}
