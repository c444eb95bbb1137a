//! Every issued token is accepted by every endpoint.

use std::collections::BTreeSet;

use postern::http::budget;
use postern::http::state::RequestLimits;
use postern::oauth::client_record::TokenFormat;

use crate::server::{BILLING, FORM, TestServer, grant, record_of};
use crate::{captured_logs, http_client};

/// A scope of fifty characters.
fn scope(number: usize) -> String {
    format!("s{number:03}{}", "x".repeat(46))
}

/// A client with these scopes; each token gets all of them.
fn hold(server: &TestServer, scopes: usize, format: TokenFormat) {
    let scopes: BTreeSet<String> = (0..scopes).map(scope).collect();
    let entries: Vec<_> = scopes.iter().map(|scope| (BILLING, scope.as_str(), "billing.all", "Operational")).collect();
    let openid = [(BILLING, "introspect", "billing.all", "Operational")];
    let mut record = record_of(grant(&[&entries[..], &openid].concat()), &[&server.credential]);
    record.token.format = format;
    server.clients.put(record);
}

async fn token(server: &TestServer, scopes: usize) -> http_client::Reply {
    let scopes = (0..scopes).map(scope).collect::<Vec<_>>().join("+");
    server.token(&format!("scope=openid+{scopes}")).await
}

#[tokio::test]
async fn the_largest_token_is_accepted_by_every_endpoint_and_a_larger_one_is_not_issued() {
    let limit = budget::token_bytes(RequestLimits::default().body_bytes);
    assert_eq!(limit, 12 * 1024);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque { idle: None }] {
        let server = TestServer::start().await;
        let mut largest = String::new();
        let mut scopes = 150;
        let refused = loop {
            hold(&server, scopes, format);
            let reply = token(&server, scopes).await;
            if reply.status != 200 {
                break reply;
            }
            largest = reply.json()["access_token"].as_str().unwrap().to_owned();
            scopes += 1;
            assert!(scopes < 250, "there is a limit");
        };
        assert_eq!(refused.error(), (400, "invalid_scope".to_owned()));
        let told = refused.json()["error_description"].as_str().unwrap().to_owned();
        assert_eq!(told, "the token would be too large: request fewer scopes with scope");
        let id = refused.header("x-request-id").unwrap().to_owned();
        let text = captured_logs::text();
        let line = text.lines().find(|line| line.contains(&id)).expect("an audit line");
        assert!(line.contains("\"rule\":\"TokenTooLarge\"") && line.contains("invoice-sync-0"), "{line}");
        assert!((limit - 100..=limit).contains(&largest.len()), "{} bytes", largest.len());

        // With the headers that proxies and clients add.
        let (bearer, cookie) = (format!("Bearer {largest}"), "c".repeat(3 * 1024));
        let headers = [("authorization", bearer.as_str()), ("cookie", &cookie)];
        let auth = format!("/auth?audience={BILLING}&scope={}", scope(0));
        for path in [auth.as_str(), "/oauth2/userinfo"] {
            assert_eq!(server.send("GET", path, &headers, "").await.status, 200, "{path}");
        }
        let client = [("authorization", &*server.credential.basic()), FORM];
        let about = format!("token={largest}");
        let introspected = server.send("POST", "/oauth2/introspect", &client, &about).await;
        assert_eq!((introspected.status, introspected.json()["active"].as_bool()), (200, Some(true)));
        assert_eq!(server.send("POST", "/oauth2/revoke", &client, &about).await.status, 200);
        let introspected = server.send("POST", "/oauth2/introspect", &client, &about).await;
        assert_eq!(introspected.json()["active"], false, "revoked");

        // The remedy.
        assert_eq!(token(&server, 3).await.status, 200);
    }
}

#[test]
fn a_shorter_body_limit_shortens_the_largest_token() {
    assert_eq!([4096, 8192, 1 << 20].map(budget::token_bytes), [2048, 6144, 12 * 1024]);
}
