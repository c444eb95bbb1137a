use futures::future::BoxFuture;

use super::fair_queue::Permit;
use super::*;
use crate::oauth::client_record::Verification;

#[derive(Default)]
struct Counts {
    hashes: AtomicUsize,
}

impl HashMetrics for Counts {
    fn hash_started(&self) {}
    fn hash_ended(&self, _: Duration) {
        self.hashes.fetch_add(1, Ordering::Relaxed);
    }
    fn signed(&self, _: Duration) {}
}

fn secret(keys: &InstallKeys, value: &str) -> (SecretRecord, Arc<SecretVersion>) {
    let (uid, strength) = ([1; 16], HashCost::Generated);
    let version = Arc::new(SecretVersion {
        id: "k7Qd0m2x".to_owned(),
        verification: Verification::Generated(keys.hash(value, uid, strength).unwrap().into()),
        accepted_until: None,
        memory: Arc::default(),
    });
    let object = crate::oauth::client_record::ObjectRevision {
        kind: "ClientSecret",
        namespace: "n".into(),
        name: "s".into(),
        resource_version: 1,
    };
    (record(object, uid, vec![Arc::clone(&version)]), version)
}

fn record(
    object: crate::oauth::client_record::ObjectRevision,
    uid: [u8; 16],
    versions: Vec<Arc<SecretVersion>>,
) -> SecretRecord {
    SecretRecord {
        object,
        uid,
        usages: crate::oauth::client_record::Usages::ALL,
        networks: None,
        grant: Arc::default(),
        authority: "".into(),
        expires_at: None,
        disabled: None,
        versions,
    }
}

/// A ClientSecret of a namespace.
fn of(namespace: &str, uid: u8) -> SecretRecord {
    let (namespace, name) = (namespace.into(), "s".into());
    let object =
        crate::oauth::client_record::ObjectRevision { kind: "ClientSecret", namespace, name, resource_version: 1 };
    record(object, [uid; 16], vec![])
}

fn limits(concurrent: usize, waiting: usize, wait_ms: u64) -> HashLimits {
    let wait = Duration::from_millis(wait_ms);
    HashLimits { concurrent, waiting, waiting_imported: waiting, wait, ..HashLimits::default() }
}

