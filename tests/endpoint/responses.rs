//! R: responses and errors.

use std::sync::Arc;
use std::time::Duration;

use postern::crypto::keyset::JwkSet;
use postern::crypto::opaque::TokenKeys;
use postern::oauth::client_record::{SigningAlgorithm, TokenFormat};
use postern::oauth::client_store::Availability;
use postern::oauth::hash_pool::HashLimits;

use crate::http_client::Reply;
use crate::server::{CLIENT_ID, FORM, GRANT, Options, TestServer, basic, record};

fn is_private_json(reply: &Reply) -> bool {
    reply.header("content-type") == Some("application/json")
        && reply.header("cache-control") == Some("no-store")
        && reply.header("pragma") == Some("no-cache")
}

/// The same response for every kind of refusal that the caller can provoke.
async fn refusals(server: &TestServer) -> Vec<Reply> {
    let secret = format!("client_secret={}", server.credential.value);
    vec![
        server.get("/oauth2/token").await,
        server.get("/nothing").await,
        server.send("POST", "/oauth2/token", &[], GRANT).await,
        server.send("POST", &format!("/oauth2/token?{secret}"), &[FORM], GRANT).await,
        server.post(&[], "").await,
        server.post(&[], "grant_type=%3Czqxj%3E").await,
        server.post(&[], GRANT).await,
        server.post(&[("authorization", "Basic ???")], GRANT).await,
        server.post(&[("authorization", &basic("<zqxj>:pst_"))], GRANT).await,
        server.token("scope=%3Czqxj%3E").await,
        server.token("scope=a%0D%0Ab").await,
        server.token("resource=%3Czqxj%3E").await,
        server.token("audience=%3Czqxj%3E").await,
    ]
}

#[tokio::test]
async fn r1_success_is_200_json_that_must_not_be_stored() {
    let server = TestServer::start().await;
    let reply = server.token("").await;
    assert_eq!(reply.status, 200);
    assert!(is_private_json(&reply), "{:?}", reply.headers);
}

#[tokio::test]
async fn r2_token_type_and_an_integer_expires_in_are_always_there() {
    let server = TestServer::start().await;
    let answer = server.token("").await.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"].as_i64(), Some(900));
    assert!(answer["access_token"].as_str().is_some_and(|token| token.split('.').count() == 3));
}

#[tokio::test]
async fn r3_scope_is_always_there() {
    let server = TestServer::start().await;
    assert_eq!(server.token("scope=invoices:read").await.json()["scope"], "invoices:read");
    assert_eq!(server.token("").await.json()["scope"], "invoices:list invoices:read");
}

#[tokio::test]
async fn r4_errors_are_json_with_a_plain_description() {
    let server = TestServer::start().await;
    for reply in refusals(&server).await {
        let answer = reply.json();
        assert!(answer["error"].is_string(), "{answer}");
        let description = answer["error_description"].as_str().unwrap();
        let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!description.is_empty() && description.bytes().all(plain), "{description}");
        assert_eq!(reply.status == 401, answer["error"] == "invalid_client");
    }
}

#[tokio::test]
async fn r5_every_401_carries_a_basic_challenge_and_the_json() {
    let server = TestServer::start().await;
    let unknown = basic(&format!("{CLIENT_ID}:{}", server.credential().value));
    for reply in [
        server.post(&[], GRANT).await,
        server.post(&[("authorization", &unknown)], GRANT).await,
        server.post(&[("authorization", "Bearer x")], GRANT).await,
        server.post(&[], &format!("{GRANT}&client_id={CLIENT_ID}&client_secret=x")).await,
    ] {
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic realm=\""));
    }
}

#[tokio::test]
async fn r6_an_endpoint_that_is_not_synced_or_stale_answers_503_with_retry_after() {
    let server = TestServer::start().await;
    for availability in [Availability::NotSynced, Availability::Stale] {
        *server.clients.availability.lock().unwrap() = availability;
        for reply in [server.token("").await, server.post(&[], GRANT).await] {
            assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()));
            assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            assert!(is_private_json(&reply));
        }
        // The result depends only on the keys.
        assert_eq!(server.get("/.well-known/oauth-authorization-server").await.status, 200);
    }
    *server.clients.availability.lock().unwrap() = Availability::Serving;
    assert_eq!(server.token("").await.status, 200);
}

#[tokio::test]
async fn r6_without_keys_the_answer_is_503_and_with_them_200() {
    let server = TestServer::start_with(Options { keys: false, ..Options::default() }).await;
    assert_eq!(server.token("").await.error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(server.get("/oauth2/jwks").await.status, 503);
    server.keys.install.store(Some(server.install.clone()));
    assert_eq!(server.token("").await.error(), (503, "temporarily_unavailable".to_owned()));
    server.keys.signing.store(Some(crate::server::key_set().into()));
    assert_eq!(server.token("").await.status, 200);
    // A key of the algorithm that is published and does not sign yet.
    let published = crate::server::key_set();
    let only_published = |algorithm| published.signing_key(algorithm).cloned();
    let (es256, rs256) = (only_published(SigningAlgorithm::Es256), only_published(SigningAlgorithm::Rs256));
    server.keys.signing.store(Some(JwkSet::with_others(rs256, es256).into()));
    assert_eq!(server.token("").await.error(), (503, "temporarily_unavailable".to_owned()), "no other algorithm signs");
}

#[tokio::test]
async fn r6_without_a_key_that_encrypts_an_opaque_token_is_refused_with_503() {
    let server = TestServer::start().await;
    let mut client = record(&server.credential);
    client.token.format = TokenFormat::Opaque { idle: None };
    server.clients.put(client);
    assert_eq!(server.token("").await.status, 200);
    for keys in [Some(TokenKeys::default()), None] {
        server.keys.tokens.store(keys.map(Arc::new));
        assert_eq!(server.token("").await.error(), (503, "temporarily_unavailable".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_overload_is_503_with_retry_after() {
    let (waiting, wait) = (0, Duration::ZERO);
    let hash = HashLimits { concurrent: 1, waiting, waiting_imported: 0, wait, ..HashLimits::default() };
    let server = TestServer::start_with(Options { hash, ..Options::default() }).await;
    let unknown: Vec<String> = (0..64).map(|_| basic(&format!("unknown:{}", server.credential().value))).collect();
    // The limit is one hash at a time: sends requests until two of them overlap.
    for _ in 0..200 {
        let sent = unknown.iter().map(|header| async { server.post(&[("authorization", header)], GRANT).await });
        for reply in futures::future::join_all(sent).await {
            if reply.status == 503 {
                assert!(reply.header("retry-after").is_some());
                return;
            }
            assert_eq!(reply.status, 401);
        }
    }
    panic!("never overloaded");
}

#[tokio::test]
async fn r7_error_answers_are_not_stored_and_echo_nothing() {
    let server = TestServer::start().await;
    for reply in refusals(&server).await {
        assert!(is_private_json(&reply), "{:?}", reply.headers);
        assert!(!reply.text().contains("zqxj") && !reply.text().contains("pst_"), "{}", reply.text());
    }
}

#[tokio::test]
async fn every_answer_carries_its_own_request_id() {
    let server = TestServer::start().await;
    let mut replies = refusals(&server).await;
    for target in ["/oauth2/jwks", "/.well-known/openid-configuration"] {
        replies.push(server.get(target).await);
    }
    replies.push(server.token("").await);
    let ids: std::collections::BTreeSet<&str> =
        replies.iter().map(|reply| reply.header("x-request-id").unwrap()).collect();
    assert_eq!(ids.len(), replies.len());
    assert!(ids.iter().all(|id| id.len() == 16));
}
