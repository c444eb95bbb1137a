//! Reviews by a fake API server.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use super::*;
use crate::kube_client::fake_api_server;

const AUDIENCE: &str = "https://postern.example.com";
const DELETED: &str = "service account token has been invalidated";

/// What the API server does with a request.
#[derive(Clone, Copy)]
enum Behaviour {
    Accepts,
    /// `status.error` of the answer.
    Rejects(&'static str),
    /// The request fails with this status.
    Fails(u16),
    /// The connection is refused.
    Refuses,
    /// There is no answer.
    Hangs,
    /// Accepts after this time.
    Slow(Duration),
}

/// An API server, and the number of requests that reached it.
struct ApiServer {
    behaviour: Lock<Behaviour>,
    requests: AtomicUsize,
}

impl ApiServer {
    fn new(behaviour: Behaviour) -> (Arc<Self>, Reviews) {
        let server = Arc::new(Self { behaviour: Lock::new(behaviour), requests: AtomicUsize::default() });
        let shared = Arc::clone(&server);
        let client = fake_api_server::client(move |_| {
            let server = Arc::clone(&shared);
            async move { server.answer().await }
        });
        (server, Reviews::new(client))
    }

    async fn answer(&self) -> std::io::Result<(u16, Value)> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self.behaviour.lock().unwrap();
        let review = |status: Value| json!({"metadata": {}, "spec": {}, "status": status});
        let accepted = review(json!({"authenticated": true, "audiences": [AUDIENCE]}));
        Ok(match behaviour {
            Behaviour::Accepts => (201, accepted),
            Behaviour::Slow(time) => {
                sleep(time).await;
                (201, accepted)
            }
            Behaviour::Hangs => std::future::pending().await,
            Behaviour::Rejects(error) => (201, review(json!({"authenticated": false, "error": error}))),
            Behaviour::Fails(code) => (code, json!({"kind": "Status", "status": "Failure", "code": code})),
            Behaviour::Refuses => return Err(std::io::ErrorKind::ConnectionRefused.into()),
        })
    }

    fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn rejected(rule: DenialRule) -> Result<(), ReviewError> {
    Err(ReviewError::Rejected(rule))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_for_ten_seconds() {
    for behaviour in [Behaviour::Accepts, Behaviour::Rejects(DELETED), Behaviour::Rejects("etcdserver: timed out")] {
        let (server, reviews) = ApiServer::new(behaviour);
        let first = reviews.review("token", AUDIENCE).await;
        advance(REVIEW_TTL.saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(reviews.review("token", AUDIENCE).await, first);
        assert_eq!(server.requests(), 1);
        advance(Duration::from_millis(1)).await;
        assert_eq!(reviews.review("token", AUDIENCE).await, first);
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_accepted_again_after_an_error_of_the_api_server() {
    for (error, rule) in [
        (DELETED, DenialRule::PodDeleted),
        ("serviceaccounts \"sync\" not found", DenialRule::ServiceAccountDeleted),
        ("[invalid bearer token, etcdserver: request timed out]", DenialRule::ServiceAccountTokenRejected),
    ] {
        let (server, reviews) = ApiServer::new(Behaviour::Rejects(error));
        assert_eq!(reviews.review("token", AUDIENCE).await, rejected(rule));
        server.becomes(Behaviour::Accepts);
        advance(REVIEW_TTL).await;
        assert_eq!(reviews.review("token", AUDIENCE).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_only_what_was_deleted_stays_rejected() {
    for outage in [Behaviour::Refuses, Behaviour::Fails(500)] {
        for (before, expected) in [
            (Behaviour::Accepts, Ok(())),
            (Behaviour::Rejects(DELETED), rejected(DenialRule::PodDeleted)),
            (Behaviour::Rejects("service account UID (a) does not match"), rejected(DenialRule::ServiceAccountDeleted)),
            (Behaviour::Rejects("etcdserver: request timed out"), Ok(())),
        ] {
            let (server, reviews) = ApiServer::new(before);
            let _ = reviews.review("token", AUDIENCE).await;
            server.becomes(outage);
            for _ in 0..3 {
                advance(REVIEW_TTL).await;
                assert_eq!(reviews.review("token", AUDIENCE).await, expected);
            }
            assert_eq!(reviews.review("another", AUDIENCE).await, Ok(()), "the signature decides");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_may_not_ask_accepts_no_token() {
    for code in [401, 403] {
        let (_server, reviews) = ApiServer::new(Behaviour::Fails(code));
        assert_eq!(reviews.review("token", AUDIENCE).await, Err(ReviewError::Unavailable));
    }
}

/// Reviews of these tokens at the same time, and the time until the last one.
async fn together(reviews: &Reviews, tokens: &[String]) -> (Vec<Result<(), ReviewError>>, Duration) {
    let start = Instant::now();
    let results = join_all(tokens.iter().map(|token| reviews.review(token, AUDIENCE))).await;
    (results, start.elapsed())
}

fn tokens(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_hangs_every_signature_decides_and_one_token_at_a_time_is_asked_for() {
    let (server, reviews) = ApiServer::new(Behaviour::Rejects(DELETED));
    let deleted = rejected(DenialRule::PodDeleted);
    assert_eq!(reviews.review("deleted", AUDIENCE).await, deleted);
    advance(REVIEW_TTL).await;
    server.becomes(Behaviour::Hangs);
    let (results, took) = together(&reviews, &tokens("first", 200)).await;
    assert_eq!((results, took), (vec![Ok(()); 200], REVIEW_TIMEOUT));
    assert_eq!(server.requests(), 1 + CONCURRENT_MAX);
    let (results, took) = together(&reviews, &tokens("second", 200)).await;
    assert_eq!((results, took), (vec![Ok(()); 200], Duration::ZERO));
    assert_eq!(reviews.review("deleted", AUDIENCE).await, deleted);
    assert_eq!(server.requests(), 1 + CONCURRENT_MAX);

    advance(PAUSE).await;
    let (results, took) = together(&reviews, &tokens("third", 200)).await;
    assert_eq!((results, took), (vec![Ok(()); 200], REVIEW_TIMEOUT));
    assert_eq!(server.requests(), 2 + CONCURRENT_MAX, "one asks");
    server.becomes(Behaviour::Rejects(DELETED));
    advance(PAUSE).await;
    let (results, _) = together(&reviews, &tokens("fourth", 20)).await;
    assert_eq!(results[0], deleted);
    let (results, _) = together(&reviews, &tokens("fifth", 20)).await;
    assert_eq!(results, vec![deleted; 20], "the API server answers again");
}

#[tokio::test(start_paused = true)]
async fn requests_with_the_same_token_do_not_wait_one_after_the_other_for_an_api_server_that_hangs() {
    let (server, reviews) = ApiServer::new(Behaviour::Hangs);
    let (results, took) = together(&reviews, &vec!["token".to_owned(); 50]).await;
    assert_eq!((results, took, server.requests()), (vec![Ok(()); 50], REVIEW_TIMEOUT, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_bounded_time_until_it_may_ask() {
    let (_server, reviews) = ApiServer::new(Behaviour::Slow(REVIEW_TIMEOUT.saturating_sub(Duration::from_millis(1))));
    let mut waiting = tokens("first", CONCURRENT_MAX);
    // The first of them asks in the second round, and the other one waits for its answer.
    waiting.extend(["same".to_owned(), "same".to_owned()]);
    let (results, _) = together(&reviews, &waiting).await;
    assert_eq!(results[..=CONCURRENT_MAX], [Ok(()); CONCURRENT_MAX + 1]);
    assert_eq!(results[CONCURRENT_MAX + 1], Err(ReviewError::Unavailable));
    let (results, took) = together(&reviews, &tokens("second", 3 * CONCURRENT_MAX)).await;
    assert_eq!(results.iter().filter(|result| **result == Err(ReviewError::Unavailable)).count(), CONCURRENT_MAX);
    assert!(took < WAIT_MAX + REVIEW_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_the_api_server_returns_pauses_nothing() {
    let (server, reviews) = ApiServer::new(Behaviour::Fails(500));
    for token in tokens("token", 3) {
        assert_eq!(reviews.review(&token, AUDIENCE).await, Ok(()));
    }
    assert_eq!(server.requests(), 3);
}
