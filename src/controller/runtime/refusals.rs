//! Operations that the API server has refused. Each is tried again less and less often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::util::timing::backoff::{Backoff, Growth, Wait};

/// The wait after the first refusal, …
const BACKOFF_MIN: Duration = Duration::from_secs(2);
/// … doubled up to this limit: a raised quota takes effect within five minutes, at twelve attempts an hour.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
const GROWTH: Growth = Growth { initial: BACKOFF_MIN, min: BACKOFF_MIN, max: BACKOFF_MAX, quiet: |_| BACKOFF_MAX };
/// Capacity that is kept when nothing is refused.
const ROOM: usize = 64;

/// The last refusal of each operation, with the message of the API server. The caller chooses the key.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Backoff<String, String>>);

/// A refusal: the message to report, and the wait until the next attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    /// The message of the API server.
    pub(crate) message: String,
    pub(crate) wait: Duration,
}

impl Refused {
    fn of(wait: &Wait<String>, now: Instant) -> Self {
        Self { message: wait.value.clone(), wait: wait.left(now) }
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(Backoff::new(GROWTH)))
    }
}

impl Refusals {
    /// Records a refusal at `now`, and returns what to report.
    ///
    /// A refusal before the wait has ended, because an object changed, does not extend the wait. Its message is not
    /// reported either: some messages differ each time (a port, a random value), and reporting a new one is a change
    /// that triggers the next attempt immediately.
    pub(crate) fn record_failure(&self, what: &str, now: Instant, words: &str) -> Refused {
        let mut all = self.lock();
        if let Some(wait) = all.running(what, now) {
            return Refused::of(wait, now);
        }
        Refused::of(all.start(what.to_owned(), now, words.to_owned()), now)
    }

    /// The refusal because of which `what` has to wait.
    pub(crate) fn waiting(&self, what: &str, now: Instant) -> Option<Refused> {
        self.lock().running(what, now).map(|wait| Refused::of(wait, now))
    }

    /// The last message of the API server about `what`.
    pub(crate) fn message(&self, what: &str) -> Option<String> {
        self.lock().last(what).map(|refused| refused.value.clone())
    }

    /// Removes the refusals of operations that are no longer tried.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.lock().remove_old(now, ROOM);
    }

    /// Removes the entry: the operation succeeded.
    pub(crate) fn forget(&self, what: &str) {
        self.lock().remove(what);
    }

    fn lock(&self) -> MutexGuard<'_, Backoff<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_refusals_are_retried_with_exponential_backoff_that_an_early_attempt_keeps() {
        let (backoff, mut now) = (Refusals::default(), Instant::now());
        for (number, seconds) in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            let (words, half) = (format!("no, from port {number}"), Duration::from_secs(seconds) / 2);
            assert_eq!(backoff.waiting("blue", now), None);
            let refused = backoff.record_failure("blue", now, &words);
            assert_eq!((refused.wait, &refused.message), (2 * half, &words));
            let early = backoff.record_failure("blue", now + half, "no, from another port");
            assert_eq!((early.wait, &early.message), (half, &words), "tried early, because something changed");
            assert_eq!(backoff.waiting("blue", now + half), Some(early));
            now += 2 * half;
        }
        assert_eq!(backoff.record_failure("green", now, "no").wait, BACKOFF_MIN, "each for itself");
        backoff.forget("blue");
        assert_eq!(backoff.record_failure("blue", now, "no").wait, BACKOFF_MIN, "it went well meanwhile");
    }

    #[test]
    fn an_object_that_is_not_retried_any_more_is_removed() {
        let (backoff, now) = (Refusals::default(), Instant::now());
        backoff.record_failure("blue", now, "no");
        backoff.record_failure("green", now + BACKOFF_MIN + BACKOFF_MAX, "no");
        backoff.forget_old(now + BACKOFF_MIN + BACKOFF_MAX);
        assert_eq!(backoff.lock().len(), 1);
    }
}
