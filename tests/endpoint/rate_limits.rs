//! Q2: failed authentications of a source network, hashes, and token requests of a client.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use postern::crypto::install_key::HashCost;
use postern::oauth::client_record::{ClientRecord, SecretVersion, TokenLimit, Usages, Verification};
use postern::oauth::client_store::Lookup;
use postern::oauth::hash_pool::HashLimits;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::floods::{ATTACKER, HONEST, connect_from};
use crate::forward_auth::{ANYONE, ask, bearer};
use crate::http_client::{self, Reply};
use crate::introspection::{api, introspect};
use crate::operations::audit;
use crate::secret_purposes::with_secret;
use crate::server::{CLIENT_ID, Credential, FORM, GRANT, Options, TestServer, UID, basic, record};

/// Few enough that a bucket stays empty during a test: it gets an event each twelve seconds.
const FAILURES: usize = 5;
const UNKNOWN: &str = "unknown";

async fn limited() -> TestServer {
    let server = TestServer::start_with(limits(vec![])).await;
    server.clients.put(without_lockout(record(&server.credential)));
    server
}

/// Wrong secrets lock the client no more, so that only rate limits are at work.
fn without_lockout(mut client: ClientRecord) -> ClientRecord {
    client.lockout.policy.is_enabled = false;
    client
}

fn limits(trusted_proxies: Vec<ipnet::IpNet>) -> Options {
    Options {
        failures_per_minute: NonZeroU32::new(u32::try_from(FAILURES).unwrap()),
        trusted_proxies,
        ..Options::default()
    }
}

/// The answer to a token request from this address, with this Authorization header and these further headers.
async fn from(server: &TestServer, source: [u8; 4], authorization: &str, more: &[(&str, &str)]) -> Reply {
    let headers = [&[("authorization", authorization), FORM], more].concat();
    let request = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    http_client::exchange(connect_from(server, source).await, &request).await
}

/// A well-formed secret that no client has.
fn wrong(server: &TestServer, client_id: &str) -> String {
    basic(&format!("{client_id}:{}", server.credential().value))
}

/// Fails from this address until that is refused, and returns the number of failures.
async fn flood(server: &TestServer, source: [u8; 4], client_id: &str) -> usize {
    for failures in 0..100 {
        let reply = from(server, source, &wrong(server, client_id), &[]).await;
        if reply.status == 429 {
            return failures;
        }
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
    }
    panic!("never limited");
}

fn assert_limited(reply: &Reply, wait_max: u32) {
    assert_eq!(reply.error(), (429, "temporarily_unavailable".to_owned()), "{}", reply.text());
    let wait: u32 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=wait_max).contains(&wait), "{wait}");
    assert_eq!(reply.header("www-authenticate"), None);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn q2_failed_authentications_of_an_address_are_limited_and_those_of_others_are_not() {
    let server = limited().await;
    assert_eq!(flood(&server, ATTACKER, UNKNOWN).await, FAILURES);
    let refused = from(&server, ATTACKER, &wrong(&server, UNKNOWN), &[]).await;
    assert_limited(&refused, 12);
    let line = audit(&refused);
    assert_eq!((line["outcome"].as_str(), line["rule"].as_str()), (Some("rate_limited"), Some("FailureLimit")));
    assert_eq!(line["source"], "127.0.0.3");
    let counted = r#"postern_http_requests_total{endpoint="token",outcome="rate_limited"} 2"#;
    assert!(server.metrics_text().lines().any(|line| line == counted));
    assert_eq!(from(&server, HONEST, &server.credential.basic(), &[]).await.status, 200);
    assert_eq!(flood(&server, HONEST, UNKNOWN).await, FAILURES, "each address has its own");
}

#[tokio::test]
async fn q2_a_refusal_does_not_wait_for_the_body() {
    let server = limited().await;
    flood(&server, ATTACKER, UNKNOWN).await;
    for authorization in [&*wrong(&server, UNKNOWN), "Basic !", "Bearer x", ""] {
        let mut head = "POST /oauth2/token HTTP/1.1\r\nhost: p\r\ncontent-length: 60000\r\n".to_owned();
        head.extend([FORM.0, ": ", FORM.1, "\r\n"]);
        if !authorization.is_empty() {
            head.extend(["authorization: ", authorization, "\r\n"]);
        }
        head.push_str("\r\n");
        let mut stream = connect_from(&server, ATTACKER).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let reply = tokio::time::timeout(Duration::from_secs(5), http_client::one(&mut stream)).await;
        assert_limited(&reply.expect("before the body"), 12);
    }
}

