//! Q4: what an audit line contains of a caller's text, and which object it names.

use std::sync::Arc;
use std::time::Duration;

use postern::oauth::client_record::{Denial, TokenFormat};
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use serde_json::Value;

use crate::captured_logs;
use crate::operations::audit;
use crate::server::{BILLING, CLIENT_ID, GRANT, TestServer, basic, claims, grant, object, record, record_of_two};

#[tokio::test]
async fn q4_a_scope_that_is_not_granted_is_logged_with_the_object_that_excludes_it() {
    let server = TestServer::start().await;
    let narrow = grant(&[(BILLING, "invoices:read", "billing.reader", "Operational")]);
    let mut client = record(&server.credential);
    client.secrets[0].grant = Arc::clone(&narrow);
    server.clients.put(client);
    let object = |line: &Value| line["object"].as_str().unwrap().to_owned();

    let line = audit(&server.token("scope=invoices:list").await);
    assert_eq!(object(&line), "ClientSecret billing/invoice-sync-0", "the application holds it");
    for (parameters, rule) in [
        ("scope=invoices:write", "ScopeNotGranted"),
        ("audience=https://ledger.example.com", "AudienceNotGranted"),
        ("resource=https://billing.example.com&resource=https://ledger.example.com", "SeveralAudiences"),
    ] {
        let line = audit(&server.token(parameters).await);
        assert_eq!((line["rule"].as_str(), object(&line).as_str()), (Some(rule), "Application billing/invoice-sync"));
    }
    server.clients.put(record_of_two(&server.credential));
    let line = audit(&server.token("").await);
    assert_eq!(line["rule"], "AudienceAmbiguous");
    assert_eq!(object(&line), "Application billing/invoice-sync");

    let mut client = record(&server.credential);
    client.secrets[0].grant = narrow;
    server.clients.put(client);
    for (scope, lacks) in
        [("invoices:list", "ClientSecret billing/invoice-sync-0"), ("x", "Application billing/invoice-sync")]
    {
        let headers = [("authorization", &*server.credential.basic())];
        let reply = server.send("GET", &format!("/auth?anyone=true&scope={scope}"), &headers, "").await;
        assert_eq!(reply.status, 403);
        assert_eq!(object(&audit(&reply)), lacks);
    }
}

#[tokio::test]
async fn q4_a_refusal_before_authentication_shows_the_requested_scope_and_audience() {
    let server = TestServer::start().await;
    let asked = async |parameters: &str| audit(&server.post(&[], &format!("{GRANT}&{parameters}")).await);
    let line = asked("scope=invoices:read+urn:postern:aud:ledger&resource=urn:b").await;
    assert_eq!((line["rule"].as_str(), line["scope"].as_str()), (Some("NoCredentials"), Some("invoices:read")));
    assert_eq!(line["audience"], "urn:b ledger");
    let line = asked("scope=%22&resource=not+absolute&audience=a").await;
    assert_eq!((line["rule"].as_str(), line["audience"].as_str()), (Some("ScopeSyntax"), Some("not absolute a")));
}

#[tokio::test]
async fn q4_tokens_assertions_and_imported_values_are_not_logged_in_the_wrong_field() {
    let server = TestServer::start().await;
    let jwt = server.token("").await.json()["access_token"].as_str().unwrap().to_owned();
    let mut client = record(&server.credential);
    client.token.format = TokenFormat::Opaque { idle: None };
    server.clients.put(client);
    let opaque = server.token("").await.json()["access_token"].as_str().unwrap().to_owned();
    let imported = "correct-horse-battery-staple";
    for (value, fields) in [
        (jwt.as_str(), &["client_id", "scope", "audience", "grant_type"][..]),
        (&opaque, &["client_id", "scope", "audience", "grant_type"]),
        (imported, &["client_id", "grant_type"]),
    ] {
        for field in fields {
            let mut form = vec![("grant_type", "client_credentials"), ("client_id", "x"), ("client_secret", "y")];
            form.retain(|(name, _)| name != field);
            form.push((field, value));
            let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let line = audit(&server.post(&[], &form.join("&")).await);
            assert_eq!(line[field], "[REDACTED]", "{field}={value}");
        }
        let swapped = server.post(&[("authorization", &basic(&format!("{value}:{CLIENT_ID}")))], GRANT).await;
        assert_eq!(audit(&swapped)["client_id"], "[REDACTED]");
        assert!(!captured_logs::text().contains(value));
    }
}

