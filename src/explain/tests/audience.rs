//! The explanation of an API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{AUDIENCE, NOW, claimant, facts, now, read, secret, settings, version};
use crate::explain::audience::{self, ExplainedAudience};
use crate::explain::print;
use crate::explain::snapshot::{CallerFacts, Snapshot};

fn explain(audience: &str, clients: Vec<Snapshot>) -> ExplainedAudience {
    let groups = clients.first().map_or_else(|| Some(Arc::default()), |facts| facts.groups.clone());
    audience::explain(audience, &CallerFacts { clients, groups, notes: Vec::new() }, &settings(), now())
}

fn json_of(audience: &str, clients: Vec<Snapshot>) -> Value {
    serde_json::to_value(explain(audience, clients)).unwrap()
}

fn active() -> Value {
    json!([version("Active", None)])
}

#[test]
fn only_an_application_with_a_permission_at_the_audience_is_a_caller() {
    let nothing = facts(&["closed"]);
    let mut away = facts(&["readers"]);
    away.application.spec.restrict_to = Some(read(json!({"audiences": ["https://ledger.example.com"]})));
    let mut caller = facts(&["readers"]);
    caller.application.metadata.name = Some("caller".to_owned());
    let told = json_of(AUDIENCE, vec![nothing, away, caller]);
    let callers = told["callers"].as_array().unwrap();
    assert_eq!(callers.len(), 1, "{told:#}");
    assert_eq!(callers[0]["application"], "billing/caller");
    assert_eq!(callers[0]["serviceUser"], json!({"name": "billing/sync", "subject": super::SUBJECT}));
    assert_eq!(callers[0]["scopes"], json!(["invoices:list", "invoices:read"]));
    assert_eq!(told["notes"], json!([]));
    let elsewhere = json_of("https://billing.example.com/", vec![facts(&["readers"])]);
    assert_eq!(elsewhere["callers"], json!([]));
    assert!(elsewhere["notes"][0].as_str().unwrap().starts_with("No AccessGroup permits anything at"), "{elsewhere:#}");
}

#[test]
fn a_client_secret_is_listed_with_the_scopes_that_its_restriction_and_usages_leave() {
    let mut facts = facts(&["readers"]);
    let mut used = secret("used", 1, &json!({"restrictTo": {"scopes": ["invoices:read"]}}), &active());
    used.status.as_mut().unwrap().last_used_at = Some(NOW.parse().unwrap());
    facts.secrets = vec![
        used,
        secret("away", 2, &json!({"restrictTo": {"audiences": ["https://ledger.example.com"]}}), &active()),
        secret("manages", 3, &json!({"usages": ["Manage"]}), &active()),
        secret("direct", 4, &json!({"usages": ["Direct"]}), &active()),
    ];
    let told = json_of(AUDIENCE, vec![facts]);
    let caller = &told["callers"][0];
    let reaching: Vec<_> =
        caller["clientSecrets"].as_array().unwrap().iter().map(|it| (&it["name"], &it["scopes"])).collect();
    let expected =
        [(&json!("used"), &json!(["invoices:read"])), (&json!("direct"), &json!(["invoices:list", "invoices:read"]))];
    assert_eq!(reaching, expected, "{told:#}");
    assert_eq!((&caller["lastUsedAt"], &caller["clientSecrets"][0]["lastUsedAt"]), (&json!(NOW), &json!(NOW)));
}

