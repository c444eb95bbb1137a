//! Counts in a status change in bursts; a burst is told once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Key;

/// How long counts may be behind. Long enough for a burst of secrets, short enough for a person.
const BURST: Duration = Duration::from_millis(500);

/// When the count of each object that has a new one is to be written.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<Key, Instant>>);

impl Pace {
    /// How long to wait before the new count of `key` is written; `None`: now.
    pub(super) fn wait(&self, key: &Key, now: Instant) -> Option<Duration> {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = due.entry(key.clone()).or_insert(now + BURST).saturating_duration_since(now);
        if wait.is_zero() {
            due.remove(key);
        }
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_once_and_the_next_one_again() {
        let (pace, start) = (Pace::default(), Instant::now());
        let key = Key::new("billing", "sync");
        assert_eq!(pace.wait(&key, start), Some(BURST));
        assert_eq!(pace.wait(&key, start + BURST / 2), Some(BURST / 2));
        assert_eq!(pace.wait(&key, start + BURST), None);
        assert_eq!(pace.wait(&key, start + BURST), Some(BURST));
    }
}
