//! O: the content of introspection, and its authorized callers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use postern::crypto::jwt;
use postern::crypto::signing::{self, SigningAlgorithm, SigningKey, TokenType};
use postern::oauth::client_record::{ClientRecord, TokenFormat, TokenPolicy};
use postern::oauth::client_store::{Availability, CatchUpError, Lookup};
use serde_json::{Value, json};

use crate::http_client::Reply;
use crate::server::{
    BILLING, CLIENT_ID, Credential, FORM, LEDGER, NOW, Options, SUBJECT, TestServer, basic, grant, record, record_of,
    record_of_two,
};

/// The client id of an API that introspects tokens.
pub(crate) const API: &str = "9d3c6a8e-1111-4222-8333-0123456789ab";

pub(crate) fn opaque(credential: &Credential, idle_minutes: Option<i64>) -> ClientRecord {
    let record = record(credential);
    let idle = idle_minutes.map(SignedDuration::from_mins);
    let token = TokenPolicy { format: TokenFormat::Opaque { idle }, ..record.token.clone() };
    ClientRecord { token, ..record }
}

/// Registers an API that may introspect tokens for this audience.
pub(crate) fn api(server: &TestServer, audience: &str) -> String {
    let credential = server.credential();
    let held = grant(&[(audience, "introspect", "billing.api", "Operational")]);
    let record = ClientRecord { client_id: API.into(), ..record_of(held, &[&credential]) };
    server.clients.set(API, Lookup::Live(Arc::new(record)));
    basic(&format!("{API}:{}", credential.value))
}

pub(crate) async fn token(server: &TestServer, parameters: &str) -> String {
    server.token(parameters).await.json()["access_token"].as_str().unwrap().to_owned()
}

pub(crate) async fn introspect(server: &TestServer, authorization: &str, body: &str) -> Reply {
    server.send("POST", "/oauth2/introspect", &[("authorization", authorization), FORM], body).await
}

