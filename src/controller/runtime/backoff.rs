//! Exponential backoff for each operation that the API server has refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The wait after the first refusal, …
const FIRST: Duration = Duration::from_secs(2);
/// … doubled up to this limit: a raised quota takes effect within five minutes, at twelve attempts an hour.
const LONGEST: Duration = Duration::from_mins(5);

/// The last refusal of each operation. The caller chooses the key.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Refused>>);

/// A refusal, and the time of the next attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    until: Instant,
    length: Duration,
    /// The message of the API server.
    pub(crate) message: String,
}

impl Backoff {
    /// The message to report, and the wait, after a refusal at `now`.
    ///
    /// A refusal before the wait has ended, because an object changed, does not extend the wait. Its message is not
    /// reported either: some messages differ each time (a port, a random value), and reporting a new one is a change
    /// that triggers the next attempt immediately.
    pub(crate) fn record_failure(&self, what: &str, now: Instant, words: &str) -> Refused {
        let mut all = self.lock();
        let length = match all.get(what) {
            Some(refused) if now < refused.until => return refused.clone(),
            Some(refused) => (refused.length * 2).min(LONGEST),
            None => FIRST,
        };
        let refused = Refused { until: now + length, length, message: words.to_owned() };
        all.insert(what.to_owned(), refused.clone());
        refused
    }

    /// The refusal because of which `what` has to wait.
    pub(crate) fn waiting(&self, what: &str, now: Instant) -> Option<Refused> {
        self.lock().get(what).filter(|refused| now < refused.until).cloned()
    }

    /// The last message of the API server about `what`.
    pub(crate) fn message(&self, what: &str) -> Option<String> {
        self.lock().get(what).map(|refused| refused.message.clone())
    }

    /// Removes the refusals of operations that are no longer tried.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.lock().retain(|_, refused| now < refused.until + LONGEST);
    }

    /// Removes the entry: the operation succeeded.
    pub(crate) fn forget(&self, what: &str) {
        self.lock().remove(what);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    /// The wait from `now`.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_and_again_is_tried_less_and_less_often_and_no_event_changes_that() {
        let (backoff, mut now) = (Backoff::default(), Instant::now());
        for (number, seconds) in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            let (words, half) = (format!("no, from port {number}"), Duration::from_secs(seconds) / 2);
            assert_eq!(backoff.waiting("blue", now), None);
            let refused = backoff.record_failure("blue", now, &words);
            assert_eq!((refused.wait(now), &refused.message), (2 * half, &words));
            let early = backoff.record_failure("blue", now + half, "no, from another port");
            assert_eq!(
                (early.wait(now + half), &early.message),
                (half, &words),
                "tried early, because something changed"
            );
            assert_eq!(backoff.waiting("blue", now + half), Some(early));
            now += 2 * half;
        }
        assert_eq!(backoff.record_failure("green", now, "no").wait(now), FIRST, "each for itself");
        backoff.forget("blue");
        assert_eq!(backoff.record_failure("blue", now, "no").wait(now), FIRST, "it went well meanwhile");
    }

    #[test]
    fn what_is_not_tried_any_more_takes_no_room() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        backoff.record_failure("blue", now, "no");
        backoff.record_failure("green", now + FIRST + LONGEST, "no");
        backoff.forget_old(now + FIRST + LONGEST);
        assert_eq!(backoff.lock().len(), 1);
    }
}
