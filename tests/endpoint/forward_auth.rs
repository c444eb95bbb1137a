//! U1 and forward authentication: the response to a proxy for a forwarded request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::Usages;
use postern::oauth::client_store::{Availability, CatchUpError, Lookup};
use serde_json::Value;

use crate::captured_logs;
use crate::http_client::Reply;
use crate::secret_purposes::{DIRECT, TOKEN, behind_proxies, with_secret};
use crate::server::{
    BILLING, CLIENT_ID, LEDGER, NOW, SUBJECT, TestServer, basic, grant, percent_encode_all, record, record_of,
    record_of_two,
};

/// The challenge of RFC 9449 §7.1.
pub(crate) const DPOP: &str = r#"DPoP realm="postern", algs="ES256 RS256 PS256 EdDSA""#;
/// The URL at which every client is accepted.
pub(crate) const ANYONE: &str = "/auth?anyone=true";

pub(crate) async fn ask(server: &TestServer, target: &str, authorization: &str) -> Reply {
    server.send("GET", target, &[("authorization", authorization)], "").await
}

pub(crate) async fn bearer(server: &TestServer, parameters: &str) -> String {
    let token = server.token(parameters).await.json()["access_token"].as_str().unwrap().to_owned();
    format!("Bearer {token}")
}

/// The four headers of a response.
fn who(reply: &Reply) -> [Option<&str>; 4] {
    ["x-postern-subject", "x-postern-client-id", "x-postern-roles", "x-postern-scope"].map(|name| reply.header(name))
}

pub(crate) fn challenges(reply: &Reply) -> Vec<&str> {
    let all = reply.headers.iter().filter(|(name, _)| name == "www-authenticate");
    all.map(|(_, value)| value.as_str()).collect()
}

