//! The explanation of a token.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::client::explain;
use super::{AUDIENCE, CLIENT, SUBJECT, facts, now, read, secret, settings, uid, version};
use crate::api::application::SenderConstraint;
use crate::api::fingerprint::{application_fingerprint, token_fingerprint, user_fingerprint};
use crate::api::permissions::{NamespaceLocation, narrow, resolve};
use crate::explain::claims;
use crate::explain::snapshot::{Snapshot, TokenFacts};
use crate::explain::token;
use crate::oauth::claims::OwnClaims;
use crate::oauth::denial_rule::DenialRule;

/// The same objects with epochs: status has their fingerprints.
fn numbered(mut facts: Snapshot) -> Snapshot {
    let user = facts.user.as_mut().unwrap();
    let held =
        resolve(&user.spec, &facts.namespace, NamespaceLocation::Optional, |name| facts.groups.as_ref()?.get(name));
    let narrowed = narrow(&held.authority, facts.application.spec.restrict_to.as_ref());
    user.status.as_mut().unwrap().fingerprint = Some(user_fingerprint(&user.spec, &held));
    let fingerprint = application_fingerprint(&narrowed, CLIENT, SUBJECT, SenderConstraint::None, None);
    facts.application.status.as_mut().unwrap().fingerprint = Some(fingerprint);
    facts
}

/// The token that the client of `facts` is issued for its first secret, at epochs 4 and 2, with these changes.
fn claims(facts: &Snapshot, changed: &Value) -> OwnClaims<'static> {
    let secret = &explain(facts).client_secrets[0];
    let mut claims = json!({
        "iss": "https://postern.example.com", "sub": SUBJECT, "aud": AUDIENCE, "client_id": CLIENT, "jti": "j",
        "iat": now().as_second() - 60, "exp": now().as_second() + 600, "scope": "invoices:read other",
        "roles": ["billing.reader"], "planes": ["Operational"], "location": "/emea/billing",
        "postern_epoch": [4, 2], "postern_authority": secret.token_fingerprint,
    });
    claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    serde_json::from_str(claims.to_string().leak()).unwrap()
}

fn explain_token(facts: Snapshot, changed: &Value) -> token::TokenReport {
    let claims = claims(&facts, changed);
    let facts = TokenFacts { client: Some(facts), revoked: Some(BTreeSet::from(["revoked".to_owned()])) };
    token::explain(&claims, &facts, &settings(), now())
}

#[test]
fn a_token_that_matches_the_current_permissions_has_no_faults() {
    let told = explain_token(numbered(facts(&["readers", "elsewhere"])), &json!({}));
    assert_eq!((told.faults.as_slice(), told.client_secret.as_deref()), (&[][..], Some("blue")));
    let [read, other] = told.scopes.as_slice() else { panic!("{:?}", told.scopes) };
    assert!(read.granted && read.from[0].groups == ["readers"]);
    assert!(!other.granted && other.why.as_ref().unwrap().contains("AccessGroup elsewhere is at /apac"), "{other:?}");
}

#[test]
fn what_a_token_is_bound_to_is_shown() {
    for (cnf, expected) in [
        (json!({"jkt": "abc"}), Some("DPoP key abc")),
        (json!({"x5t#S256": "abc"}), Some("certificate abc (x5t#S256)")),
        (Value::Null, None),
    ] {
        let told = explain_token(numbered(facts(&["readers"])), &json!({"cnf": cnf}));
        assert_eq!(told.bound_to.as_deref(), expected, "{cnf}");
    }
}

#[test]
fn every_reason_to_reject_a_token_is_reported() {
    type Change = fn(&mut Snapshot);
    let nothing: Change = |_| {};
    let another = token_fingerprint("deleted", "x");
    let table: [(&str, Value, Change); 15] = [
        ("OtherIssuer", json!({"iss": "https://elsewhere.example.com"}), nothing),
        ("TokenExpired", json!({"exp": now().as_second()}), nothing),
        ("TokenExpired", json!({}), |facts| facts.secrets[0].spec.expires_in = Some(read(json!("1h")))),
        ("UnknownClient", json!({}), |facts| {
            facts.application.metadata.deletion_timestamp = Some(Time(now()));
        }),
        ("TokenRevoked", json!({"jti": "revoked"}), nothing),
        ("AuthorityChanged", json!({"postern_epoch": [3, 2]}), nothing),
        ("AuthorityChanged", json!({"postern_epoch": [4, 1]}), nothing),
        ("UnknownAuthority", json!({"postern_epoch": [5, 2]}), nothing),
        ("AuthorityChanged", json!({"sub": uid(7), "postern_epoch": [9, 2], "postern_authority": another}), nothing),
        ("AuthorityChanged", json!({"postern_authority": another}), nothing),
        // The clock of the workstation is slow.
        ("AuthorityChanged", json!({"postern_authority": another, "iat": now().as_second() + 60}), nothing),
        ("ServiceUserSuspended", json!({}), |facts| facts.user.as_mut().unwrap().spec.suspend = Some(true)),
        ("Revoked", json!({}), |facts| facts.secrets[0].spec.revoke = Some(true)),
        ("NamespaceUnknown", json!({}), |facts| facts.namespace.terminating = true),
        ("Suspended", json!({}), |facts| {
            facts.namespace.terminating = true;
            facts.application.spec.suspend = Some(true);
        }),
    ];
    for (rule, changed, change) in table {
        let mut facts = numbered(facts(&["readers"]));
        change(&mut facts);
        let told = explain_token(facts, &changed);
        let rules: Vec<_> = told.faults.iter().map(|fault| fault.rule.name()).collect();
        assert_eq!(rules, [rule], "{changed}");
    }
}

