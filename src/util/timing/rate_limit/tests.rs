use super::*;

/// More keys than any test but one uses.
const KEYS_MAX: usize = 1024;

fn rate() -> Rate {
    Rate { burst: 3, every: Duration::from_secs(10) }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_rate_applies_after_a_burst_and_a_long_pause_allows_no_more_than_a_burst() {
    let (bucket, buckets) = (Bucket::new(rate()), Buckets::new(rate(), KEYS_MAX));
    for (pause, expected) in [(0, 3), (9, 0), (1, 1), (5, 0), (5, 1), (25, 2), (1_000, 3)] {
        pass(pause).await;
        let taken = (0..10).filter(|_| bucket.take().is_ok()).count();
        let of_key = (0..10).filter(|_| buckets.take(&"a").is_ok()).count();
        assert_eq!((taken, of_key), (expected, expected), "after {pause} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_caller_gets_the_time_to_wait_and_then_succeeds() {
    let buckets = Buckets::new(rate(), KEYS_MAX);
    (0..3).for_each(|_| assert_eq!(buckets.take(&"a"), Ok(())));
    pass(4).await;
    assert_eq!(buckets.take(&"a"), Err(Duration::from_secs(6)));
    assert_eq!(buckets.take(&"b"), Ok(()), "each key has its own");
    pass(6).await;
    assert_eq!(buckets.take(&"a"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_peek_takes_nothing() {
    let buckets = Buckets::new(rate(), KEYS_MAX);
    (0..10).for_each(|_| assert_eq!(buckets.peek(&"a"), Ok(())));
    assert_eq!(buckets.keys(), 0);
    (0..3).for_each(|_| assert_eq!(buckets.take(&"a"), Ok(())));
    assert_eq!(buckets.peek(&"a"), Err(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_can_be_taken_again_and_a_bucket_never_holds_more_than_its_size() {
    let buckets = Buckets::new(rate(), KEYS_MAX);
    (0..3).for_each(|_| assert_eq!(buckets.take(&"a"), Ok(())));
    buckets.put_back(&"a");
    assert_eq!((buckets.take(&"a"), buckets.take(&"a").is_err()), (Ok(()), true));
    (0..10).for_each(|_| buckets.put_back(&"a"));
    buckets.put_back(&"unknown");
    assert_eq!(buckets.keys(), 0, "a full bucket needs no memory");
    assert_eq!((0..10).filter(|_| buckets.take(&"a").is_ok()).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_is_bounded_and_those_that_were_used_last_are_kept() {
    let buckets = Buckets::new(rate(), KEYS_MAX);
    (0..3).for_each(|_| buckets.take(&u32::MAX).unwrap());
    for number in 0..100_000_u32 {
        assert_eq!(buckets.take(&number), Ok(()));
        if number % 100 == 0 {
            pass(10).await;
            assert_eq!(buckets.take(&u32::MAX), Ok(()), "one event each ten seconds");
            assert!(buckets.take(&u32::MAX).is_err(), "the empty bucket is remembered at {number}");
        }
        assert!(buckets.keys() <= KEYS_MAX);
    }
    assert!(buckets.keys() >= KEYS_MAX / 2);
}

#[test]
fn rates_are_events_in_a_time() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let every = |rate: Rate| (rate.burst, rate.every);
    assert_eq!(every(Rate::per_minute(number(300))), (300, Duration::from_millis(200)));
    assert_eq!(every(Rate::per_second(number(20_000))), (20_000, Duration::from_micros(50)));
}

#[test]
fn a_wait_is_rounded_up_to_whole_seconds() {
    for (milliseconds, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
        assert_eq!(whole_seconds(Duration::from_millis(milliseconds)).get(), seconds, "{milliseconds} ms");
    }
}
