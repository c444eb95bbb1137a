//! Q: audit, metrics, and shutdown.

use std::sync::Arc;
use std::time::Duration;

use postern::http::server::ServerLimits;
use postern::oauth::client_record::Denial;
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use postern::telemetry::request_metrics::Route;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::captured_logs;
use crate::http_client::{self, Reply};
use crate::server::{BILLING, CLIENT_ID, FORM, GRANT, Options, TestServer, basic, object};

/// The audit line of a response.
pub(crate) fn audit(reply: &Reply) -> Value {
    let id = reply.header("x-request-id").unwrap();
    let text = captured_logs::text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines = lines.filter(|line| line["target"] == "postern::audit" && line["request_id"] == id);
    let line = lines.next().unwrap_or_else(|| panic!("no line for {id} in {text}"));
    assert!(lines.next().is_none(), "one line per decision");
    line
}

#[tokio::test]
async fn q4_a_token_is_one_line_that_names_client_secret_and_token() {
    let server = TestServer::start().await;
    let reply = server.token("scope=invoices:read").await;
    let line = audit(&reply);
    for (field, value) in [
        ("outcome", "issued"),
        ("client_id", CLIENT_ID),
        ("secret", "billing/invoice-sync-0"),
        ("secret_version", server.credential.version.id.as_str()),
        ("grant_type", "client_credentials"),
        ("scope", "invoices:read"),
        ("audience", BILLING),
        ("jti", crate::server::claims(&reply)["jti"].as_str().unwrap()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert_eq!(line["source"], "127.0.0.1");
}

#[tokio::test]
async fn q4_a_refusal_names_rule_object_and_revision() {
    let server = TestServer::start().await;
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    server.clients.set("suspended", Lookup::Disabled(Arc::new(suspended)));
    let value = &server.credential.value;
    let reply = server.post(&[("authorization", &basic(&format!("suspended:{value}")))], GRANT).await;
    let line = audit(&reply);
    assert_eq!((line["outcome"].as_str(), line["rule"].as_str()), (Some("invalid_client"), Some("Suspended")));
    assert_eq!(
        (line["object"].as_str(), line["revision"].as_str()),
        (Some("Application billing/invoice-sync"), Some("1234"))
    );
    assert_eq!(line["client_id"], "suspended");

    let line = audit(&server.token("scope=x").await);
    assert_eq!((line["outcome"].as_str(), line["rule"].as_str()), (Some("invalid_scope"), Some("ScopeNotGranted")));
    assert_eq!((line["scope"].as_str(), line["secret"].as_str()), (Some("x"), Some("billing/invoice-sync-0")));

    let reply = server.send("POST", "/oauth2/token?scope=x", &[FORM], GRANT).await;
    assert_eq!(audit(&reply)["rule"], "InvalidRequest");
}

#[tokio::test]
async fn q4_no_log_line_at_any_level_contains_a_credential() {
    let server = TestServer::start().await;
    let (value, unknown) = (server.credential.value.clone(), server.credential().value);
    let good = server.token("").await;
    let _ = server.post(&[], &format!("{GRANT}&client_id={CLIENT_ID}&client_secret={value}")).await;
    let _ = server.post(&[("authorization", &basic(&format!("{CLIENT_ID}:{unknown}")))], GRANT).await;
    // Values in the wrong fields, and credentials where none belong.
    let _ = server.post(&[("authorization", &basic(&format!("{value}:{CLIENT_ID}")))], GRANT).await;
    let _ = server.post(&[], &format!("{GRANT}&client_id={value}&client_secret={value}")).await;
    let _ = server.post(&[], &format!("grant_type={value}")).await;
    let _ = server.token(&format!("scope={value}")).await;
    let _ = server.token(&format!("audience={value}&resource=urn:{value}")).await;
    let _ = server.send("POST", &format!("/oauth2/token?client_secret={value}"), &[FORM], GRANT).await;
    let _ = server.send("POST", &format!("/oauth2/{value}"), &[FORM], GRANT).await;
    let text = captured_logs::text();
    assert!(text.contains("postern::audit"));
    let access_token = good.json()["access_token"].as_str().unwrap().to_owned();
    for secret in [value.as_str(), unknown.as_str(), &server.credential.basic()[6..], access_token.as_str()] {
        let part = &secret[secret.len() - 30..];
        assert!(!text.contains(part), "{:?}", text.lines().find(|line| line.contains(part)));
    }
}

#[tokio::test]
async fn q4_what_callers_send_is_escaped_and_bounded() {
    let server = TestServer::start().await;
    let reply = server.post(&[], &format!("{GRANT}&client_id=a%0Ab%1B[31m&client_secret=x")).await;
    assert_eq!(audit(&reply)["client_id"], "a\\nb\\u{1b}[31m…");
    let reply = server.token(&format!("scope={}", "x".repeat(50_000))).await;
    assert!(audit(&reply).to_string().len() < 2000);
}

#[tokio::test]
async fn q5_requests_are_counted_by_outcome_and_work_is_timed() {
    let server = TestServer::start().await;
    let _ = server.token("").await;
    let _ = server.token("").await;
    let _ = server.post(&[], GRANT).await;
    let _ = server.token("scope=x").await;
    let _ = server.token("audience=x").await;
    let _ = server.post(&[], "grant_type=password").await;
    let _ = server.post(&[], "").await;
    server.metrics.set_read_model_age(Duration::from_secs(3));
    let text = server.metrics_text();
    for line in [
        r#"postern_http_requests_total{endpoint="token",outcome="issued"} 2"#,
        r#"postern_http_requests_total{endpoint="token",outcome="invalid_client"} 1"#,
        r#"postern_http_requests_total{endpoint="token",outcome="invalid_scope"} 1"#,
        r#"postern_http_requests_total{endpoint="token",outcome="invalid_target"} 1"#,
        r#"postern_http_requests_total{endpoint="token",outcome="unsupported_grant_type"} 1"#,
        r#"postern_http_requests_total{endpoint="token",outcome="invalid_request"} 1"#,
        r#"postern_http_requests_total{endpoint="token",outcome="unavailable"} 0"#,
        "postern_secret_hash_duration_seconds_count 1",
        "postern_token_sign_duration_seconds_count 2",
        "postern_secret_hashes_in_flight 0",
        "postern_read_model_age_seconds 3.0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn on_shutdown_the_server_finishes_requests_in_flight_and_accepts_no_more() {
    let mut server = TestServer::start().await;
    let headers = [("authorization", &*server.credential.basic()), FORM];
    let whole = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    let (first, second) = whole.split_at(whole.len() - 10);
    let mut in_flight = TcpStream::connect(server.addr).await.unwrap();
    in_flight.write_all(first).await.unwrap();
    // Connections are accepted in order, so the connection above is accepted when this one gets a response.
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    idle.write_all(b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n").await.unwrap();
    assert_eq!(http_client::one(&mut idle).await.status, 200);

    server.shutdown.cancel();
    assert_eq!(http_client::to_end(&mut idle).await, b"", "idle connections are closed");
    assert!(TcpStream::connect(server.addr).await.is_err(), "no new connections");
    assert_eq!(http_client::exchange(&mut in_flight, second).await.status, 200);
    (&mut server.task).await.unwrap();
}

#[tokio::test]
async fn an_endless_request_does_not_prevent_the_shutdown_of_the_server() {
    let server = ServerLimits { shutdown: Duration::from_millis(50), ..ServerLimits::default() };
    let mut server = TestServer::start_with(Options { server, ..Options::default() }).await;
    let whole = http_client::request("POST", "/oauth2/token", &[FORM], GRANT.as_bytes());
    let mut endless = TcpStream::connect(server.addr).await.unwrap();
    endless.write_all(&whole[..whole.len() - 1]).await.unwrap();
    assert_eq!(server.get("/oauth2/jwks").await.status, 200);
    server.shutdown.cancel();
    (&mut server.task).await.unwrap();
    assert_eq!(http_client::to_end(&mut endless).await, b"");
}

#[test]
fn every_endpoint_and_outcome_is_in_the_reference_of_the_metrics() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md")).unwrap();
    for route in Route::ALL {
        assert!(page.contains(&format!("\n| `{}` | ", route.as_str())), "{}", route.as_str());
        for outcome in route.outcomes() {
            assert!(page.contains(&format!("`{}`", outcome.as_str())), "{}", outcome.as_str());
        }
    }
}
