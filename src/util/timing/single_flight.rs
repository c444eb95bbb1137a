//! Single-flight: callers that need the same result share one read.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::duty_cycle::DutyCycle;

/// Shares reads. Callers that arrive during a read share the next one. A pause follows each read.
#[derive(Debug)]
pub struct SingleFlight<T> {
    duty: DutyCycle,
    last: Mutex<Option<Flight<T>>>,
}

#[derive(Debug)]
struct Flight<T> {
    began: Instant,
    took: Duration,
    result: T,
}

impl<T: Clone> SingleFlight<T> {
    /// `duty` bounds the share of the time in which a read runs.
    #[must_use]
    pub fn new(duty: DutyCycle) -> Self {
        Self { duty, last: Mutex::default() }
    }

    /// The result of `read`, or of another read that began after this call.
    ///
    /// # Errors
    /// The error of `read`. It is returned to this caller alone.
    pub async fn run<E, F>(&self, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let came = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(last) = &*last {
            if last.began >= came {
                return Ok(last.result.clone());
            }
            tokio::time::sleep_until(last.began + last.took + self.duty.pause(last.took)).await;
        }
        let began = Instant::now();
        let result = read().await?;
        *last = Some(Flight { began, took: began.elapsed(), result: result.clone() });
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const QUARTER: DutyCycle = DutyCycle { factor: 3, min: Duration::ZERO, max: Duration::from_millis(500) };

    #[tokio::test(start_paused = true)]
    async fn each_caller_gets_a_read_that_began_after_its_call_and_few_reads_are_made() {
        let (turns, reads) = (SingleFlight::new(QUARTER), Cell::new(0));
        let read = || async {
            reads.set(reads.get() + 1);
            let found = reads.get();
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, ()>(found)
        };
        let one = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let before = reads.get();
            let found = turns.run(read).await.unwrap();
            assert!(found > before, "{found} had begun before");
        };
        futures::future::join_all((0..1_000).map(one)).await;
        assert_eq!(reads.get(), 4, "at 0, 400, 800 and 1200 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_after_a_slow_read_is_shorter_than_the_read() {
        let turns = SingleFlight::new(QUARTER);
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, ()>(1)
        };
        let start = Instant::now();
        turns.run(slow).await.unwrap();
        turns.run(|| async { Ok::<_, ()>(2) }).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(1_500));
    }

    #[tokio::test]
    async fn the_result_of_a_failed_read_is_not_reused() {
        let turns = SingleFlight::new(QUARTER);
        let away = || async { Err("no answer") };
        assert!(turns.run(away).await.is_err());
        assert_eq!(turns.run(|| async { Ok::<_, &str>(7) }).await.unwrap(), 7);
    }
}
