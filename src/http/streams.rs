//! Whether anybody uses an HTTP/2 connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The streams of one connection.
pub(super) struct Streams {
    began: Instant,
    used: Arc<Used>,
}

#[derive(Default)]
struct Used {
    /// Requests that are being answered.
    open: AtomicUsize,
    /// When the last one was, in milliseconds since the connection began; 0: none was.
    last_ms: AtomicU64,
}

impl Streams {
    /// Those of a connection that begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), used: Arc::default() }
    }

    /// The answer; until it is there, or nobody wants it any more, the connection is in use.
    pub(super) fn during<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
        let open = Open::new(self.began, Arc::clone(&self.used));
        async move {
            let answer = answer.await;
            drop(open);
            answer
        }
    }

    /// Returns when no request has been open for this long.
    pub(super) async fn unused_for(&self, limit: Duration) {
        let mut left = limit;
        loop {
            tokio::time::sleep(left).await;
            left = if self.used.open.load(Ordering::Acquire) > 0 {
                limit
            } else {
                let last = Duration::from_millis(self.used.last_ms.load(Ordering::Acquire));
                limit.saturating_sub(self.began.elapsed().saturating_sub(last))
            };
            if left.is_zero() {
                return;
            }
        }
    }
}

/// A request that is being answered.
struct Open(Instant, Arc<Used>);

impl Open {
    fn new(began: Instant, used: Arc<Used>) -> Self {
        used.open.fetch_add(1, Ordering::AcqRel);
        Self(began, used)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self(began, used) = self;
        used.last_ms.fetch_max(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
        used.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_unused_from_its_beginning() {
        let streams = Streams::new();
        streams.unused_for(LIMIT).await;
        assert_eq!(streams.began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_unused_from_the_end_of_its_last_request() {
        let streams = Streams::new();
        let requests = async {
            for _ in 0..5 {
                tokio::time::sleep(LIMIT / 2).await;
                streams.during(tokio::time::sleep(LIMIT * 2)).await;
            }
            streams.began.elapsed()
        };
        let (last, ()) = tokio::join!(requests, streams.unused_for(LIMIT));
        assert_eq!(streams.began.elapsed(), last + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_nobody_waits_for_any_more_does_not_keep_a_connection() {
        let streams = Streams::new();
        drop(streams.during(std::future::pending::<()>()));
        streams.unused_for(LIMIT).await;
    }
}
