//! Tokens that end before they expire: idle tokens and revoked tokens.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postern::oauth::client_store::CatchUpError;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::forward_auth::{ANYONE, ask, rule};
use crate::http_client::{self, Reply};
use crate::introspection::{API, api, introspect, opaque, token};
use crate::operations::audit;
use crate::server::{BILLING, CLIENT_ID, FORM, GRANT, NOW, TestServer, basic};

fn at(server: &TestServer, second: i64) {
    server.clock.store(NOW + second, Ordering::Relaxed);
}

async fn active(server: &TestServer, body: &str) -> Value {
    let reply = introspect(server, &server.credential.basic(), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn revoke(server: &TestServer, authorization: &str, body: &str) -> Reply {
    server.send("POST", "/oauth2/revoke", &[("authorization", authorization), FORM], body).await
}

#[tokio::test]
async fn a_used_token_stays_valid_and_an_unused_one_expires() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(2)));
    let reply = server.token("").await.json();
    assert_eq!(reply["expires_in"], 120, "the idle time: it is all that the client can be sure of");
    let body = format!("token={}", reply["access_token"].as_str().unwrap());
    let unused = format!("token={}", token(&server, "").await);
    for second in [119, 238, 357] {
        at(&server, second);
        assert_eq!(active(&server, &body).await["exp"], NOW + second + 120);
    }
    assert_eq!(active(&server, &unused).await, json!({"active": false}));
    assert_eq!(rule(), "TokenIdle");
    at(&server, 357 + 120);
    assert_eq!(active(&server, &body).await, json!({"active": false}));
}

#[tokio::test]
async fn use_never_extends_a_token_beyond_its_lifetime() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(10)));
    let body = format!("token={}", token(&server, "").await);
    at(&server, 599);
    assert_eq!(active(&server, &body).await["exp"], NOW + 900);
    at(&server, 899);
    assert_eq!(active(&server, &body).await["exp"], NOW + 900);
    at(&server, 900);
    assert_eq!(active(&server, &body).await, json!({"active": false}));
}

#[tokio::test]
async fn a_use_that_cannot_be_recorded_does_not_extend_the_token() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(2)));
    server.clients.notes_uses.store(false, Ordering::Relaxed);
    let body = format!("token={}", token(&server, "").await);
    at(&server, 100);
    assert_eq!(active(&server, &body).await["exp"], NOW + 120, "no more is promised than is remembered");
    at(&server, 120);
    assert_eq!(active(&server, &body).await, json!({"active": false}));
}

#[tokio::test]
async fn introspection_without_touch_is_no_use_and_neither_is_a_refusal() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(2)));
    let token = token(&server, "").await;
    at(&server, 100);
    assert_eq!(active(&server, &format!("token={token}&touch=false")).await["exp"], NOW + 120);
    let stranger = api(&server, "https://elsewhere.example.com");
    assert_eq!(introspect(&server, &stranger, &format!("token={token}")).await.json(), json!({"active": false}));
    let bearer = format!("Bearer {token}");
    assert_eq!(ask(&server, "/auth?anyone=true&scope=delete", &bearer).await.status, 403);
    assert_eq!(ask(&server, "/oauth2/userinfo", &bearer).await.status, 403);
    at(&server, 120);
    assert_eq!(active(&server, &format!("token={token}")).await, json!({"active": false}));
}

#[tokio::test]
async fn passing_a_proxy_and_asking_userinfo_are_uses() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(2)));
    let bearer = format!("Bearer {}", token(&server, "scope=openid+invoices:read").await);
    for (second, target) in [(100, ANYONE), (200, "/oauth2/userinfo"), (300, ANYONE)] {
        at(&server, second);
        assert_eq!(ask(&server, target, &bearer).await.status, 200, "{target} after {second} s");
    }
    at(&server, 420);
    assert_eq!(ask(&server, ANYONE, &bearer).await.error(), (401, "invalid_token".to_owned()));
}

#[tokio::test]
async fn many_sessions_of_one_client_live_side_by_side() {
    let server = TestServer::start().await;
    server.clients.put(opaque(&server.credential, Some(2)));
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(token(&server, "").await);
    }
    at(&server, 60);
    for used in tokens.iter().step_by(2) {
        assert_eq!(active(&server, &format!("token={used}")).await["active"], true);
    }
    at(&server, 130);
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(active(&server, &format!("token={token}")).await["active"], number % 2 == 0, "{number}");
    }
}

