//! Reviews by a fake API server.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;

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
        let service = tower::service_fn(move |_: Request<Body>| {
            let server = Arc::clone(&shared);
            async move { server.answer() }
        });
        (server, Reviews::new(Client::new(service, "default")))
    }

    fn answer(&self) -> Result<Response<Full<Bytes>>, std::io::Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self.behaviour.lock().unwrap();
        let review = |status: Value| json!({"metadata": {}, "spec": {}, "status": status});
        let (code, answer) = match behaviour {
            Behaviour::Accepts => (201, review(json!({"authenticated": true, "audiences": [AUDIENCE]}))),
            Behaviour::Rejects(error) => (201, review(json!({"authenticated": false, "error": error}))),
            Behaviour::Fails(code) => (code, json!({"kind": "Status", "status": "Failure", "code": code})),
            Behaviour::Refuses => return Err(std::io::ErrorKind::ConnectionRefused.into()),
        };
        Ok(Response::builder().status(code).body(Full::new(Bytes::from(answer.to_string()))).unwrap())
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
        advance(REVIEW_TTL - Duration::from_millis(1)).await;
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