#[tokio::test]
async fn q2_a_client_works_on_behind_the_address_of_an_attacker() {
    let server = limited().await;
    let good = server.credential.basic();
    assert_eq!(from(&server, ATTACKER, &good, &[]).await.status, 200);
    let form = format!("{GRANT}&client_id={CLIENT_ID}&client_secret={}", server.credential.value);
    let post = http_client::request("POST", "/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(flood(&server, ATTACKER, UNKNOWN).await, FAILURES);
    // The same client id: its own bucket, and then nothing more.
    assert_eq!(flood(&server, ATTACKER, CLIENT_ID).await, FAILURES);
    for _ in 0..3 * FAILURES {
        assert_limited(&from(&server, ATTACKER, &wrong(&server, UNKNOWN), &[]).await, 12);
        assert_limited(&from(&server, ATTACKER, &wrong(&server, CLIENT_ID), &[]).await, 12);
        assert_eq!(from(&server, ATTACKER, &good, &[]).await.status, 200);
        let posted = http_client::exchange(connect_from(&server, ATTACKER).await, &post).await;
        assert_eq!(posted.status, 200, "{}", posted.text());
    }
}

fn imported(server: &TestServer, value: &str) -> Credential {
    let hash = server.install.hash(value, UID, HashCost::Imported).unwrap();
    let verification = Verification::Imported(hash.into());
    let version = SecretVersion { id: "import".to_owned(), verification, accepted_until: None, memory: Arc::default() };
    Credential { value: value.to_owned(), version: Arc::new(version) }
}

#[tokio::test]
async fn q2_the_value_that_a_person_chose_cannot_be_guessed_faster_because_it_is_known() {
    let server = limited().await;
    let credential = imported(&server, "seven-of-diamonds-and-clubs");
    server.clients.put(without_lockout(record(&credential)));
    assert_eq!(from(&server, ATTACKER, &credential.basic(), &[]).await.status, 200);
    flood(&server, ATTACKER, UNKNOWN).await;
    assert_eq!(from(&server, ATTACKER, &credential.basic(), &[]).await.status, 200, "others fail with other ids");
    flood(&server, ATTACKER, CLIENT_ID).await;
    assert_limited(&from(&server, ATTACKER, &credential.basic(), &[]).await, 12);
    assert_eq!(from(&server, HONEST, &credential.basic(), &[]).await.status, 200);
}

#[tokio::test]
async fn q2_the_first_request_of_a_client_gets_a_share_of_an_address_that_is_limited() {
    let failures_per_minute = NonZeroU32::new(60);
    let server = TestServer::start_with(Options { failures_per_minute, ..Options::default() }).await;
    while from(&server, ATTACKER, &wrong(&server, UNKNOWN), &[]).await.status != 429 {}
    let mut statuses = Vec::new();
    while statuses.last() != Some(&200) {
        let reply = from(&server, ATTACKER, &server.credential.basic(), &[]).await;
        statuses.push(reply.status);
        assert!(statuses.len() < 20, "{statuses:?}");
        if reply.status == 429 {
            assert_limited(&reply, 1);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

#[tokio::test]
async fn q2_behind_a_trusted_proxy_the_client_is_limited_and_not_the_proxy() {
    let server = TestServer::start_with(limits(vec!["127.0.0.2/32".parse().unwrap()])).await;
    let proxy = HONEST;
    let attacker = [("x-forwarded-for", "192.0.2.1")];
    for _ in 0..FAILURES {
        assert_eq!(from(&server, proxy, &wrong(&server, UNKNOWN), &attacker).await.status, 401);
    }
    let refused = from(&server, proxy, &wrong(&server, UNKNOWN), &attacker).await;
    assert_limited(&refused, 12);
    assert_eq!(audit(&refused)["source"], "192.0.2.1");
    // What a client writes into the header is left of what the proxy appends.
    let lie = [("x-forwarded-for", "198.51.100.7, 192.0.2.1")];
    assert_limited(&from(&server, proxy, &wrong(&server, UNKNOWN), &lie).await, 12);
    for other in [&[("x-forwarded-for", "192.0.2.2")][..], &[]] {
        assert_eq!(from(&server, proxy, &wrong(&server, UNKNOWN), other).await.status, 401, "{other:?}");
    }
}

#[tokio::test]
async fn q2_no_caller_chooses_its_source_or_gets_another_bucket_by_what_it_sends() {
    let server = TestServer::start_with(limits(vec!["127.0.0.2/32".parse().unwrap()])).await;
    flood(&server, ATTACKER, UNKNOWN).await;
    for number in 0..20 {
        let source = format!("192.0.2.{number}");
        let more = [("x-forwarded-for", &*source), ("user-agent", &source)];
        assert_limited(&from(&server, ATTACKER, &wrong(&server, &format!("client-{number}")), &more).await, 12);
    }
    let form = format!("{GRANT}&client_id={UNKNOWN}&client_secret={}", server.credential().value);
    for path in ["/oauth2/token", "/oauth/v2/token", "/auth/oauth/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let request = http_client::request("POST", path, &[FORM], form.as_bytes());
        let reply = http_client::exchange(connect_from(&server, ATTACKER).await, &request).await;
        assert_limited(&reply, 12);
    }
}

#[tokio::test]
async fn q2_every_endpoint_that_authenticates_clients_counts_and_tokens_are_not_limited() {
    let server = limited().await;
    let token = bearer(&server, "").await;
    let introspecting = api(&server, crate::server::BILLING);
    let value = wrong(&server, UNKNOWN);
    let header = [("authorization", &*value)];
    let form = [header[0], FORM];
    let failing = [
        ("POST", "/oauth2/introspect", &form[..], "token=x"),
        ("POST", "/oauth2/revoke", &form, "token=x"),
        ("GET", ANYONE, &header, ""),
        ("GET", "/manage/v1/application", &header, ""),
        // A request without a credential.
        ("POST", "/oauth2/token", &form[1..], GRANT),
    ];
    for (method, target, headers, body) in failing {
        assert_eq!(server.send(method, target, headers, body).await.status, 401, "{target}");
    }
    for (method, target, headers, body) in failing {
        assert_limited(&server.send(method, target, headers, body).await, 12);
    }
    assert_eq!(ask(&server, ANYONE, &token).await.status, 200);
    assert_eq!(ask(&server, ANYONE, "Bearer x").await.status, 401, "a token is no client authentication");
    assert_eq!(server.get(ANYONE).await.status, 401);
    assert_eq!(server.get("/oauth2/jwks").await.status, 200);
    assert_limited(&introspect(&server, &introspecting, "token=x").await, 12);
}

#[tokio::test]
async fn q2_what_is_refused_to_an_authenticated_client_is_no_failure() {
    let server = limited().await;
    for _ in 0..3 * FAILURES {
        assert_eq!(server.token("scope=x").await.error(), (400, "invalid_scope".to_owned()));
    }
    server.clients.put(with_secret(&server, Usages { token: false, direct: true, manage: false }, None));
    for _ in 0..3 * FAILURES {
        assert_eq!(server.token("").await.error(), (400, "unauthorized_client".to_owned()));
    }
    server.clients.put(record(&server.credential));
    assert_eq!(flood(&server, [127, 0, 0, 1], UNKNOWN).await, FAILURES);
}

#[tokio::test]
async fn q2_a_client_that_disconnects_before_the_answer_has_failed() {
    let server = limited().await;
    let permit = server.clients.may_ask.acquire().await.unwrap();
    let request = |server: &TestServer| {
        let headers = [("authorization", &*wrong(server, UNKNOWN)), FORM];
        http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes())
    };
    let mut streams: Vec<TcpStream> = Vec::new();
    for number in 0..FAILURES {
        let mut stream = connect_from(&server, ATTACKER).await;
        stream.write_all(&request(&server)).await.unwrap();
        streams.push(stream);
        while server.clients.asking.load(std::sync::atomic::Ordering::Relaxed) <= number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_limited(&from(&server, ATTACKER, &wrong(&server, UNKNOWN), &[]).await, 12);
    drop(streams);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_limited(&from(&server, ATTACKER, &wrong(&server, UNKNOWN), &[]).await, 12);
    drop(permit);
}

#[tokio::test]
async fn q2_token_requests_of_a_client_are_limited_after_it_has_authenticated() {
    let server = TestServer::start().await;
    let limit = Some(Arc::new(TokenLimit::new(NonZeroU32::new(3).unwrap())));
    server.clients.put(ClientRecord { token_limit: limit, ..without_lockout(record(&server.credential)) });
    let other = server.credential();
    let other_client = ClientRecord { client_id: "other".into(), ..record(&other) };
    server.clients.set("other", Lookup::Live(Arc::new(other_client)));
    for _ in 0..10 {
        let reply = server.post(&[("authorization", &wrong(&server, CLIENT_ID))], GRANT).await;
        assert_eq!(reply.status, 401, "a stranger uses up nothing");
    }
    let first = server.token("").await;
    assert_eq!((first.status, server.token("").await.status), (200, 200));
    assert_eq!(server.token("scope=x").await.status, 400, "each request counts");
    let refused = server.token("scope=invoices:read").await;
    assert_limited(&refused, 20);
    let line = audit(&refused);
    assert_eq!((line["rule"].as_str(), line["client_id"].as_str()), (Some("TokenLimit"), Some(CLIENT_ID)));
    assert_eq!((line["scope"].as_str(), line["method"].as_str()), (Some("invoices:read"), Some("client_secret_basic")));
    let good = server.credential.basic();
    assert_eq!(introspect(&server, &good, "token=x").await.status, 200, "only token requests are limited");
    let token = format!("Bearer {}", first.json()["access_token"].as_str().unwrap());
    assert_eq!(ask(&server, ANYONE, &token).await.status, 200, "its tokens stay valid");
    assert_eq!(server.post(&[("authorization", &basic(&format!("other:{}", other.value)))], GRANT).await.status, 200);
}

#[tokio::test]
async fn q2_hashes_are_limited_and_a_known_secret_needs_none() {
    let hash = HashLimits { per_second: NonZeroU32::new(3), ..HashLimits::default() };
    let server = TestServer::start_with(Options { hash, ..Options::default() }).await;
    assert_eq!(server.token("").await.status, 200);
    let mut replies = Vec::new();
    for _ in 0..50 {
        replies.push(server.post(&[("authorization", &wrong(&server, UNKNOWN))], GRANT).await);
        assert_eq!(server.token("").await.status, 200);
    }
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(refused.len() > 25, "{}", refused.len());
    assert!(replies.iter().all(|reply| [401, 429].contains(&reply.status)));
    assert_limited(refused[0], 1);
    assert_eq!(audit(refused[0])["rule"], "HashLimit");
}
