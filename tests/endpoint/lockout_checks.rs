//! Lock-out of a client whose imported values are checked: what counts before a response, and without one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use postern::oauth::client_record::ClientRecord;
use postern::oauth::client_store::{CatchUpError, Lookup};
use postern::oauth::hash_pool::HashLimits;

use crate::authentication::hashes;
use crate::lockout::ask;
use crate::rate_limits::imported;
use crate::server::{CLIENT_ID, Credential, Options, TestServer, record};

const SOURCE: &str = "192.0.2.1";

/// A client with one imported value, and a server that checks one at a time.
async fn server() -> (TestServer, Credential) {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let hash = HashLimits { imported: 1, ..HashLimits::default() };
    let server = TestServer::start_with(Options { trusted_proxies, hash, ..Options::default() }).await;
    let credential = imported(&server, "three-of-hearts-and-spades");
    server.clients.put(record(&credential));
    (server, credential)
}

fn change(server: &TestServer, credential: &Credential, change: impl FnOnce(&mut ClientRecord)) {
    let mut client = record(credential);
    change(&mut client);
    server.clients.put(client);
}

async fn is_accepted(server: &TestServer, credential: &Credential) -> bool {
    let status = ask(server, SOURCE, &credential.value).await.status;
    assert!(matches!(status, 200 | 401), "{status}");
    status == 200
}

fn wrong(value: usize) -> String {
    format!("a-wrong-value-of-some-length-{value}")
}

async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes to pass");
}

#[tokio::test]
async fn q1_a_wrong_value_counts_although_the_replica_cannot_catch_up() {
    for (error, status) in [(CatchUpError::Behind, 503), (CatchUpError::RateLimited, 429)] {
        let (server, credential) = server().await;
        *server.clients.catch_up.lock().unwrap() = Err(error);
        for value in 0..10 {
            assert_eq!(ask(&server, SOURCE, &wrong(value)).await.status, status);
        }
        assert_eq!(hashes(&server), 5, "the client is locked");
        assert_eq!(ask(&server, SOURCE, &credential.value).await.status, status, "so is the correct value");
        *server.clients.catch_up.lock().unwrap() = Ok(());
        assert_eq!(ask(&server, SOURCE, &credential.value).await.status, 401);
        assert_eq!(ask(&server, "198.51.100.1", &credential.value).await.status, 200);
    }
}

#[tokio::test]
async fn q1_a_correct_value_that_a_rule_refuses_does_not_count_although_the_replica_cannot_catch_up() {
    let (server, credential) = server().await;
    change(&server, &credential, |client| {
        client.lockout.policy.attempts = 1;
        client.secrets[0].networks = Some(["10.0.0.0/8".parse().unwrap()].into());
    });
    *server.clients.catch_up.lock().unwrap() = Err(CatchUpError::Behind);
    for _ in 0..2 {
        assert_eq!(ask(&server, SOURCE, &credential.value).await.status, 503);
    }
    *server.clients.catch_up.lock().unwrap() = Ok(());
    change(&server, &credential, |client| client.lockout.policy.attempts = 1);
    assert!(is_accepted(&server, &credential).await);
}

#[tokio::test]
async fn q1_a_value_that_the_replica_knows_after_catching_up_does_not_count() {
    let (server, credential) = server().await;
    change(&server, &credential, |client| client.lockout.policy.attempts = 1);
    let new = imported(&server, "nine-of-hearts-and-spades");
    let mut client = record(&new);
    client.lockout.policy.attempts = 1;
    server.clients.upcoming(CLIENT_ID, Lookup::Live(client.into()));
    assert!(is_accepted(&server, &new).await);
    assert!(is_accepted(&server, &new).await, "it has not locked the client");
}

/// No response is sent before the checks of all requests have ended.
#[tokio::test]
async fn q1_requests_at_the_same_time_check_no_more_values_than_attempts() {
    let (server, credential) = server().await;
    server.clients.may_ask.forget_permits(1);
    let values: Vec<String> = (0..30).map(wrong).collect();
    let answers = join_all(values.iter().map(|value| ask(&server, SOURCE, value)));
    let release = async {
        until(|| server.clients.asking.load(Ordering::Relaxed) == 5).await;
        // The pending values count for a further request, also before any of them is counted.
        assert_eq!(ask(&server, SOURCE, &wrong(100)).await.status, 503);
        server.clients.may_ask.add_permits(1);
    };
    let (answers, ()) = futures::future::join(answers, release).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 503)));
    assert_eq!(hashes(&server), 5);
    assert!(!is_accepted(&server, &credential).await);
}

#[tokio::test]
async fn q1_a_wrong_value_counts_although_its_client_disconnects() {
    let (server, credential) = server().await;
    server.clients.may_ask.forget_permits(1);
    for value in 0..5 {
        let wrong = wrong(value);
        let request = ask(&server, SOURCE, &wrong);
        let asked = until(|| server.clients.asking.load(Ordering::Relaxed) > value);
        tokio::select! {
            _ = request => panic!("nothing answers"),
            () = asked => {}
        }
    }
    server.clients.may_ask.add_permits(1);
    while is_accepted(&server, &credential).await {}
}
