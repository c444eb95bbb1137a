//! What is recorded of revocations, with an in-memory API server that can be unavailable.

use super::super::cas_object::tests::{FakeStateStore, Fate};
use super::*;

const NOW: Timestamp = Timestamp::constant(1_000, 0);
const END: i64 = 2_000;

/// A process that writes to `store`.
fn process(store: &FakeStateStore) -> Arc<Revocations<FakeStateStore>> {
    let (token_state, empty_spec) = (Arc::default(), ReplicaStateSpec::default());
    Arc::new(Revocations::new(store.clone(), token_state, empty_spec, "1".to_owned()))
}

async fn revoke(process: &Arc<Revocations<FakeStateStore>>, jti: &str) -> CommitResult {
    process.revoke(jti, END, &"client".into(), &"billing".into(), NOW).await
}

/// The tokens that every replica treats as revoked, once for each time that they are written.
fn written(store: &FakeStateStore) -> Vec<String> {
    store.said().into_values().flat_map(|spec| spec.revoked).map(|revoked| revoked.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_revocation_answered_with_503_is_not_written_with_a_later_one() {
    for fate in [Fate::Refused, Fate::Delayed] {
        let store = FakeStateStore::default();
        let process = process(&store);
        assert_eq!(revoke(&process, "before").await, Ok(()));
        store.next(fate);
        for _ in 0..3 {
            assert_eq!(revoke(&process, "failed").await, Err(RecordError::Behind));
        }
        store.next(Fate::Taken);
        assert!(!process.token_state.is_revoked("failed"));
        assert_eq!(revoke(&process, "after").await, Ok(()));
        assert_eq!(written(&store), ["after", "before"], "{fate:?}");
        assert_eq!(revoke(&process, "failed").await, Ok(()));
        assert_eq!(written(&store), ["after", "before", "failed"], "once, however often it was asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_write_that_arrives_removes_no_revocation_and_is_kept() {
    for arrives_first in [true, false] {
        let store = FakeStateStore::default();
        let process = process(&store);
        store.next(Fate::Delayed);
        revoke(&process, "given-up").await.unwrap_err();
        store.next(Fate::Taken);
        if arrives_first {
            store.arrive();
        }
        assert_eq!(revoke(&process, "promised").await, Ok(()));
        store.arrive();
        assert_eq!(revoke(&process, "next").await, Ok(()));
        let expected: &[&str] = if arrives_first { &["given-up", "next", "promised"] } else { &["next", "promised"] };
        assert_eq!(written(&store), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_disconnects_does_not_fail_others_that_wait_for_the_same_write() {
    let store = FakeStateStore::default();
    let process = process(&store);
    // During a write two more arrive, and the one that would have written both is dropped.
    let writing = process.objects.lock().await;
    let task = |jti: &'static str| {
        tokio::spawn({
            let process = Arc::clone(&process);
            async move { revoke(&process, jti).await }
        })
    };
    let (goes, stays) = (task("goes"), task("stays"));
    while process.batch.len() < 2 {
        tokio::task::yield_now().await;
    }
    goes.abort();
    drop(writing);
    assert_eq!(stays.await.unwrap(), Ok(()));
    assert_eq!((written(&store), store.written().len()), (vec!["goes".to_owned(), "stays".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_is_requested_twice_concurrently_is_written_once() {
    let store = FakeStateStore::default();
    let process = process(&store);
    let both = futures::future::join(revoke(&process, "jti"), revoke(&process, "jti")).await;
    assert_eq!((both, written(&store)), ((Ok(()), Ok(())), vec!["jti".to_owned()]));
    assert_eq!(revoke(&process, "jti").await, Ok(()));
    assert_eq!(store.written().len(), 1, "what is already published is not written again");
}

#[test]
fn no_namespace_uses_the_whole_quota_and_expired_revocations_release_it() {
    let (now, over) = (NOW, Timestamp::from_second(END).unwrap());
    let told = |object: usize| {
        let token = |number| (format!("{object}-{number}"), RevokedToken { until: over, namespace: "greedy".into() });
        (0..PER_OBJECT).map(token).collect()
    };
    let mut objects: Vec<Object> = (0..LIVE_MAX / PER_OBJECT / 5 - 1)
        .map(|number| Object { document: CasObject::new(String::new()), told: told(number) })
        .collect();
    let full = objects.len();
    let mut room = Quota::left(&mut objects, now);
    let taken: Vec<usize> = std::iter::from_fn(|| room.take(&"greedy".into())).collect();
    assert_eq!(taken, [full; PER_OBJECT], "a fifth of all");
    assert_eq!(room.take(&"other".into()), Some(full + 1));
    let others = (0..10).flat_map(|number| std::iter::repeat_n(Arc::from(format!("other-{number}")), LIVE_MAX));
    let refused = others.filter(|namespace| room.take(namespace).is_none()).count();
    assert!(refused > 0 && room.take(&"new".into()).is_some());
    assert_eq!(Quota::left(&mut objects, over).take(&"greedy".into()), Some(0));
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_client_are_limited_and_those_of_others_are_not_affected() {
    let store = FakeStateStore::default();
    let process = process(&store);
    let mut answers = Vec::new();
    for number in 0..200 {
        answers.push(revoke(&process, &format!("jti-{number}")).await);
    }
    assert!(answers[..100].iter().all(Result::is_ok) && answers[101..].iter().all(Result::is_err), "{answers:?}");
    assert!(matches!(answers[199], Err(RecordError::TooOften(_))));
    assert_eq!(store.written().len(), 100);
    assert_eq!(revoke(&process, "jti-0").await, Ok(()), "it is revoked already");
    assert_eq!(process.revoke("other", END, &"another".into(), &"billing".into(), NOW).await, Ok(()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(revoke(&process, "later").await, Ok(()));
}