#[tokio::test]
async fn q4_the_id_of_an_existing_client_is_shown_and_an_unknown_one_of_that_form_is_not() {
    const OPEN: &str = "billing-sync.prod~1";
    const CLOSED: &str = "billing_sync.Closed~1";
    let server = TestServer::start().await;
    let mut client = record(&server.credential);
    client.client_id = OPEN.into();
    server.clients.set(OPEN, Lookup::Live(Arc::new(client)));
    let refusal = Denial { rule: DenialRule::Suspended, object: object("Application", "closed") };
    server.clients.set(CLOSED, Lookup::Disabled(Arc::new(refusal)));
    let right = &server.credential.value;
    for (id, shown) in [
        (OPEN, OPEN),
        (CLOSED, CLOSED),
        ("billing-sync.prod~2", "[REDACTED]"),
        ("BILLING-SYNC.PROD~1", "[REDACTED]"),
        ("3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1f", "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1f"),
        ("billing-sync~1", "billing-sync~1"),
    ] {
        let encoded = id.replace('~', "%7E");
        let with_basic = |id: &str| basic(&format!("{id}:a-wrong-value-of-some-length"));
        for (headers, body) in [
            (vec![("authorization", with_basic(id))], GRANT.to_owned()),
            (vec![("authorization", with_basic(&encoded))], GRANT.to_owned()),
            (vec![], format!("{GRANT}&client_id={encoded}&client_secret=a-wrong-value-of-some-length")),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = server.post(&headers, &body).await;
            assert_eq!((reply.status, &audit(&reply)["client_id"]), (401, &Value::from(shown)), "{body}");
        }
        let reply = server.send("GET", "/auth?anyone=true", &[("authorization", &with_basic(id))], "").await;
        assert_eq!((reply.status, &audit(&reply)["client_id"]), (401, &Value::from(shown)));
    }
    for header in [basic(&format!("{OPEN}:{right}")), basic(&format!("billing-sync.prod%7E1:{right}"))] {
        let reply = server.post(&[("authorization", &header)], GRANT).await;
        assert_eq!((reply.status, &audit(&reply)["client_id"]), (200, &Value::from(OPEN)));
        assert_eq!(claims(&reply)["client_id"], OPEN);
    }
    let body = format!("{GRANT}&client_id=billing-sync.prod%7E1&client_secret={right}");
    assert_eq!(server.post(&[], &body).await.status, 200);
}

#[tokio::test]
async fn q4_refused_requests_have_a_bounded_number_of_lines_and_granted_ones_have_all_of_theirs() {
    let server = TestServer::start().await;
    let lines = |text: &str| captured_logs::text().lines().filter(|line| line.contains(text)).count();
    let stranger = basic("x:y");
    let refused = async |number: usize| {
        for _ in 0..number {
            assert_eq!(server.post(&[("authorization", &stranger)], GRANT).await.status, 401);
        }
    };
    // More than the limits of all seconds that this takes would allow, in sequence or interleaved.
    let mut sent = 0;
    while suppressed(&server) < 50 {
        refused(50).await;
        sent += 50;
        for _ in 0..5 {
            assert_eq!(server.token("").await.status, 200);
        }
    }
    let summary = || -> u64 {
        let text = captured_logs::text();
        let summaries = text.lines().filter(|line| line.contains("audit lines of refused requests suppressed"));
        let summaries = summaries.map(|line| serde_json::from_str::<Value>(line).unwrap());
        summaries
            .map(|line| {
                assert_eq!(line["source_network"], "127.0.0.0/24");
                line["lines"].as_u64().unwrap()
            })
            .sum()
    };
    while summary() < suppressed(&server) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lines("\"token refused\"") as u64 + suppressed(&server), sent, "each has a line or is counted");
    assert_eq!(lines("\"token issued\"") as u64, sent / 10, "and none that was granted is left out");
    let counted = format!("postern_http_requests_total{{endpoint=\"token\",outcome=\"invalid_client\"}} {sent}\n");
    assert!(server.metrics_text().contains(&counted));
}

fn suppressed(server: &TestServer) -> u64 {
    let text = server.metrics_text();
    let line = text.lines().find_map(|line| line.strip_prefix("postern_audit_lines_suppressed_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn every_rule_of_a_denial_is_described_in_the_table_for_operators() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/audit-log.md")).unwrap();
    let (_, table) = page.split_once("| `rule` | means |\n|---|---|\n").unwrap();
    let found: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let wanted: Vec<_> =
        DenialRule::ALL.iter().map(|rule| format!("| `{}` | {} |", rule.name(), rule.meaning())).collect();
    assert_eq!(found, wanted);
}
