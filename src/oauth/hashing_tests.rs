use super::*;

#[derive(Default)]
struct Counts {
    hashes: AtomicUsize,
}

impl Meter for Counts {
    fn hash_started(&self) {}
    fn hash_ended(&self, _: Duration) {
        self.hashes.fetch_add(1, Ordering::Relaxed);
    }
    fn signed(&self, _: Duration) {}
}

fn secret(keys: &InstallKeys, value: &str) -> (SecretRecord, Arc<SecretVersion>) {
    let uid = [1; 16];
    let version = Arc::new(SecretVersion {
        id: "k7Qd0m2x".to_owned(),
        verifier: keys.hash(value, uid, Strength::Generated).unwrap().into(),
        imported: false,
        accepted_until: None,
        memory: Arc::default(),
    });
    let object = crate::oauth::client::ObjectRevision {
        kind: "ClientSecret",
        namespace: "n".into(),
        name: "s".into(),
        resource_version: 1,
    };
    let versions = vec![Arc::clone(&version)];
    let record = SecretRecord {
        object,
        uid,
        uses: crate::oauth::client::Uses::ALL,
        networks: None,
        grant: Arc::default(),
        authority: "".into(),
        expires_at: None,
        closed: None,
        versions,
    };
    (record, version)
}

fn limits(concurrent: usize, waiting: usize, wait_ms: u64) -> HashLimits {
    HashLimits { concurrent, waiting, wait: Duration::from_millis(wait_ms), ..HashLimits::default() }
}

#[tokio::test]
async fn a6_a_value_that_was_right_is_remembered_and_a_wrong_one_is_not() {
    let counts = Arc::new(Counts::default());
    let hasher = Hasher::new(HashLimits::default(), Arc::clone(&counts) as Arc<dyn Meter>);
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let (secret, version) = secret(&keys, "right");
    for (value, matches, remembered) in [("wrong", false, false), ("right", true, true), ("wrong", false, false)] {
        assert_eq!(hasher.verify(&keys, &secret, &version, value).await, Ok(matches));
        assert_eq!(Hasher::remembers(&secret, &version, value), remembered);
    }
    assert_eq!(counts.hashes.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a6_an_exchanged_verifier_is_not_believed_because_of_an_earlier_success() {
    let hasher = Hasher::new(HashLimits::default(), Arc::new(Counts::default()));
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let (secret, version) = secret(&keys, "right");
    assert_eq!(hasher.verify(&keys, &secret, &version, "right").await, Ok(true));
    let exchanged = Arc::new(SecretVersion {
        id: version.id.clone(),
        verifier: keys.hash("another", secret.uid, Strength::Generated).unwrap().into(),
        imported: false,
        accepted_until: None,
        memory: version.memory.clone(),
    });
    assert!(Hasher::remembers(&secret, &version, "right") && !Hasher::remembers(&secret, &exchanged, "right"));
    assert_eq!(hasher.verify(&keys, &secret, &exchanged, "right").await, Ok(false));
}

#[tokio::test]
async fn a6_more_than_the_bound_are_refused_and_places_are_given_back() {
    let hasher = Hasher::new(limits(1, 0, 1000), Arc::new(Counts::default()));
    let held = hasher.permit(Strength::Generated).await.unwrap();
    assert_eq!(hasher.permit(Strength::Generated).await.err(), Some(Unavailable::Overloaded));
    assert_eq!(hasher.permit(Strength::Generated).await.err(), Some(Unavailable::Overloaded));
    drop(held);
    assert!(hasher.permit(Strength::Generated).await.is_ok());
}

#[tokio::test]
async fn a6_who_waits_is_counted_as_long_as_it_waits() {
    let hasher = Hasher::new(limits(1, 1, 60_000), Arc::new(Counts::default()));
    let held = hasher.permit(Strength::Generated).await.unwrap();
    let mut first = Box::pin(hasher.permit(Strength::Generated));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(hasher.permit(Strength::Generated));
    let refused = futures::poll!(&mut second).map(Result::err);
    assert_eq!(refused, std::task::Poll::Ready(Some(Unavailable::Overloaded)), "the one place is taken");
    drop(held);
    assert!(first.await.is_ok());
}

#[tokio::test]
async fn a6_expensive_values_do_not_keep_cheap_ones_waiting() {
    let hasher = Hasher::new(limits(2, 0, 1000), Arc::new(Counts::default()));
    let _held = hasher.permit(Strength::Imported).await.unwrap();
    assert_eq!(hasher.permit(Strength::Imported).await.err(), Some(Unavailable::Overloaded));
    assert!(hasher.permit(Strength::Generated).await.is_ok());
}

#[tokio::test]
async fn a6_values_of_which_there_is_no_verifier_neither_wait_for_the_lane_nor_fill_it() {
    let counts = Arc::new(Counts::default());
    let hasher = Hasher::new(limits(2, 0, 1000), Arc::clone(&counts) as Arc<dyn Meter>);
    let keys = Arc::new(InstallKeys::generate().unwrap());
    let nothing = || hasher.verify_nothing(&keys, "of nobody", Strength::Imported);
    assert_eq!(nothing().await, Ok(()));
    let held = hasher.permit(Strength::Imported).await.unwrap();
    for _ in 0..10 {
        assert_eq!(nothing().await, Ok(()), "not refused either, or it would be told from a wrong value");
    }
    assert_eq!(counts.hashes.load(Ordering::Relaxed), 1, "only while the lane is free");
    drop(held);
    assert!(hasher.permit(Strength::Imported).await.is_ok());
}

#[tokio::test]
async fn a6_wrong_values_for_one_secret_take_one_place_in_the_lane() {
    let hasher = Hasher::new(limits(2, 1, 60_000), Arc::new(Counts::default()));
    let flooded = hasher.turn([1; 16]).await.unwrap();
    let mut second = Box::pin(hasher.turn([1; 16]));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(hasher.turn([1; 16]).await.err(), Some(Unavailable::Overloaded), "its places are taken");
    assert!(hasher.turn([2; 16]).await.is_ok(), "another secret has its own");
    drop(flooded);
    assert!(second.await.is_ok());
}

#[tokio::test]
async fn a6_waiting_is_bounded_in_time() {
    let hasher = Hasher::new(limits(1, 10, 50), Arc::new(Counts::default()));
    let _held = hasher.permit(Strength::Generated).await.unwrap();
    assert_eq!(hasher.permit(Strength::Generated).await.err(), Some(Unavailable::Overloaded));
}