/// The rule in the last audit line.
pub(crate) fn rule() -> String {
    let text = captured_logs::text();
    let last = text.lines().rfind(|line| line.contains("postern::audit")).expect("a line");
    serde_json::from_str::<Value>(last).unwrap()["rule"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_secret_and_a_token_may_pass_and_the_api_receives_the_identity_of_the_client() {
    let server = TestServer::start().await;
    let token = bearer(&server, "scope=invoices:read").await;
    let everything =
        [Some(SUBJECT), Some(CLIENT_ID), Some("billing.lister billing.reader"), Some("invoices:list invoices:read")];
    let of_the_token = [Some(SUBJECT), Some(CLIENT_ID), Some("billing.reader"), Some("invoices:read")];
    for (authorization, expected) in [(&server.credential.basic(), everything), (&token, of_the_token)] {
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            let reply = server.send(method, ANYONE, &[("authorization", authorization)], "").await;
            assert_eq!((reply.status, who(&reply)), (200, expected), "{method}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.text(), "");
        }
    }
    let raw = format!("{CLIENT_ID}:{}", server.credential.value);
    for authorization in
        [basic(&percent_encode_all(&raw).replace("%3A", ":")), basic(&raw).replacen("Basic", "bAsIc", 1)]
    {
        assert_eq!(ask(&server, ANYONE, &authorization).await.status, 200, "{authorization}");
    }
}

#[tokio::test]
async fn a_query_requires_an_audience_and_scopes_of_it() {
    let server = TestServer::start().await;
    let mut client = record_of_two(&server.credential);
    client.token.multiple_audiences = true;
    server.clients.put(client);
    let token = bearer(&server, &format!("audience={BILLING}&scope=read")).await;
    let at = |audience: &str, rest: &str| format!("/auth?audience={audience}{rest}");
    for (target, secret, with_token) in [
        (ANYONE.to_owned(), 200, 200),
        ("/auth?anyone=true&scope=read".to_owned(), 200, 200),
        ("/auth?anyone=true&scope=entries:read+invoices:read".to_owned(), 200, 403),
        (at(BILLING, ""), 200, 200),
        (at(BILLING, "&scope=read"), 200, 200),
        (at(BILLING, "&scope=invoices:read"), 200, 403),
        (at(BILLING, "&scope=entries:read"), 403, 403),
        (at(LEDGER, "&scope=read%20entries:read"), 200, 403),
        (at("urn:nobody", ""), 403, 403),
    ] {
        assert_eq!(ask(&server, &target, &server.credential.basic()).await.status, secret, "{target}");
        assert_eq!(ask(&server, &target, &token).await.status, with_token, "{target}");
    }
    let reply = ask(&server, &at(LEDGER, ""), &server.credential.basic()).await;
    assert_eq!(who(&reply)[2..], [Some("ledger.admin"), Some("entries:read read")], "of this audience only");
    let both = bearer(&server, &format!("resource={BILLING}&resource={LEDGER}&scope=read")).await;
    assert_eq!(ask(&server, &at(LEDGER, "&scope=read"), &both).await.status, 200, "a token for several");
}

#[tokio::test]
async fn an_audience_is_required_unless_anyone_may_pass() {
    let server = TestServer::start().await;
    server.clients.put(record_of(grant(&[]), &[&server.credential]));
    let authorization = server.credential.basic();
    for (target, answer) in [
        ("/auth", 400),
        ("/auth?", 400),
        ("/auth?scope=read", 400),
        ("/auth?audience=urn:a&anyone=true", 400),
        ("/auth?anyone=false", 400),
        ("/auth?audience=urn:a", 403),
        (ANYONE, 200),
    ] {
        let reply = ask(&server, target, &authorization).await;
        assert_eq!(reply.status, answer, "{target}: this client holds nothing");
        if answer == 400 {
            let described = reply.json()["error_description"].as_str().unwrap().to_owned();
            assert!(described.contains("audience") && described.contains("anyone=true"), "{described}");
        }
    }
}

#[tokio::test]
async fn requirements_in_headers_are_refused_where_they_are_not_read() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    for (name, value) in
        [("x-postern-require-audience", LEDGER), ("X-Postern-Require-Anything", "x"), ("x-postern-scopes", "x")]
    {
        let headers = [("authorization", authorization.as_str()), (name, value)];
        let reply = server.send("GET", &format!("/auth?audience={BILLING}"), &headers, "").await;
        assert_eq!((reply.error(), rule().as_str()), ((400, "invalid_request".to_owned()), "InvalidRequest"), "{name}");
    }
}

#[tokio::test]
async fn u1_a_client_with_too_few_permissions_gets_the_required_scopes() {
    let server = TestServer::start().await;
    for authorization in [server.credential.basic(), bearer(&server, "").await] {
        let reply = ask(&server, "/auth?anyone=true&scope=invoices:read+admin", &authorization).await;
        assert_eq!(reply.error(), (403, "insufficient_scope".to_owned()));
        let challenge = r#"Bearer realm="postern", error="insufficient_scope", scope="invoices:read admin""#;
        assert_eq!(challenges(&reply), [challenge]);
        assert_eq!(rule(), "ScopeNotGranted");
        let reply = ask(&server, &format!("/auth?audience={LEDGER}"), &authorization).await;
        assert_eq!(challenges(&reply), [r#"Bearer realm="postern", error="insufficient_scope""#]);
        assert!(!reply.text().contains("ledger"), "input is not echoed");
        assert_eq!((rule().as_str(), who(&reply)), ("AudienceNotGranted", [None; 4]));
    }
}

#[tokio::test]
async fn u1_no_credentials_get_bare_challenges() {
    let server = TestServer::start().await;
    let bare = [r#"Basic realm="postern", charset="UTF-8""#, r#"Bearer realm="postern""#, DPOP];
    for headers in [&[][..], &[("authorization", "Negotiate abc")], &[("authorization", "")]] {
        let reply = server.send("GET", "/auth?anyone=true&scope=a", headers, "").await;
        assert_eq!((reply.status, challenges(&reply)), (401, bare.to_vec()));
        assert_eq!((reply.text().as_str(), reply.header("cache-control")), ("", Some("no-store")));
    }
}

#[tokio::test]
async fn u1_a_malformed_requirement_of_a_proxy_is_refused_and_never_treated_as_none() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let value = &server.credential.value;
    for query in [
        "scopes=admin".to_owned(),
        "scope=".to_owned(),
        "scope=a&scope=b".to_owned(),
        "scope=a++b".to_owned(),
        "audience=".to_owned(),
        "audience=a".to_owned(),
        "anyone=false".to_owned(),
        "anyone=1".to_owned(),
        format!("access_token={value}"),
        format!("client_id={CLIENT_ID}&client_secret={value}"),
        "scope=%FF".to_owned(),
    ] {
        let reply = ask(&server, &format!("/auth?audience={BILLING}&{query}"), &authorization).await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "{query}");
        assert!(!reply.text().contains(value.as_str()));
    }
    let twice = [("authorization", authorization.as_str()); 2];
    let reply = server.send("GET", ANYONE, &twice, "").await;
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
    assert_eq!(challenges(&reply), [r#"Bearer realm="postern", error="invalid_request""#]);
    let body = format!("access_token={}", &bearer(&server, "").await[7..]);
    assert_eq!(server.send("POST", ANYONE, &[crate::server::FORM], &body).await.status, 401, "the header only");
}

#[tokio::test]
async fn a_secret_is_checked_as_at_the_token_endpoint() {
    let server = TestServer::start().await;
    let stranger = server.credential();
    for authorization in ["Basic", "Basic !!!", &basic("x:y"), &basic(CLIENT_ID), &stranger.basic()] {
        let reply = ask(&server, ANYONE, authorization).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{authorization}");
        assert_eq!(challenges(&reply), [r#"Basic realm="postern", charset="UTF-8""#]);
    }
    server.clients.put(with_secret(&server, TOKEN, None));
    let reply = ask(&server, ANYONE, &server.credential.basic()).await;
    assert_eq!((reply.error(), rule()), ((403, "unauthorized_client".to_owned()), "UseNotAllowed".to_owned()));
    assert_eq!(ask(&server, ANYONE, &basic(&format!("{CLIENT_ID}:{}", stranger.value))).await.status, 401);
    server.clients.put(with_secret(&server, DIRECT, None));
    assert_eq!(ask(&server, ANYONE, &server.credential.basic()).await.status, 200);
    let mut by_form = with_secret(&server, DIRECT, None);
    by_form.auth_methods = MethodSet::from_iter([Method::ClientSecretPost]);
    server.clients.put(by_form);
    let reply = ask(&server, ANYONE, &server.credential.basic()).await;
    assert_eq!(reply.status, 200, "token_endpoint_auth_method is about the token endpoint");
    let mut expired = with_secret(&server, DIRECT, None);
    expired.secrets[0].expires_at = Some(crate::server::instant(NOW));
    server.clients.put(expired);
    assert_eq!(ask(&server, ANYONE, &server.credential.basic()).await.status, 401);
}

#[tokio::test]
async fn a_secret_that_is_not_known_yet_may_pass_after_catching_up() {
    let server = TestServer::start().await;
    let new = server.credential();
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(record(&new))));
    assert_eq!(ask(&server, ANYONE, &new.basic()).await.status, 200);
    assert_eq!(server.clients.catch_ups.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn q2_the_proxy_forwards_the_source_address_of_a_request() {
    let server = behind_proxies().await;
    server.clients.put(with_secret(&server, Usages::ALL, Some(&["192.0.2.0/24"])));
    let authorization = server.credential.basic();
    for (source, status) in [("192.0.2.1", 200), ("192.0.2.1, 198.51.100.1", 401), ("nonsense", 401)] {
        let headers = [("authorization", authorization.as_str()), ("x-forwarded-for", source)];
        assert_eq!(server.send("GET", ANYONE, &headers, "").await.status, status, "{source}");
    }
    assert_eq!(rule(), "NetworkNotAllowed");
}

#[tokio::test]
async fn a_token_of_a_client_that_is_not_known_yet_may_pass_after_catching_up() {
    let server = TestServer::start().await;
    let token = bearer(&server, "").await;
    server.clients.set(CLIENT_ID, Lookup::Unknown);
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(record(&server.credential))));
    assert_eq!(ask(&server, ANYONE, &token).await.status, 200);
    server.clients.set(CLIENT_ID, Lookup::Unknown);
    for (error, status) in [(CatchUpError::Behind, 503), (CatchUpError::RateLimited, 429)] {
        *server.clients.catch_up.lock().unwrap() = Err(error);
        for authorization in [token.clone(), server.credential.basic()] {
            let reply = ask(&server, ANYONE, &authorization).await;
            assert_eq!(reply.error(), (status, "temporarily_unavailable".to_owned()));
            assert!(reply.header("retry-after").is_some());
        }
    }
}

#[tokio::test]
async fn r6_a_replica_that_is_not_synced_or_stale_or_without_keys_answers_503() {
    let server = TestServer::start().await;
    let token = bearer(&server, "").await;
    for availability in [Availability::NotSynced, Availability::Stale] {
        *server.clients.availability.lock().unwrap() = availability;
        for headers in [&[][..], &[("authorization", token.as_str())]] {
            let reply = server.send("GET", ANYONE, headers, "").await;
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        }
    }
    *server.clients.availability.lock().unwrap() = Availability::Serving;
    server.keys.signing.store(None);
    assert_eq!((ask(&server, ANYONE, &token).await.status, rule()), (503, "NoKey".to_owned()));
    server.keys.install.store(None);
    assert_eq!(ask(&server, ANYONE, &server.credential.basic()).await.status, 503);
}

#[tokio::test]
async fn a_proxy_that_asks_with_the_original_path_sends_its_requirement_in_headers() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let asked = async |target: &str, more: &[(&str, &str)]| {
        let headers = [&[("authorization", authorization.as_str())], more].concat();
        server.send("DELETE", target, &headers, "").await.status
    };
    let (audience, scope) = (("x-postern-require-audience", BILLING), ("x-postern-require-scope", "invoices:read"));
    let anyone = ("x-postern-require-anyone", "true");
    for target in ["/auth/request/", "/auth/request/v1/invoices?scope=admin&x=%FF", "/auth/request//../auth?audience=x"]
    {
        assert_eq!(asked(target, &[audience, scope]).await, 200, "{target}");
        assert_eq!(asked(target, &[audience]).await, 200);
        assert_eq!(asked(target, &[audience, ("x-postern-require-scope", "admin")]).await, 403);
        assert_eq!(asked(target, &[anyone]).await, 200);
        for wrong in [
            &[audience, audience][..],
            &[audience, anyone],
            &[],
            &[scope],
            &[audience, ("x-postern-require-scopes", "admin")],
            &[audience, ("x-postern-require-role", "admin")],
            &[audience, ("x-postern-require-scope", "")],
            &[audience, ("x-postern-require-scope", "\u{e9}")],
            &[("x-postern-require-anyone", "yes")],
        ] {
            assert_eq!(asked(target, wrong).await, 400, "{wrong:?}");
        }
    }
    assert_eq!(asked("/auth/request?scope=invoices:read", &[audience]).await, 404);
    assert_eq!(asked("/auth/?scope=invoices:read", &[]).await, 404);
}

#[tokio::test]
async fn q4_q5_each_decision_is_one_line_and_is_counted() {
    let server = TestServer::start().await;
    let token = bearer(&server, "").await;
    let target = format!("/auth?audience={BILLING}&scope=invoices:read");
    let reply = ask(&server, &target, &server.credential.basic()).await;
    let text = captured_logs::text();
    let id = reply.header("x-request-id").unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["request_id"] == id).unwrap();
    for (field, value) in [
        ("message", "request allowed"),
        ("outcome", "allowed"),
        ("client_id", CLIENT_ID),
        ("source", "127.0.0.1"),
        ("secret", "billing/invoice-sync-0"),
        ("scope", "invoices:read"),
        ("audience", BILLING),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    let _ = ask(&server, &target, &token).await;
    let _ = ask(&server, "/auth?anyone=true&scope=x", &token).await;
    let _ = ask(&server, ANYONE, "Bearer x").await;
    let _ = ask(&server, ANYONE, "Basic x").await;
    let _ = server.get(ANYONE).await;
    let _ = ask(&server, "/auth?anyone=true&x", &token).await;
    let text = server.metrics_text();
    for (outcome, times) in [
        ("allowed", 2),
        ("insufficient_scope", 1),
        ("invalid_token", 1),
        ("invalid_client", 1),
        ("no_credentials", 1),
        ("invalid_request", 1),
        ("unauthorized_client", 0),
        ("unavailable", 0),
        ("rate_limited", 0),
    ] {
        let line = format!("postern_http_requests_total{{endpoint=\"forward_auth\",outcome=\"{outcome}\"}} {times}");
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    let text = captured_logs::text();
    for secret in [server.credential.value.as_str(), &token[7..], &server.credential.basic()[6..]] {
        assert!(!text.contains(&secret[secret.len() - 30..]));
    }
}

#[test]
fn the_documented_proxies_remove_headers_that_an_api_could_mistake_for_those_of_postern() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/forward-auth.md")).unwrap();
    let (traefik, envoy) = page.split_once("\n## Traefik").unwrap().1.split_once("\n## Envoy").unwrap();
    assert!(traefik.contains("\n      Authorization: \"\"\n"));
    for header in ["X-Postern-Subject", "X-Postern-Client-Id", "X-Postern-Roles", "X-Postern-Scope"] {
        let parts: Vec<&str> = header.split('-').collect();
        // Each way to replace one or several hyphens by an underscore.
        for underscores in 1..1_u32 << (parts.len() - 1) {
            let mut name = parts[0].to_owned();
            for (at, part) in parts[1..].iter().enumerate() {
                name.push(if underscores & (1 << at) == 0 { '-' } else { '_' });
                name.push_str(part);
            }
            assert!(traefik.contains(&format!("\n      {name}: \"\"\n")), "{name} is not removed");
        }
    }
    for removed in ["headers_with_underscores_action: DROP_HEADER", "request_headers_to_remove: [authorization]"] {
        assert!(envoy.contains(removed), "{removed}");
    }
}