#[tokio::test]
async fn a6_a_correct_value_is_cached_and_a_wrong_one_is_not() {
    let counts = Arc::new(Counts::default());
    let hasher = HashPool::new(HashLimits::default(), Arc::clone(&counts) as Arc<dyn HashMetrics>);
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let (secret, version) = secret(&keys, "right");
    for (value, matches, remembered) in [("wrong", false, false), ("right", true, true), ("wrong", false, false)] {
        assert_eq!(hasher.verify(&keys, &secret, &version, value).await, Ok(matches));
        assert_eq!(HashPool::is_cached(&secret, &version, value), remembered);
    }
    assert_eq!(counts.hashes.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a6_a_replaced_verifier_is_checked_again_despite_an_earlier_success() {
    let hasher = HashPool::new(HashLimits::default(), Arc::new(Counts::default()));
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let (secret, version) = secret(&keys, "right");
    assert_eq!(hasher.verify(&keys, &secret, &version, "right").await, Ok(true));
    let exchanged = Arc::new(SecretVersion {
        id: version.id.clone(),
        verification: Verification::Generated(keys.hash("another", secret.uid, HashCost::Generated).unwrap().into()),
        accepted_until: None,
        memory: version.memory.clone(),
    });
    assert!(HashPool::is_cached(&secret, &version, "right") && !HashPool::is_cached(&secret, &exchanged, "right"));
    assert_eq!(hasher.verify(&keys, &secret, &exchanged, "right").await, Ok(false));
}

async fn generated(hasher: &HashPool) -> Result<OwnedSemaphorePermit, Unavailable> {
    hasher.generated_permit().await
}

#[tokio::test]
async fn a6_requests_beyond_the_bound_are_refused_and_slots_are_released() {
    let hasher = HashPool::new(limits(1, 0, 1000), Arc::new(Counts::default()));
    let held = generated(&hasher).await.unwrap();
    assert_eq!(generated(&hasher).await.err(), Some(Unavailable::Overloaded));
    assert_eq!(generated(&hasher).await.err(), Some(Unavailable::Overloaded));
    drop(held);
    assert!(generated(&hasher).await.is_ok());
}

#[tokio::test]
async fn a6_a_waiting_request_is_counted_while_it_waits() {
    let hasher = HashPool::new(limits(1, 1, 60_000), Arc::new(Counts::default()));
    let held = generated(&hasher).await.unwrap();
    let mut first = Box::pin(generated(&hasher));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(generated(&hasher));
    let refused = futures::poll!(&mut second).map(Result::err);
    assert_eq!(refused, std::task::Poll::Ready(Some(Unavailable::Overloaded)), "the one place is taken");
    drop(held);
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn q2_hashes_beyond_the_rate_are_refused_and_a_known_value_needs_none() {
    let per_second = std::num::NonZeroU32::new(2);
    let counts = Arc::new(Counts::default());
    let meter = Arc::clone(&counts) as Arc<dyn HashMetrics>;
    let hasher = HashPool::new(HashLimits { per_second, ..HashLimits::default() }, meter);
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let (secret, version) = secret(&keys, "right");
    assert_eq!(hasher.verify(&keys, &secret, &version, "right").await, Ok(true));
    assert_eq!(hasher.verify(&keys, &secret, &version, "wrong").await, Ok(false));
    assert_eq!(hasher.verify(&keys, &secret, &version, "wrong").await, Err(Unavailable::HashLimit));
    let dummy = hasher.dummy_verify(&keys, "wrong", HashCost::Generated).await;
    assert_eq!(dummy, Err(Unavailable::HashLimit), "a refusal takes no more than a success");
    assert!(HashPool::is_cached(&secret, &version, "right"));
    assert_eq!(counts.hashes.load(Ordering::Relaxed), 2);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(hasher.verify(&keys, &secret, &version, "wrong").await, Ok(false));
}

#[tokio::test]
async fn a6_expensive_values_do_not_keep_cheap_ones_waiting() {
    let hasher = HashPool::new(limits(2, 0, 1000), Arc::new(Counts::default()));
    let _held = hasher.imported.free_permit().unwrap();
    let refused = hasher.imported.permit(&of("a", 1), hasher.limits.wait).await;
    assert_eq!(refused.err(), Some(Unavailable::Overloaded));
    assert!(generated(&hasher).await.is_ok());
}

#[tokio::test]
async fn a6_values_without_a_verifier_neither_wait_for_the_pool_nor_fill_it() {
    let counts = Arc::new(Counts::default());
    let hasher = HashPool::new(limits(2, 0, 1000), Arc::clone(&counts) as Arc<dyn HashMetrics>);
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let nothing = || hasher.dummy_verify(&keys, "of nobody", HashCost::Imported);
    assert_eq!(nothing().await, Ok(()));
    let held = hasher.imported.free_permit().unwrap();
    for _ in 0..10 {
        assert_eq!(nothing().await, Ok(()), "not refused either, or it could be distinguished from a wrong value");
    }
    assert_eq!(counts.hashes.load(Ordering::Relaxed), 1, "only while the lane is free");
    drop(held);
    assert!(hasher.imported.free_permit().is_some());
}

#[tokio::test]
async fn a6_waiting_is_bounded_in_time() {
    let hasher = HashPool::new(limits(2, 10, 50), Arc::new(Counts::default()));
    let _held = (generated(&hasher).await.unwrap(), generated(&hasher).await.unwrap());
    assert_eq!(generated(&hasher).await.err(), Some(Unavailable::Overloaded));
    let _held = hasher.imported.free_permit().unwrap();
    let refused = hasher.imported.permit(&of("a", 1), hasher.limits.wait).await;
    assert_eq!(refused.err(), Some(Unavailable::Overloaded));
    assert!(hasher.imported.is_empty(), "its place is free again");
}

/// Requests that wait in a queue, each for a secret.
async fn waiting<'a>(
    line: &'a FairQueue,
    secrets: &'a [SecretRecord],
) -> Vec<BoxFuture<'a, Result<Permit, Unavailable>>> {
    let mut requests: Vec<BoxFuture<'_, _>> = Vec::new();
    for secret in secrets {
        let mut request: BoxFuture<'_, _> = Box::pin(line.permit(secret, Duration::from_mins(1)));
        assert!(futures::poll!(&mut request).is_pending());
        requests.push(request);
    }
    requests
}

/// The numbers of the requests in the order in which they are served.
async fn served(mut requests: Vec<BoxFuture<'_, Result<Permit, Unavailable>>>) -> Vec<usize> {
    let mut order = Vec::new();
    while order.len() < requests.len() {
        for (number, request) in requests.iter_mut().enumerate().filter(|(number, _)| !order.contains(number)) {
            if let std::task::Poll::Ready(permit) = futures::poll!(request) {
                // Serves the next request.
                drop(permit.unwrap());
                order.push(number);
                break;
            }
        }
    }
    order
}

#[tokio::test]
async fn a6_namespaces_are_served_in_turn_and_their_secrets_in_turn() {
    let line = FairQueue::new(1, 1_000);
    let held = line.free_permit().unwrap();
    let secrets =
        [("flooded", 1), ("flooded", 1), ("flooded", 1), ("flooded", 2), ("other", 3), ("other", 3), ("third", 4)];
    let secrets = secrets.map(|(namespace, uid)| of(namespace, uid));
    let requests = waiting(&line, &secrets).await;
    drop(held);
    assert_eq!(served(requests).await, [0, 4, 6, 3, 5, 1, 2]);
    assert!(line.is_empty());
}

#[tokio::test]
async fn a6_a_flood_for_one_secret_leaves_slots_for_its_namespace_and_for_other_namespaces() {
    let line = FairQueue::new(1, 1_000);
    let _held = line.free_permit().unwrap();
    let mut kept = Vec::new();
    let mut places = async |namespace: &str, uid: u8| {
        let secret = Box::leak(Box::new(of(namespace, uid)));
        for number in 0.. {
            let mut request: BoxFuture<'_, _> = Box::pin(line.permit(secret, Duration::from_mins(1)));
            if futures::poll!(&mut request).is_ready() {
                return number;
            }
            kept.push(request);
        }
        0
    };
    assert_eq!((places("flooded", 1).await, places("flooded", 2).await), (40, 32));
    for uid in 3..30 {
        places("flooded", uid).await;
    }
    assert_eq!(places("flooded", 30).await, 0, "the namespace has its share");
    assert!(places("other", 31).await >= 30, "and others have theirs");
}

#[tokio::test]
async fn a6_a_dropped_request_releases_its_slot_and_its_permit() {
    let line = FairQueue::new(1, 1_000);
    let held = line.free_permit().unwrap();
    let secrets = [of("a", 1), of("a", 1), of("b", 2), of("c", 3)];
    let mut requests = waiting(&line, &secrets).await;
    drop(requests.remove(1));
    drop(requests.remove(0));
    drop(held);
    // The first request has its permit now, and is dropped before it receives the permit.
    drop(requests.remove(0));
    assert!(requests.remove(0).await.is_ok());
    assert!(line.is_empty() && line.free_permit().is_some());
}