#[tokio::test]
async fn v1_and_v2_a_revoked_token_is_invalid_everywhere_and_others_are_not() {
    let server = TestServer::start().await;
    for opaque_too in [false, true] {
        if opaque_too {
            server.clients.put(opaque(&server.credential, None));
        }
        let (ended, other) = (token(&server, "scope=openid").await, token(&server, "").await);
        let authorization = server.credential.basic();
        let body = format!("token={ended}&token_type_hint=refresh_token");
        for _ in 0..2 {
            let reply = revoke(&server, &authorization, &body).await;
            assert_eq!((reply.status, reply.text()), (200, String::new()));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        assert_eq!(active(&server, &format!("token={ended}")).await, json!({"active": false}));
        assert_eq!(rule(), "TokenRevoked");
        for target in [ANYONE, "/oauth2/userinfo"] {
            let reply = ask(&server, target, &format!("Bearer {ended}")).await;
            assert_eq!(reply.error(), (401, "invalid_token".to_owned()), "{target}");
        }
        assert_eq!(active(&server, &format!("token={other}")).await["active"], true);
    }
}

#[tokio::test]
async fn v1_an_unknown_token_and_one_of_another_client_get_the_same_answer_and_no_token_is_revoked() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let token = token(&server, "").await;
    let (head, signature) = token.rsplit_once('.').unwrap();
    let altered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let stranger = api(&server, BILLING);
    let mut answers = Vec::new();
    for (token, rule) in [
        ("x", "UnknownKey"),
        ("pat_x", "DecryptionFailed"),
        ("a.b.c", "UnknownKey"),
        (&altered, "WrongSignature"),
        (&token, "TokenOfOtherClient"),
    ] {
        let mut reply = revoke(&server, &stranger, &format!("token={token}")).await;
        let line = audit(&reply);
        assert_eq!((line["outcome"].as_str(), line["rule"].as_str()), (Some("ignored"), Some(rule)), "{token}");
        reply.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
        answers.push((reply.status, reply.headers, reply.body));
    }
    assert!(answers[0].0 == 200 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(
        server.metrics_text().contains("postern_http_requests_total{endpoint=\"revocation\",outcome=\"ignored\"} 5\n")
    );
    assert_eq!(active(&server, &format!("token={token}")).await["active"], true);
    let wrong = basic(&format!("{API}:{}", server.credential().value));
    assert_eq!(revoke(&server, &wrong, "token=x").await.error(), (401, "invalid_client".to_owned()));
    assert_eq!(revoke(&server, &authorization, "").await.error(), (400, "invalid_request".to_owned()));
    at(&server, 900);
    assert_eq!(revoke(&server, &authorization, &format!("token={token}")).await.status, 200, "it has ended already");
    assert!(server.clients.revoked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn q4_a_client_that_disconnects_still_leaves_an_audit_line() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let body = format!("token={}", token(&server, "").await);
    let headers = [("authorization", authorization.as_str()), FORM];
    let revocation = http_client::request("POST", "/oauth2/revoke", &headers, body.as_bytes());
    let rotation = http_client::request("POST", "/manage/v1/rotate", &headers[..1], b"");
    for (request, line) in [(revocation, "\"token revoked\""), (rotation, "\"request allowed\"")] {
        let asked = server.clients.may_ask.acquire().await.unwrap();
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(&request).await.unwrap();
        until(|| server.clients.asking.load(Ordering::Relaxed) == 1).await;
        drop(stream);
        // Long enough for the server to detect it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!crate::captured_logs::text().contains(line), "not decided yet");
        drop(asked);
        until(|| crate::captured_logs::text().contains(line)).await;
    }
    assert_eq!((server.clients.revoked.lock().unwrap().len(), server.clients.rotations.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn q4_a_client_that_disconnects_before_the_decision_leaves_a_line_and_is_counted() {
    let server = TestServer::start().await;
    let unknown = basic(&format!("7b1f3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e:{}", server.credential.value));
    let headers = [("authorization", unknown.as_str()), FORM];
    let asked = server.clients.may_ask.acquire().await.unwrap();
    let requests = [
        ("POST", "/oauth2/token", GRANT),
        ("POST", "/oauth2/introspect", "token=x"),
        ("GET", ANYONE, ""),
        ("GET", "/manage/v1/secrets", ""),
    ];
    for (number, (method, path, body)) in (1..).zip(requests) {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(&http_client::request(method, path, &headers, body.as_bytes())).await.unwrap();
        until(|| server.clients.catch_ups.load(Ordering::Relaxed) == number).await;
        drop(stream);
        until(|| crate::captured_logs::text().matches("\"outcome\":\"abandoned\"").count() == number).await;
        assert!(server.metrics_text().contains(&format!("postern_abandoned_requests_total {number}\n")), "{path}");
    }
    drop(asked);
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
async fn v1_a_revocation_that_cannot_be_recorded_is_503_and_has_no_effect() {
    let server = TestServer::start().await;
    let body = format!("token={}", token(&server, "").await);
    *server.clients.catch_up.lock().unwrap() = Err(CatchUpError::Behind);
    let reply = revoke(&server, &server.credential.basic(), &body).await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    *server.clients.catch_up.lock().unwrap() = Ok(());
    assert_eq!(active(&server, &body).await["client_id"], CLIENT_ID);
}
