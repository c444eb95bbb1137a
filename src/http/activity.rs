//! The activity of one connection: whether it is in use, and whether its client reads the responses.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests that a client may cancel on one connection, in excess of those that were answered. A client that exceeds
/// this only causes work, and its connection is closed.
const ABANDONED_MAX: u64 = 100;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests whose response is not sent yet.
    open: AtomicUsize,
    /// When the last request ended, in milliseconds since the connection began; 0: never.
    last_ms: AtomicU64,
    /// When the first byte of an incomplete request head arrived, in the same unit; 0: there is none.
    head_ms: AtomicU64,
    /// Numbers requests.
    count: AtomicU64,
    /// Responses that are not sent yet, with the time when each became available.
    unsent: Mutex<Vec<(u64, Instant)>>,
    answered: AtomicU64,
    abandoned: AtomicU64,
    given_up: Notify,
}

impl Activity {
    /// The activity of a new connection.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            open: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(0),
            count: AtomicU64::new(0),
            unsent: Mutex::default(),
            answered: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            given_up: Notify::new(),
        })
    }

    /// A request begins. It is open until the returned guard is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.head_ms.store(0, Ordering::Release);
        Open { activity: Arc::clone(self), number: self.count.fetch_add(1, Ordering::Relaxed), is_answered: false }
    }

    /// The time since which no request is open. `None` while one is open.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        if self.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        Some(self.at(self.last_ms.load(Ordering::Acquire)))
    }

    fn at(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes arrived (HTTP/1.1). While no request is open, they are the start of a head.
    ///
    /// Bytes that arrive together with the end of the previous request are ignored: with them alone a connection is
    /// idle.
    pub(super) fn received(&self) {
        if self.open.load(Ordering::Acquire) == 0 && self.head_ms.load(Ordering::Acquire) == 0 {
            self.head_ms.store(self.elapsed_ms().max(1), Ordering::Release);
        }
    }

    /// The bytes that arrived last were not a head.
    pub(super) fn discarded(&self) {
        self.head_ms.store(0, Ordering::Release);
    }

    /// Returns when a request head has been incomplete for `head`, or no request has been open for `idle` (HTTP/1.1).
    pub(super) async fn overdue(&self, head: Duration, idle: Duration) {
        loop {
            let left = match self.head_ms.load(Ordering::Acquire) {
                0 => self.idle_since().map_or(idle, |since| idle.saturating_sub(since.elapsed())),
                began => head.saturating_sub(self.at(began).elapsed()),
            };
            if left.is_zero() {
                return;
            }
            // A head that starts during the sleep times out later than the sleep ends.
            tokio::time::sleep(left.min(head)).await;
        }
    }

    /// Returns when no request has been open for this long.
    pub(super) async fn wait_idle(&self, limit: Duration) {
        let mut left = limit;
        while !left.is_zero() {
            tokio::time::sleep(left).await;
            left = self.idle_since().map_or(limit, |since| limit.saturating_sub(since.elapsed()));
        }
    }

    /// Returns when a response has not been read for this long, or the client cancels too many requests.
    pub(super) async fn misused(&self, limit: Duration) {
        // At most a tenth more than the limit, and a wake-up every three seconds with the default.
        while !self.is_misused(limit) {
            let _ = tokio::time::timeout(limit / 10, self.given_up.notified()).await;
        }
    }

    fn is_misused(&self, limit: Duration) -> bool {
        self.gives_up_all() || self.unsent().iter().any(|(_, since)| since.elapsed() >= limit)
    }

    fn gives_up_all(&self) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        self.abandoned.load(Ordering::Relaxed).saturating_sub(answered) > ABANDONED_MAX
    }

    fn unsent(&self) -> MutexGuard<'_, Vec<(u64, Instant)>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose response is not sent yet.
#[derive(Debug)]
pub(super) struct Open {
    activity: Arc<Activity>,
    number: u64,
    is_answered: bool,
}

impl Open {
    /// The response is available; from now on its duration depends on the client.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        self.activity.answered.fetch_add(1, Ordering::Relaxed);
        self.activity.unsent().push((self.number, Instant::now()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let activity = &self.activity;
        if self.is_answered {
            activity.unsent().retain(|(number, _)| *number != self.number);
        } else {
            activity.abandoned.fetch_add(1, Ordering::Relaxed);
            if activity.gives_up_all() {
                activity.given_up.notify_one();
            }
        }
        activity.last_ms.fetch_max(activity.elapsed_ms(), Ordering::AcqRel);
        activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_unused_from_its_beginning() {
        let activity = Activity::new();
        activity.wait_idle(LIMIT).await;
        assert_eq!(activity.began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_unused_from_the_end_of_its_last_request() {
        let activity = Activity::new();
        let requests = async {
            for _ in 0..5 {
                tokio::time::sleep(LIMIT / 2).await;
                let _open = activity.open();
                tokio::time::sleep(LIMIT * 2).await;
            }
            activity.began.elapsed()
        };
        let (last, ()) = tokio::join!(requests, activity.wait_idle(LIMIT));
        assert_eq!(activity.began.elapsed(), last + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_request_has_its_own_limit_from_its_first_byte() {
        const HEAD: Duration = Duration::from_secs(3);
        let activity = Activity::new();
        let requests = async {
            for _ in 0..3 {
                tokio::time::sleep(LIMIT / 2).await;
                activity.received();
                tokio::time::sleep(HEAD / 2).await;
                drop(activity.open());
            }
            tokio::time::sleep(LIMIT / 2).await;
            activity.received();
            let first = activity.began.elapsed();
            tokio::time::sleep(HEAD / 2).await;
            activity.received();
            first
        };
        let (first, ()) = tokio::join!(requests, activity.overdue(HEAD, LIMIT));
        assert_eq!(activity.began.elapsed(), first + HEAD, "further bytes give no more time");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_discarded_begin_no_head() {
        let activity = Activity::new();
        activity.received();
        activity.discarded();
        activity.overdue(LIMIT / 10, LIMIT).await;
        assert_eq!(activity.began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_request_does_not_keep_a_connection_open() {
        let activity = Activity::new();
        drop(activity.open());
        activity.wait_idle(LIMIT).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_closes_the_connection_even_if_others_are_read() {
        let activity = Activity::new();
        let mut stuck = activity.open();
        stuck.answered();
        let others = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                activity.open().answered();
            }
        };
        tokio::select! {
            () = activity.misused(LIMIT) => {}
            () = others => {}
        }
        assert!((LIMIT..LIMIT * 2).contains(&activity.began.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn abandoning_many_requests_in_a_row_is_misuse_and_abandoning_every_second_one_is_not() {
        let activity = Activity::new();
        for _ in 0..10 * ABANDONED_MAX {
            drop(activity.open());
            activity.open().answered();
        }
        assert!(!activity.is_misused(LIMIT));
        for _ in 0..=ABANDONED_MAX {
            drop(activity.open());
        }
        assert!(activity.is_misused(LIMIT));
    }
}
