//! G: what a token may carry.

use std::sync::Arc;

use postern::oauth::client_record::{ClientRecord, ScopePolicy, TokenPolicy};
use serde_json::json;

use crate::server::{BILLING, LEDGER, TestServer, grant, record, record_of, record_of_two};

fn with_policy(server: &TestServer, record: ClientRecord, change: impl FnOnce(&mut TokenPolicy)) {
    let mut record = record;
    change(&mut record.token);
    server.clients.put(record);
}

#[tokio::test]
async fn g1_there_is_no_refresh_token() {
    let server = TestServer::start().await;
    let answer = server.token("").await.json();
    let mut members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
}

#[tokio::test]
async fn g2_scope_syntax_is_checked_duplicates_collapse_and_order_is_free() {
    let server = TestServer::start().await;
    for wrong in
        ["scope=%20invoices:read", "scope=invoices:read++invoices:list", "scope=a%09b", "scope=a%22b", "scope=%C3%A9"]
    {
        assert_eq!(server.token(wrong).await.error(), (400, "invalid_scope".to_owned()), "{wrong}");
    }
    let reply = server.token("scope=invoices:read+invoices:list+invoices:read").await;
    assert_eq!(reply.json()["scope"], "invoices:read invoices:list");
    assert_eq!(server.token("scope=Invoices:Read").await.error(), (400, "invalid_scope".to_owned()));
}

#[tokio::test]
async fn g3_a_scope_outside_the_grant_is_refused_or_left_out() {
    let server = TestServer::start().await;
    let asked = "scope=invoices:read+invoices:write";
    assert_eq!(server.token(asked).await.error(), (400, "invalid_scope".to_owned()));
    with_policy(&server, record(&server.credential), |policy| policy.scope_policy = ScopePolicy::Narrow);
    let reply = server.token(asked).await;
    assert_eq!((reply.status, &reply.json()["scope"]), (200, &json!("invoices:read")));
    assert_eq!(server.token("scope=invoices:write").await.error(), (400, "invalid_scope".to_owned()));
}

#[tokio::test]
async fn g3_a_secret_may_have_fewer_permissions_than_its_application() {
    let server = TestServer::start().await;
    let mut client = record(&server.credential);
    client.secrets[0].grant = grant(&[(BILLING, "invoices:list", "billing.lister", "Operational")]);
    server.clients.put(client);
    assert_eq!(server.token("scope=invoices:read").await.error(), (400, "invalid_scope".to_owned()));
    assert_eq!(server.token("").await.json()["scope"], "invoices:list");
}

#[tokio::test]
async fn g4_without_a_scope_the_defaults_are_given_and_named() {
    let server = TestServer::start().await;
    assert_eq!(server.token("").await.json()["scope"], "invoices:list invoices:read");
    with_policy(&server, record(&server.credential), |policy| {
        policy.default_scopes = vec!["invoices:read".into(), "x".into()];
    });
    assert_eq!(server.token("").await.json()["scope"], "invoices:read");
    with_policy(&server, record(&server.credential), |policy| policy.default_scopes = vec!["x".into()]);
    assert_eq!(server.token("").await.error(), (400, "invalid_scope".to_owned()));
    server.clients.put(record_of(Arc::default(), &[&server.credential]));
    assert_eq!(server.token("").await.error(), (400, "invalid_scope".to_owned()), "holds nothing");
}

#[tokio::test]
async fn g5_resource_selects_the_audience() {
    let server = TestServer::start().await;
    server.clients.put(record_of_two(&server.credential));
    let claims = server.claims(&format!("resource={LEDGER}")).await;
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!(LEDGER), &json!("entries:read read")));
    for wrong in ["https://unknown.example.com", "relative", "https://billing.example.com%23x"] {
        assert_eq!(
            server.token(&format!("resource={wrong}")).await.error(),
            (400, "invalid_target".to_owned()),
            "{wrong}"
        );
    }
    let reply = server.token(&format!("resource={LEDGER}&scope=invoices:read")).await;
    assert_eq!(reply.error(), (400, "invalid_scope".to_owned()), "a scope of another audience");
}

#[tokio::test]
async fn g6_audience_is_an_alias_of_resource() {
    let server = TestServer::start().await;
    let held = grant(&[("my-api", "read", "reader", "Operational"), (BILLING, "read", "reader", "Operational")]);
    server.clients.put(record_of(held, &[&server.credential]));
    assert_eq!(server.claims("audience=my-api").await["aud"], "my-api");
    assert_eq!(server.token("audience=another").await.error(), (400, "invalid_target".to_owned()));
    let reply = server.token(&format!("audience=my-api&resource={BILLING}")).await;
    assert_eq!(reply.error(), (400, "invalid_target".to_owned()), "together they are two");
    assert_eq!(server.claims(&format!("audience={BILLING}&resource={BILLING}")).await["aud"], BILLING);
}

#[tokio::test]
async fn g7_every_token_has_an_audience_and_one_by_default() {
    let server = TestServer::start().await;
    server.clients.put(record_of_two(&server.credential));
    assert_eq!(server.token("").await.error(), (400, "invalid_target".to_owned()), "never a guess");
    let both = format!("resource={BILLING}&resource={LEDGER}");
    assert_eq!(server.token(&both).await.error(), (400, "invalid_target".to_owned()));
    with_policy(&server, record_of_two(&server.credential), |policy| policy.default_audience = Some(LEDGER.into()));
    assert_eq!(server.claims("").await["aud"], LEDGER);
    with_policy(&server, record_of_two(&server.credential), |policy| policy.multiple_audiences = true);
    let claims = server.claims(&both).await;
    assert_eq!(claims["aud"], json!([BILLING, LEDGER]));
    assert_eq!(claims["scope"], "read", "only what is held for each of them");
    let reply = server.token(&format!("{both}&scope=entries:read")).await;
    assert_eq!(reply.error(), (400, "invalid_scope".to_owned()));
}