#[test]
fn a_refused_caller_is_listed_with_its_rule() {
    let mut suspended = facts(&["readers"]);
    suspended.application.spec.suspend = Some(true);
    let mut revoked = facts(&["readers"]);
    revoked.application.metadata.name = Some("revoked".to_owned());
    revoked.claimants = vec![claimant("billing", "revoked")];
    revoked.secrets = vec![secret("old", 1, &json!({"revoke": true}), &active())];
    let mut without = facts(&["readers"]);
    without.application.metadata.name = Some("without".to_owned());
    without.claimants = vec![claimant("billing", "without")];
    without.secrets = Vec::new();
    let explained = explain(AUDIENCE, vec![without, revoked, suspended]);
    assert!(explained.callers.iter().flat_map(|caller| &caller.client_secrets).all(|secret| !secret.ready.active));
    let mut out = Vec::new();
    print::audience(&explained, now(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows[0], format!("Audience {AUDIENCE}"));
    assert_eq!(rows[3], "APPLICATION SERVICE USER CLIENT SECRET ACTIVE LAST USED SCOPES");
    assert_eq!(
        rows[4..],
        [
            "billing/revoked billing/sync old no, Revoked never invoices:list invoices:read",
            "billing/sync billing/sync blue no, ApplicationSuspended never invoices:list invoices:read",
            "billing/without billing/sync none no never invoices:list invoices:read",
        ]
    );
}

#[test]
fn a_caller_with_a_credential_of_its_own_is_active_without_a_client_secret() {
    let mut facts = facts(&["readers"]);
    facts.secrets = Vec::new();
    let auth = json!({
        "methods": ["kubernetes_service_account"], "serviceAccounts": [{"name": "sync"}], "networks": ["10.0.0.0/8"],
    });
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    let used = json!([{"method": "kubernetes_service_account", "lastUsedAt": NOW}]);
    facts.application.status.as_mut().unwrap().auth_methods = serde_json::from_value(used).unwrap();
    let explained = explain(AUDIENCE, vec![facts]);
    let told = serde_json::to_value(&explained).unwrap();
    let caller = &told["callers"][0];
    assert_eq!((&caller["hasOwnCredential"], &caller["lastUsedAt"]), (&json!(true), &json!(NOW)), "{caller:#}");
    assert_eq!(caller["networks"], json!(["10.0.0.0/8"]));
    let mut out = Vec::new();
    print::audience(&explained, now(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[2..5], ["none", "yes", NOW], "{text}");
}

#[test]
fn a_caller_who_may_not_read_groups_gets_the_permissions_recorded_in_status() {
    let mut facts = facts(&["readers"]);
    facts.groups = None;
    let held = json!([{"audience": AUDIENCE, "scopes": ["invoices:list", "invoices:read"]}]);
    facts.application.status.as_mut().unwrap().permissions = Some(read(held));
    let restricted = |number: u8, restriction: Value| {
        secret(&format!("s{number}"), number, &json!({"restrictTo": restriction}), &active())
    };
    facts.secrets = vec![
        restricted(1, json!({"scopes": ["invoices:read"]})),
        restricted(2, json!({"roles": ["billing.reader"]})),
        restricted(3, json!({"audiences": ["https://ledger.example.com"]})),
        restricted(4, json!({"roles": []})),
    ];
    let told = json_of(AUDIENCE, vec![facts]);
    let secrets = told["callers"][0]["clientSecrets"].as_array().unwrap().iter();
    let scopes: BTreeMap<_, _> = secrets.map(|it| (it["name"].as_str().unwrap(), it["scopes"].clone())).collect();
    let expected = [("s1", json!(["invoices:read"])), ("s2", json!(["invoices:list", "invoices:read"]))];
    assert_eq!(scopes, BTreeMap::from(expected), "{told:#}");
}

#[test]
fn a_note_that_many_clients_share_is_printed_once() {
    let mut one = facts(&["readers"]);
    one.application.status.as_mut().unwrap().secrets =
        Some(read(json!({"active": 1, "total": 1, "limit": 20, "summary": "1/1"})));
    let mut other = facts(&["readers"]);
    other.application.status.clone_from(&one.application.status);
    let told = explain(AUDIENCE, vec![one, other]);
    assert_eq!(told.notes.len(), 1, "{:?}", told.notes);
    assert!(told.notes[0].contains("--secrets-per-application=20"));
}
