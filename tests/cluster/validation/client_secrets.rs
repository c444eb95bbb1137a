use serde_json::{Value, json};

use super::shared::{check, check_changes};
use crate::harness::{Tenant, client_secret};

const DURATION: &str = "spec.expiresIn: … must be a duration such as 15m, 90d or 1y6w";
const BOTH: &str = "spec.expiresAt: … expiresIn and expiresAt exclude each other: give one of them";
const PAST: &str = "has already passed (it is now ";
const NAME: &str = "spec.delivery: … delivery.secretName is immutable: pods mount it";
const REFERENCE: &str = "spec.applicationRef: … applicationRef is immutable";
const REVOKED: &str = "spec.revoke: … revoke is for good and cannot be set back";

fn tried(spec: Value) -> Value {
    client_secret("tried", "sync", spec)
}

#[tokio::test]
async fn a_client_secret_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("a description too long", json!({"description": "x".repeat(1025)}), "spec.description: Too long"),
        ("no application", json!({"applicationRef": {}}), "spec.applicationRef.name: Required value"),
        (
            "an application that cannot be",
            json!({"applicationRef": {"name": "A"}}),
            "spec.applicationRef.name: … must be the name of an object",
        ),
        (
            "a scope with a space",
            json!({"restrictTo": {"scopes": ["a b"]}}),
            "spec.restrictTo.scopes[0]: … must be an RFC 6749 scope-token",
        ),
        ("both ways to expire", json!({"expiresIn": "1y", "expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("never and an instant", json!({"expiresIn": "Never", "expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("a past instant", json!({"expiresAt": "2020-01-01T00:00:00Z"}), PAST),
        ("an instant without zone", json!({"expiresAt": "2099-01-01T00:00:00"}), "spec.expiresAt: Invalid value"),
        ("a day", json!({"expiresAt": "2099-01-01"}), "spec.expiresAt: Invalid value"),
        ("no time at all", json!({"expiresIn": "0d"}), "spec.expiresIn: … must be longer than zero"),
        ("a negative time", json!({"expiresIn": "-1d"}), DURATION),
        ("an overflowing time", json!({"expiresIn": "1000y"}), DURATION),
        ("never in lower case", json!({"expiresIn": "never"}), DURATION),
        (
            "a Secret that cannot be",
            json!({"delivery": {"secretName": "My Secret"}}),
            "spec.delivery.secretName: … must be the name of an object",
        ),
        (
            "a Secret name too long",
            json!({"delivery": {"secretName": "s".repeat(254)}}),
            "spec.delivery.secretName: Too long",
        ),
        (
            "a mode that does not work yet",
            json!({"delivery": {"mode": "Once"}}),
            r#"spec.delivery.mode: Unsupported value: "Once""#,
        ),
        ("a field that does not work yet", json!({"rotation": {"every": "30d"}}), r#"unknown field "spec.rotation""#),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn a_client_secret_may_go_to_each_limit() {
    let cases = [
        ("never", json!({"expiresIn": "Never"}), ""),
        ("a second", json!({"expiresIn": "1s"}), ""),
        ("two years", json!({"expiresIn": "2y"}), ""),
        ("an instant to come", json!({"expiresAt": "2099-01-01T00:00:00+02:00"}), ""),
        (
            "the longest name of a Secret",
            json!({"delivery": {"secretName": format!("{}.x", "s".repeat(251)), "mode": "Keep"}}),
            "",
        ),
        ("revoked from the start", json!({"revoke": true}), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn what_pods_and_people_rely_on_cannot_be_changed_later() {
    let tenant = Tenant::without_operator("immutable").await;
    let named = client_secret("named", "sync", json!({"delivery": {"secretName": "oauth"}}));
    let changes = [
        ("another application", json!({"applicationRef": {"name": "other"}}), REFERENCE),
        ("another name of the Secret", json!({"delivery": {"secretName": "other"}}), NAME),
        ("no name of the Secret", json!({"delivery": null}), NAME),
        ("another description", json!({"description": "free to change"}), ""),
        ("another expiry", json!({"expiresIn": "2y"}), ""),
        ("both ways to expire", json!({"expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("an end that has passed: it ends now", json!({"expiresIn": null, "expiresAt": "2020-01-01T00:00:00Z"}), ""),
    ];
    check_changes(&tenant, &tenant.namespace, &named, &changes).await;
    let added = [("a name of the Secret, later", json!({"delivery": {"secretName": "oauth"}}), NAME)];
    check_changes(&tenant, &tenant.namespace, &client_secret("unnamed", "sync", json!({})), &added).await;
}

#[tokio::test]
async fn a_revocation_is_for_good() {
    let tenant = Tenant::without_operator("revocation").await;
    let changes = [
        ("not yet", json!({"revoke": false}), ""),
        ("revoked", json!({"revoke": true}), ""),
        ("taken back", json!({"revoke": false}), REVOKED),
        ("taken out", json!({"revoke": null}), REVOKED),
    ];
    check_changes(&tenant, &tenant.namespace, &client_secret("revoked", "sync", json!({})), &changes).await;
}
