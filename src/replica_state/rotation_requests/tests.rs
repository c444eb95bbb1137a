//! Which rotation requests are written, with an in-memory API server that can be unavailable.

use super::super::cas_object::tests::{FakeStateStore, Fate};
use super::*;

fn secret_of(namespace: &str, name: &str) -> ObjectRevision {
    ObjectRevision { kind: "ClientSecret", namespace: namespace.into(), name: name.into(), resource_version: 1 }
}

fn process(store: &FakeStateStore) -> Arc<RotationRequests<FakeStateStore>> {
    Arc::new(RotationRequests::new(store.clone(), ReplicaStateSpec::default(), "1"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Requests the rotation of a version in namespace billing.
async fn ask(requests: &Arc<RotationRequests<FakeStateStore>>, name: &str, version: &str, second: i64) -> CommitResult {
    requests.record(&"client".into(), &secret_of("billing", name), version, at(second)).await
}

fn asked_for(store: &FakeStateStore) -> Vec<String> {
    store.said().into_values().flat_map(|spec| spec.rotations).map(|asked| asked.name).collect()
}

#[tokio::test(start_paused = true)]
async fn an_accepted_request_is_kept_and_a_failed_one_is_not_written_later() {
    for fate in [Fate::Refused, Fate::Delayed] {
        let store = FakeStateStore::default();
        let requests = process(&store);
        assert_eq!(ask(&requests, "first", "a", 1_000).await, Ok(()));
        store.next(fate);
        assert_eq!(ask(&requests, "given-up", "b", 1_000).await, Err(RecordError::Behind));
        store.next(Fate::Taken);
        // The abandoned write arrives before the next one, or after.
        store.arrive();
        assert_eq!(ask(&requests, "last", "c", 1_000).await, Ok(()));
        assert_eq!(asked_for(&store), ["first", "last"], "{fate:?}");
    }
    let store = FakeStateStore::default();
    let requests = process(&store);
    store.next(Fate::Delayed);
    assert_eq!(ask(&requests, "given-up", "b", 1_000).await, Err(RecordError::Behind));
    store.next(Fate::Taken);
    assert_eq!(ask(&requests, "last", "c", 1_000).await, Ok(()));
    store.arrive();
    assert_eq!(asked_for(&store), ["last"]);
}

#[tokio::test]
async fn an_object_has_one_request_of_a_secret_and_none_that_is_old() {
    let store = FakeStateStore::default();
    let requests = process(&store);
    for (name, version, minute) in [("blue", "a", 1), ("green", "a", 2), ("blue", "b", 3), ("red", "a", 12)] {
        assert_eq!(ask(&requests, name, version, minute * 60).await, Ok(()));
    }
    assert_eq!(asked_for(&store), ["blue", "red"]);
}

#[tokio::test]
async fn a_request_that_is_repeated_is_written_once_until_it_is_old() {
    let store = FakeStateStore::default();
    let requests = process(&store);
    for second in 0..599 {
        assert_eq!(ask(&requests, "blue", "a", second).await, Ok(()));
    }
    assert_eq!(store.written().len(), 1);
    assert_eq!(ask(&requests, "blue", "b", 599).await, Ok(()));
    assert_eq!(store.written().len(), 2, "another version is another request");
    assert_eq!(ask(&requests, "blue", "b", 1_199).await, Ok(()));
    assert_eq!(store.written().len(), 3, "the controller has not acted on the first");
}

#[tokio::test(start_paused = true)]
async fn requests_that_arrive_during_a_write_are_written_together() {
    let store = FakeStateStore::default();
    let requests = process(&store);
    let writing = requests.document.lock().await;
    let secrets = ["blue", "green", "red"];
    let all = futures::future::join_all(secrets.map(|name| ask(&requests, name, "a", 1_000)));
    let mut all = Box::pin(all);
    assert!(futures::poll!(&mut all).is_pending());
    assert_eq!(requests.batch.len(), 3);
    drop(writing);
    assert_eq!((all.await, store.written().len()), (vec![Ok(()); 3], 1));
    assert_eq!(asked_for(&store), secrets);
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_client_are_limited_and_those_of_others_are_not_affected() {
    let store = FakeStateStore::default();
    let requests = process(&store);
    let mut answers = Vec::new();
    for number in 0..100 {
        answers.push(ask(&requests, &format!("s{number}"), "a", 1_000).await);
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    assert_eq!(answers[20..], vec![Err(RecordError::too_often(Duration::from_mins(1))); 80]);
    assert_eq!(store.written().len(), 20);
    assert_eq!(ask(&requests, "s0", "a", 1_001).await, Ok(()), "answered from memory");
    let other = secret_of("ledger", "other");
    assert_eq!(requests.record(&"another".into(), &other, "a", at(1_001)).await, Ok(()));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(ask(&requests, "later", "a", 1_060).await, Ok(()));
    assert_eq!(ask(&requests, "too-soon", "a", 1_060).await.map_err(|_| ()), Err(()));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_floods_rotation_requests_leaves_room_for_others() {
    let store = FakeStateStore::default();
    let requests = process(&store);
    let ask = |namespace: &'static str, number: usize| {
        let requests = Arc::clone(&requests);
        async move {
            let secret = secret_of(namespace, &format!("s{number}"));
            requests.record(&format!("client-{namespace}-{number}").into(), &secret, "a", at(1_000)).await
        }
    };
    let flood = futures::future::join_all((0..ENTRIES_MAX).map(|number| ask("greedy", number))).await;
    let accepted = flood.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, ENTRIES_MAX / 5);
    assert!(flood.iter().all(|answer| matches!(answer, Ok(()) | Err(RecordError::NoRoom))));
    for number in 0..8 {
        assert_eq!(ask("honest", number).await, Ok(()), "{number}");
    }
}
