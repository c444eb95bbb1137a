use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limit() -> FailureLimit {
    FailureLimit::new(NonZeroU32::new(60))
}

fn client(id: &str) -> ClientCredential {
    ClientCredential::Certificate { client_id: id.to_owned() }
}

fn source(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The number of attempts of this client that may begin and then fail.
fn failures(limit: &FailureLimit, source: impl Into<Option<IpAddr>>, id: &str) -> usize {
    let source = source.into();
    (0..1_000).filter(|_| limit.attempt(source, Some(&client(id)), || false).is_ok()).count()
}

fn succeed(limit: &FailureLimit, source: IpAddr, id: &str, namespace: &str) -> bool {
    let presented = client(id);
    let attempt = limit.attempt(Some(source), Some(&presented), || false);
    attempt.is_ok_and(|attempt| {
        attempt.succeeded(&namespace.into());
        true
    })
}

#[tokio::test(start_paused = true)]
async fn q2_failures_use_up_the_bucket_of_their_network_and_successes_do_not() {
    let limit = limit();
    assert!((0..1_000).all(|_| succeed(&limit, source(1), "good", "billing")));
    assert_eq!(failures(&limit, source(1), "bad"), 60);
    assert_eq!(limit.check_network(Some(source(1))), Err(SECOND));
    assert_eq!((limit.check_network(Some(source(2))), failures(&limit, source(2), "bad")), (Ok(()), 60));
    tokio::time::advance(SECOND * 2).await;
    assert_eq!(failures(&limit, source(1), "bad"), 2, "one a second");
}

#[tokio::test(start_paused = true)]
async fn q2_undecided_attempts_count() {
    let limit = limit();
    let presented = client("bad");
    let attempts: Vec<_> =
        (0..100).map_while(|_| limit.attempt(Some(source(1)), Some(&presented), || false).ok()).collect();
    assert_eq!(attempts.len(), 60);
    attempts.into_iter().for_each(Attempt::put_back);
    assert_eq!(failures(&limit, source(1), "bad"), 60);
}

#[tokio::test(start_paused = true)]
async fn q2_a_client_that_is_known_at_the_network_has_its_own_bucket() {
    let limit = limit();
    assert!(succeed(&limit, source(1), "known", "billing"));
    assert_eq!(failures(&limit, source(1), "bad"), 60);
    assert!(limit.has_clients(Some(source(1))) && limit.serves_client(Some(source(1)), "known"));
    assert!(!limit.serves_client(Some(source(1)), "bad") && !limit.serves_client(Some(source(2)), "known"));
    assert!((0..1_000).all(|_| succeed(&limit, source(1), "known", "billing")));
    assert!(!succeed(&limit, source(1), "other", "billing"));
    assert_eq!(failures(&limit, source(1), "known"), 60);
    assert!(!limit.serves_client(Some(source(1)), "known"), "others failed with its id");
    let presented = client("known");
    assert!(limit.attempt(Some(source(1)), Some(&presented), || true).is_ok(), "its secret cannot be guessed");
    tokio::time::advance(Duration::from_mins(31)).await;
    assert!(!limit.has_clients(Some(source(1))));
    assert_eq!(failures(&limit, source(1), "known"), 60, "it is not known any more");
}

#[tokio::test(start_paused = true)]
async fn q2_nothing_that_a_caller_controls_gives_it_another_bucket() {
    let limit = limit();
    let network = |host: u32| address(&format!("2001:db8::{host:x}"));
    let taken = (0..1_000).filter(|host| limit.attempt(Some(network(*host)), None, || false).is_ok()).count();
    assert_eq!(taken, 60, "one /64");
    let taken = (0..1_000).filter(|id| failures(&limit, network(*id), &id.to_string()) > 0).count();
    assert_eq!(taken, 0, "whatever client it names");
    assert_eq!(failures(&limit, address("192.0.2.1"), "bad"), 60);
    assert_eq!(failures(&limit, address("::ffff:192.0.2.1"), "bad"), 0, "the same address");
    assert_eq!((failures(&limit, None, "bad"), failures(&limit, None, "bad")), (60, 0), "unknown sources share one");
}

#[tokio::test(start_paused = true)]
async fn q2_many_sources_take_a_bounded_memory() {
    let limit = limit();
    for number in 0..50_000 {
        assert!(limit.attempt(Some(source(number)), None, || false).is_ok());
    }
    let tables = limit.0.as_ref().unwrap();
    assert!((NETWORKS_MAX / 2..=NETWORKS_MAX).contains(&tables.networks.keys()), "{}", tables.networks.keys());
    for number in 0..50_000 {
        assert!(succeed(&limit, source(number), "known", "billing"));
    }
    assert_eq!(tables.known.pairs(), PAIRS_MAX.div_ceil(5), "the share of one namespace");
    for number in 0..50_000 {
        assert!(succeed(&limit, source(number), "known", &format!("tenant-{}", number % 100)));
    }
    assert!(tables.known.pairs() <= PAIRS_MAX);
    assert!(succeed(&limit, source(50_000), "known", "newcomer") && limit.has_clients(Some(source(50_000))));
    tokio::time::advance(Duration::from_mins(31)).await;
    assert!(succeed(&limit, source(60_000), "known", "billing"));
    assert_eq!(tables.known.pairs(), 1, "the others are not known any more");
}

#[tokio::test(start_paused = true)]
async fn q2_without_a_limit_everything_may_begin_and_nothing_is_remembered() {
    let limit = FailureLimit::new(None);
    assert_eq!(failures(&limit, source(1), "bad"), 1_000);
    assert!(succeed(&limit, source(1), "good", "billing"));
    assert!(limit.check_network(Some(source(1))).is_ok() && !limit.has_clients(Some(source(1))));
}
