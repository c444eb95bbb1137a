//! How long to wait before something is tried again that the API server has refused: longer each time, for each thing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After the first refusal, …
const FIRST: Duration = Duration::from_secs(2);
/// … doubled up to this: a quota that was raised is noticed in five minutes, and until then there are twelve attempts an
/// hour.
const LONGEST: Duration = Duration::from_mins(5);

/// What was refused last time, by what was tried, in words of the caller's choice.
#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<HashMap<String, Refused>>);

/// A refusal, and when to try again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    until: Instant,
    length: Duration,
    /// What the API server said.
    pub(super) words: String,
}

impl Backoff {
    /// What to tell, and how long to wait, after a refusal at `now`.
    ///
    /// One that comes before the wait was over, because something changed meanwhile, makes it no longer. Nor are its words
    /// told: those of some refusals are new each time (a port, a random value), and telling them is a change that has the
    /// same thing tried at once.
    pub(super) fn after_refusal(&self, what: &str, now: Instant, words: &str) -> Refused {
        let mut all = self.lock();
        let length = match all.get(what) {
            Some(refused) if now < refused.until => return refused.clone(),
            Some(refused) => (refused.length * 2).min(LONGEST),
            None => FIRST,
        };
        let refused = Refused { until: now + length, length, words: words.to_owned() };
        all.insert(what.to_owned(), refused.clone());
        refused
    }

    /// The refusal after which `what` is not to be tried yet.
    pub(super) fn waiting(&self, what: &str, now: Instant) -> Option<Refused> {
        self.lock().get(what).filter(|refused| now < refused.until).cloned()
    }

    /// What the API server said of it last.
    pub(super) fn words(&self, what: &str) -> Option<String> {
        self.lock().get(what).map(|refused| refused.words.clone())
    }

    /// Forgets what is not tried any more.
    pub(super) fn forget_old(&self, now: Instant) {
        self.lock().retain(|_, refused| now < refused.until + LONGEST);
    }

    /// It was not refused.
    pub(super) fn forget(&self, what: &str) {
        self.lock().remove(what);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    /// How long to wait from `now` on.
    pub(super) fn wait(&self, now: Instant) -> Duration {
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
            let refused = backoff.after_refusal("blue", now, &words);
            assert_eq!((refused.wait(now), &refused.words), (2 * half, &words));
            let early = backoff.after_refusal("blue", now + half, "no, from another port");
            assert_eq!(
                (early.wait(now + half), &early.words),
                (half, &words),
                "tried early, because something changed"
            );
            assert_eq!(backoff.waiting("blue", now + half), Some(early));
            now += 2 * half;
        }
        assert_eq!(backoff.after_refusal("green", now, "no").wait(now), FIRST, "each for itself");
        backoff.forget("blue");
        assert_eq!(backoff.after_refusal("blue", now, "no").wait(now), FIRST, "it went well meanwhile");
    }

    #[test]
    fn what_is_not_tried_any_more_takes_no_room() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        backoff.after_refusal("blue", now, "no");
        backoff.after_refusal("green", now + FIRST + LONGEST, "no");
        backoff.forget_old(now + FIRST + LONGEST);
        assert_eq!(backoff.lock().len(), 1);
    }
}