#[test]
fn a_secret_beyond_the_limit_has_the_rule_of_the_log_and_the_message_of_its_condition() {
    let mut facts = numbered(facts(&["readers"]));
    let of_first = json!({"postern_authority": explain(&facts).client_secrets[0].token_fingerprint});
    let live = || json!([version("Active", None)]);
    facts.secrets.splice(0..0, [secret("older", 2, &json!({}), &live()), secret("old", 3, &json!({}), &live())]);
    let report = explain_token(facts, &of_first);
    let [fault] = report.faults.as_slice() else { panic!("{:?}", report.faults) };
    assert_eq!((fault.rule, report.client_secret.as_deref()), (DenialRule::AuthorityChanged, Some("blue")));
    assert!(fault.message.starts_with("ClientSecret blue is refused: spec.applicationRef: 2 older"), "{fault:?}");
}

#[test]
fn every_check_runs_and_a_change_of_epoch_explains_the_missing_secret() {
    let mut facts = numbered(facts(&["readers"]));
    facts.secrets[0].spec.revoke = Some(true);
    let rules = |report: &token::TokenReport| report.faults.iter().map(|fault| fault.rule.name()).collect::<Vec<_>>();
    let report = explain_token(facts, &json!({"postern_epoch": [5, 1], "jti": "revoked"}));
    assert_eq!(rules(&report), ["TokenRevoked", "AuthorityChanged", "UnknownAuthority", "Revoked"]);
    let facts = numbered(super::facts(&["readers"]));
    let report = explain_token(facts, &json!({"postern_epoch": [4, 1], "postern_authority": "another"}));
    assert_eq!(rules(&report), ["AuthorityChanged"]);
    assert!(report.faults[0].message.starts_with("Application billing/sync is at epoch 2"), "{:?}", report.faults);
}

#[test]
fn without_the_groups_a_token_is_compared_with_the_epochs_of_status() {
    let without_groups = || {
        let mut facts = numbered(facts(&["readers"]));
        facts.groups = None;
        facts
    };
    assert_eq!(explain_token(without_groups(), &json!({"postern_authority": "any"})).faults, []);
    for (changed, message) in [
        (json!({"postern_epoch": [3, 2]}), "ServiceUser billing/sync is at epoch 4"),
        (json!({"postern_epoch": [4, 1]}), "Application billing/sync is at epoch 2"),
        (json!({"sub": uid(7)}), "The client acts for another service user now: billing/sync"),
    ] {
        let mut changed = changed;
        changed["postern_authority"] = json!("any");
        let report = explain_token(without_groups(), &changed);
        let [fault] = report.faults.as_slice() else { panic!("{changed}: {:?}", report.faults) };
        assert_eq!(fault.rule, DenialRule::AuthorityChanged, "{changed}");
        assert!(fault.message.starts_with(message), "{fault:?}");
    }
}

#[test]
fn a_token_is_compared_with_the_epochs_that_the_endpoint_gives_before_they_are_written() {
    let changed = || {
        let mut facts = numbered(facts(&["readers"]));
        facts.user.as_mut().unwrap().spec.groups = Some(vec!["elsewhere".to_owned()]);
        facts
    };
    let told = explain_token(changed(), &json!({}));
    let rules: Vec<_> = told.faults.iter().map(|fault| fault.rule.name()).collect();
    assert_eq!(rules, ["AuthorityChanged"; 2], "{:?}", told.faults);
    assert_eq!(explain_token(changed(), &json!({"postern_epoch": [5, 3]})).faults, []);
}

#[test]
fn the_oidc_scopes_are_granted_to_every_client_whatever_its_groups_grant() {
    let told = explain_token(numbered(facts(&["readers"])), &json!({"scope": "openid email invoices:read"}));
    let told: Vec<_> =
        told.scopes.iter().map(|now| (now.audience.as_deref(), now.scope.as_str(), now.granted)).collect();
    assert_eq!(told, [(None, "openid", true), (None, "email", true), (Some(AUDIENCE), "invoices:read", true)]);
}

#[test]
fn a_token_of_a_deleted_client_is_reported_as_of_an_unknown_client() {
    let claims = claims(&facts(&["readers"]), &json!({}));
    let told = token::explain(&claims, &TokenFacts { client: None, revoked: None }, &settings(), now());
    assert_eq!(told.faults[0].rule, DenialRule::UnknownClient);
    assert!(told.notes[0].contains("ReplicaStates"), "{:?}", told.notes);
}

#[test]
fn the_claims_of_a_token_are_read_without_a_key() {
    use base64::Engine as _;
    let payload = serde_json::to_vec(&json!({
        "iss": "i", "sub": "s", "aud": ["a", "b"], "client_id": CLIENT, "iat": 1, "exp": 2, "jti": "j", "scope": "x",
        "roles": [], "planes": [], "location": "/", "postern_epoch": [1, 1], "postern_authority": "00",
    }));
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload.unwrap());
    let payload = claims::payload(&format!(" a.{payload}.b\n")).unwrap();
    let (claims, client_id) = claims::parse(&payload).unwrap();
    assert_eq!((&*claims.sub, client_id.as_str()), ("s", CLIENT));
    assert_eq!(claims.aud.iter().collect::<Vec<_>>(), ["a", "b"]);
}
