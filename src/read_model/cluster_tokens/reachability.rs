//! Whether a server answers: a pause of requests to one that does not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After a request without an answer, no request is sent for a while. Then one is sent after each pause, until one is
/// answered.
#[derive(Debug)]
pub(super) struct Reachability {
    pause: Duration,
    /// The end of the pause; `None`: the server answers.
    paused_until: Mutex<Option<Instant>>,
}

impl Reachability {
    /// A server that answers. `pause` must be longer than a request may take.
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, paused_until: Mutex::default() }
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.lock().is_some_and(|end| now < end)
    }

    /// Whether the caller may send a request. After a pause one caller may, and begins the next pause for the others.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut end = self.lock();
        let is_paused = end.is_some_and(|end| now < end);
        if !is_paused && end.is_some() {
            *end = Some(now + self.pause);
        }
        !is_paused
    }

    /// Returns whether the server did not answer before.
    pub(super) fn answered(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Returns whether the server answered before.
    pub(super) fn not_answered(&self, now: Instant) -> bool {
        self.lock().replace(now + self.pause).is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    #[test]
    fn one_request_is_sent_after_each_pause_until_one_is_answered() {
        let start = Instant::now();
        let server = Reachability::new(PAUSE);
        assert!(server.admits(start) && server.admits(start) && !server.is_paused(start));
        assert!(!server.answered());
        assert!(server.not_answered(start) && !server.not_answered(start), "only the first is news");
        let before = start + PAUSE - Duration::from_millis(1);
        assert!(!server.admits(before) && server.is_paused(before));

        let first = start + PAUSE;
        assert!(!server.is_paused(first) && server.admits(first));
        assert!(!server.admits(first) && server.is_paused(first), "the others do not wait for it");
        let second = first + PAUSE;
        assert!(server.admits(second), "the first was cancelled");
        assert!(server.answered() && !server.is_paused(second));
        assert!(server.admits(second) && server.admits(second));
    }
}