async fn answer(server: &TestServer, authorization: &str, token: &str) -> Value {
    let reply = introspect(server, authorization, &format!("token={token}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn o3_and_o5_an_active_token_of_either_format_returns_all_claims_of_a_jwt() {
    let server = TestServer::start().await;
    for format in [TokenFormat::Jwt, TokenFormat::Opaque { idle: None }] {
        let record = record(&server.credential);
        server.clients.put(ClientRecord { token: TokenPolicy { format, ..record.token.clone() }, ..record });
        let token = token(&server, "scope=invoices:read").await;
        assert_eq!(token.starts_with("pat_"), format != TokenFormat::Jwt);
        let reply = introspect(&server, &server.credential.basic(), &format!("token={token}")).await;
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"), "O6");
        let mut told = reply.json();
        assert!(told.as_object_mut().unwrap().remove("jti").unwrap().as_str().unwrap().len() > 20);
        let expected = json!({
            "active": true, "scope": "invoices:read", "client_id": CLIENT_ID, "username": "billing/invoice-sync",
            "token_type": "Bearer", "exp": NOW + 900, "iat": NOW, "nbf": NOW, "sub": SUBJECT, "aud": BILLING,
            "iss": server.issuer, "roles": ["billing.reader"], "planes": ["Operational"], "location": "/emea/billing",
            "postern_epoch": [3, 2],
        });
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn o3_an_invalid_token_is_inactive_without_further_details() {
    let server = TestServer::start().await;
    for opaque_too in [false, true] {
        if opaque_too {
            server.clients.put(opaque(&server.credential, None));
        }
        let good = token(&server, "").await;
        let cut = &good[..good.len() - 1];
        let (head, tail) = good.split_at(good.len() - 5);
        let other = if tail.starts_with('A') { 'B' } else { 'A' };
        let changed = format!("{head}{other}{}", &tail[1..]);
        for bad in [cut, &changed, &format!("{good}A"), "pat_", "pat_AAAA", "x", "..", "pst_k7Qd0m2x_value"] {
            assert_eq!(answer(&server, &server.credential.basic(), bad).await, json!({"active": false}), "{bad}");
        }
        server.clock.store(NOW + 900, Ordering::Relaxed);
        assert_eq!(answer(&server, &server.credential.basic(), &good).await, json!({"active": false}), "expired");
        server.clock.store(NOW, Ordering::Relaxed);
    }
    let foreign = TestServer::start().await;
    foreign.clients.put(opaque(&foreign.credential, None));
    let of_another_install = token(&foreign, "").await;
    assert_eq!(answer(&server, &server.credential.basic(), &of_another_install).await, json!({"active": false}));
    let of_another_issuer = token_of_a_shared_key(&server, &foreign).await;
    assert_eq!(answer(&server, &server.credential.basic(), &of_another_issuer).await, json!({"active": false}));
}

/// Two installs with the same keys, as after a restored backup, are distinguished by their issuers.
async fn token_of_a_shared_key(server: &TestServer, foreign: &TestServer) -> String {
    foreign.keys.install.store(Some(Arc::clone(&server.install)));
    foreign.keys.tokens.store(server.keys.tokens.load_full());
    foreign.clients.put(opaque(&server.credential, None));
    let request = format!("{}&client_id={CLIENT_ID}&client_secret={}", crate::server::GRANT, server.credential.value);
    foreign.post(&[], &request).await.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn o4_a_caller_sees_its_own_tokens_and_those_for_the_api_that_it_introspects_for() {
    let server = TestServer::start().await;
    server.clients.put(record_of_two(&server.credential));
    let token = token(&server, &format!("resource={BILLING}")).await;
    assert_eq!(answer(&server, &server.credential.basic(), &token).await["active"], true, "its own");
    let (billing, ledger) = (api(&server, BILLING), api(&server, LEDGER));
    // The last registered one is known.
    assert_eq!(introspect(&server, &billing, &format!("token={token}")).await.status, 401);
    assert_eq!(answer(&server, &ledger, &token).await, json!({"active": false}));
    let billing = api(&server, BILLING);
    assert_eq!(answer(&server, &billing, &token).await["sub"], SUBJECT);
    let credential = server.credential();
    let held = grant(&[(BILLING, "invoices:read", "billing.reader", "Operational")]);
    let another = ClientRecord { client_id: API.into(), ..record_of(held, &[&credential]) };
    server.clients.set(API, Lookup::Live(Arc::new(another)));
    let another = basic(&format!("{API}:{}", credential.value));
    assert_eq!(answer(&server, &another, &token).await, json!({"active": false}), "any scope there is not enough");
}

#[tokio::test]
async fn o2_the_caller_must_authenticate_and_send_a_token() {
    let server = TestServer::start().await;
    let (good, body) = (server.credential.basic(), format!("token={}", token(&server, "").await));
    let wrong = basic(&format!("{CLIENT_ID}:{}", server.credential().value));
    for authorization in [&wrong, "Basic x", "Bearer x"] {
        assert_eq!(introspect(&server, authorization, &body).await.error(), (401, "invalid_client".to_owned()));
    }
    let nobody = server.send("POST", "/oauth2/introspect", &[FORM], &body).await;
    assert_eq!(nobody.error(), (401, "invalid_client".to_owned()));
    let posted = format!("{body}&client_id={CLIENT_ID}&client_secret={}", server.credential.value);
    assert_eq!(server.send("POST", "/oauth2/introspect", &[FORM], &posted).await.json()["active"], true);
    for wrong in
        ["", "token=", "token_type_hint=access_token", &format!("{body}&touch=maybe"), &format!("{body}&{body}")]
    {
        assert_eq!(introspect(&server, &good, wrong).await.error(), (400, "invalid_request".to_owned()), "{wrong}");
    }
    assert_eq!(introspect(&server, &good, &format!("{body}&token_type_hint=nonsense")).await.json()["active"], true);
    let huge = format!("token={}", "A".repeat(1 << 20));
    assert_eq!(introspect(&server, &good, &huge).await.error(), (413, "invalid_request".to_owned()));
    let target = format!("/oauth2/introspect?{body}");
    let in_query = server.send("POST", &target, &[("authorization", &good), FORM], &body).await;
    assert_eq!(in_query.error(), (400, "invalid_request".to_owned()));
    assert_eq!(server.get("/oauth2/introspect").await.status, 405);
}

#[tokio::test]
async fn a_stale_replica_never_answers_inactive() {
    let server = TestServer::start().await;
    let (good, body) = (server.credential.basic(), format!("token={}", token(&server, "").await));
    let newer = ClientRecord { epoch: postern::oauth::client_record::Epoch::default(), ..record(&server.credential) };
    server.clients.put(newer);
    for (error, status) in [(CatchUpError::Behind, 503), (CatchUpError::RateLimited, 429)] {
        *server.clients.catch_up.lock().unwrap() = Err(error);
        let reply = introspect(&server, &good, &body).await;
        assert_eq!(reply.error(), (status, "temporarily_unavailable".to_owned()), "the token's epoch is newer");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    *server.clients.catch_up.lock().unwrap() = Ok(());
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(record(&server.credential))));
    assert_eq!(introspect(&server, &good, &body).await.json()["active"], true, "after catching up");
    *server.clients.availability.lock().unwrap() = Availability::NotSynced;
    assert_eq!(introspect(&server, &good, &body).await.status, 503);
}

#[tokio::test]
async fn o7_a_signed_answer_is_for_its_caller_and_is_no_access_token() {
    let server = TestServer::start().await;
    let token = token(&server, "").await;
    let authorization = server.credential.basic();
    let accept = ("accept", "application/json;q=0.5, application/token-introspection+jwt");
    let ask = async |token: &str| {
        let headers = [("authorization", authorization.as_str()), FORM, accept];
        server.send("POST", "/oauth2/introspect", &headers, &format!("token={token}")).await
    };
    for (token, active) in [(token.as_str(), true), ("x", false)] {
        let reply = ask(token).await;
        assert_eq!(reply.header("content-type"), Some("application/token-introspection+jwt"));
        let jwt = reply.text();
        let part = |number: usize| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(number).unwrap()).unwrap()).unwrap()
        };
        assert_eq!(part(0)["typ"], "token-introspection+jwt");
        let claims = part(1);
        assert_eq!(
            (&claims["iss"], &claims["aud"], &claims["iat"]),
            (&json!(server.issuer), &json!(CLIENT_ID), &json!(NOW))
        );
        assert_eq!(claims["token_introspection"]["active"], active);
        assert_eq!(claims["sub"], Value::Null, "RFC 9701 §8.1: it must not be taken for an access token");
        assert_eq!(answer(&server, &authorization, &jwt).await, json!({"active": false}));
        verify(&server, &jwt).await;
    }
    let refusing = ("accept", "application/json, application/token-introspection+jwt;q=0");
    let headers = [("authorization", authorization.as_str()), FORM, refusing];
    let reply = server.send("POST", "/oauth2/introspect", &headers, "token=x").await;
    assert_eq!(reply.header("content-type"), Some("application/json"), "RFC 9110 §12.4.2: q=0 refuses it");
}

/// Verified by another implementation, with the published key.
async fn verify(server: &TestServer, jwt: &str) {
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&server.get("/oauth2/jwks").await.body).unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.set_audience(&[CLIENT_ID]);
    validation.set_required_spec_claims(&["aud", "iss"]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(jwt, &key, &validation).unwrap();
}

#[tokio::test]
async fn a_replica_that_may_lack_a_new_key_answers_503_instead_of_inactive() {
    let (server, foreign) = (TestServer::start().await, TestServer::start().await);
    foreign.clients.put(opaque(&foreign.credential, None));
    let sealed = token(&foreign, "").await;
    let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
    let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap();
    let jwt = jwt::access_token(&key, TokenType::AccessToken, &json!({"sub": "x"})).unwrap().sign(&key).unwrap();
    let own = token(&server, "").await;
    let confirm = |second: i64| {
        let at = jiff::Timestamp::from_second(NOW - second).unwrap();
        server.keys.signing_confirmed.set(at);
        server.keys.tokens_confirmed.set(at);
    };
    for unknown in [&sealed, &jwt] {
        let request = format!("token={unknown}");
        confirm(15);
        let told = introspect(&server, &server.credential.basic(), &request).await.json();
        assert_eq!(told, json!({"active": false}), "it knows every key");
        confirm(16);
        assert_eq!(introspect(&server, &server.credential.basic(), &request).await.status, 503);
    }
    assert_eq!(answer(&server, &server.credential.basic(), &own).await["active"], true, "it knows the key of this one");
}

#[tokio::test]
async fn o3_a_token_from_before_the_restore_of_a_backup_is_inactive_and_a_new_one_is_not() {
    // The clock shows a quarter of a second more than this.
    let restored = |second| jiff::Timestamp::from_second(NOW + second).unwrap();
    for (restored_at, active) in [(None, true), (Some(restored(0)), true), (Some(restored(1)), false)] {
        let server = TestServer::start_with(Options { restored_at, ..Options::default() }).await;
        for format in [TokenFormat::Jwt, TokenFormat::Opaque { idle: None }] {
            let record = record(&server.credential);
            server.clients.put(ClientRecord { token: TokenPolicy { format, ..record.token.clone() }, ..record });
            let token = token(&server, "scope=openid").await;
            assert_eq!(answer(&server, &server.credential.basic(), &token).await["active"], active, "{restored_at:?}");
            let bearer = format!("Bearer {token}");
            let userinfo = server.send("GET", "/oauth2/userinfo", &[("authorization", &bearer)], "").await;
            assert_eq!(userinfo.status, if active { 200 } else { 401 }, "{}", userinfo.text());
        }
    }
}
