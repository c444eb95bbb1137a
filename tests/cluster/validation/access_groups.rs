use serde_json::{Value, json};

use super::shared::{check, many};
use crate::harness::{Cluster, access_group};

const LOCATION: &str = "spec.location: … must be / or segments of a-z, 0-9 and - such as /emea/billing";
const ROLE: &str = "spec.role: … must be 1-128 visible ASCII characters without space";
const AUDIENCE: &str = "spec.permissions[0].audience: … must be 1-256 visible ASCII characters without space";
const SCOPE: &str = "spec.permissions[0].scopes[0]: … must be an RFC 6749 scope-token";
const HELD_BY_ALL: &str = "spec.permissions[0].scopes[1]: … must not be openid, profile or email";
const NAMESPACE: &str = "spec.namespaces.names[0]: … must be the name of a namespace";
const KEY: &str = "spec.namespaces.selector.matchExpressions[0].key: … must be the key of a label";
const VALUES: &str = "values must be given for the operators In and NotIn, and only for them";

#[tokio::test]
async fn an_access_group_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("a name too long", json!({"displayName": "x".repeat(129)}), "spec.displayName: Too long"),
        ("a description too long", json!({"description": "x".repeat(1025)}), "spec.description: Too long"),
        ("a role with a space", json!({"role": "billing reader"}), ROLE),
        ("a role with an umlaut", json!({"role": "prüfer"}), ROLE),
        ("an empty role", json!({"role": ""}), "spec.role: Invalid value"),
        ("a role too long", json!({"role": "r".repeat(129)}), "spec.role: Too long"),
        ("an unknown plane", json!({"plane": "Data"}), r#"spec.plane: Unsupported value: "Data""#),
        ("an unknown reach", json!({"reach": "Everywhere"}), r#"spec.reach: Unsupported value: "Everywhere""#),
        ("an empty location", json!({"location": ""}), "spec.location: Invalid value"),
        ("a relative location", json!({"location": "emea"}), LOCATION),
        ("a trailing slash", json!({"location": "/emea/"}), LOCATION),
        ("an empty segment", json!({"location": "/emea//billing"}), LOCATION),
        ("a dot", json!({"location": "/emea/.."}), LOCATION),
        ("capitals", json!({"location": "/EMEA"}), LOCATION),
        ("17 segments", json!({"location": "/a".repeat(17)}), LOCATION),
        ("a segment of 64", json!({"location": format!("/{}", "a".repeat(64))}), LOCATION),
        ("no permission", json!({"permissions": []}), "spec.permissions: Invalid value"),
        ("65 permissions", json!({"permissions": permissions(65)}), "spec.permissions: Too many: 65"),
        (
            "one audience twice",
            json!({"permissions": [permission("a", &["s"]), permission("a", &["t"])]}),
            "spec.permissions[1]: Duplicate value",
        ),
        ("an audience with a space", json!({"permissions": [permission("a b", &["s"])]}), AUDIENCE),
        (
            "an empty audience",
            json!({"permissions": [permission("", &["s"])]}),
            "spec.permissions[0].audience: Invalid value",
        ),
        (
            "an audience too long",
            json!({"permissions": [permission(&"a".repeat(257), &["s"])]}),
            "spec.permissions[0].audience: Too long",
        ),
        ("no scope", json!({"permissions": [permission("a", &[])]}), "spec.permissions[0].scopes: Invalid value"),
        (
            "65 scopes",
            json!({"permissions": [{"audience": "a", "scopes": many(65)}]}),
            "spec.permissions[0].scopes: Too many: 65",
        ),
        (
            "one scope twice",
            json!({"permissions": [permission("a", &["s", "s"])]}),
            "spec.permissions[0].scopes[1]: Duplicate value",
        ),
        ("a scope with a space", json!({"permissions": [permission("a", &["a b"])]}), SCOPE),
        ("a scope with a quote", json!({"permissions": [permission("a", &["a\"b"])]}), SCOPE),
        ("a scope with a backslash", json!({"permissions": [permission("a", &["a\\b"])]}), SCOPE),
        ("a scope that every client holds", json!({"permissions": [permission("a", &["s", "openid"])]}), HELD_BY_ALL),
        ("a name for everybody", json!({"permissions": [permission("a", &["s", "profile"])]}), HELD_BY_ALL),
        ("an address for everybody", json!({"permissions": [permission("a", &["s", "email"])]}), HELD_BY_ALL),
        ("a namespace that cannot be", json!({"namespaces": {"names": ["Billing"]}}), NAMESPACE),
        (
            "a namespace too long",
            json!({"namespaces": {"names": ["n".repeat(64)]}}),
            "spec.namespaces.names[0]: Too long",
        ),
        ("65 namespaces", json!({"namespaces": {"names": many(65)}}), "spec.namespaces.names: Too many: 65"),
        (
            "one namespace twice",
            json!({"namespaces": {"names": ["a", "a"]}}),
            "spec.namespaces.names[1]: Duplicate value",
        ),
        (
            "an unknown operator",
            selector(json!({"key": "a", "operator": "Equals"})),
            r#"operator: Unsupported value: "Equals""#,
        ),
        ("In without values", selector(json!({"key": "a", "operator": "In"})), VALUES),
        ("Exists with values", selector(json!({"key": "a", "operator": "Exists", "values": ["b"]})), VALUES),
        ("a key that cannot be", selector(json!({"key": "a b", "operator": "Exists"})), KEY),
        ("a domain that cannot be", selector(json!({"key": "a..b/c", "operator": "Exists"})), KEY),
        (
            "a value that cannot be",
            selector(json!({"key": "a", "operator": "NotIn", "values": ["b c"]})),
            "spec.namespaces.selector.matchExpressions[0].values[0]: … must be the value of a label",
        ),
        (
            "a label that cannot be",
            json!({"namespaces": {"selector": {"matchLabels": {"a b": "c"}}}}),
            "spec.namespaces.selector.matchLabels: … must have keys of labels",
        ),
        (
            "a label's value that cannot be",
            json!({"namespaces": {"selector": {"matchLabels": {"a": "-"}}}}),
            "spec.namespaces.selector.matchLabels… must be the value of a label",
        ),
        ("an unknown field", json!({"grants": []}), r#"unknown field "spec.grants""#),
    ];
    check(|spec| access_group("tried", spec), &cases).await;
}

#[tokio::test]
async fn an_access_group_may_go_to_each_limit() {
    let cases = [
        ("the root", json!({"location": "/"}), ""),
        ("16 segments of 63", json!({"location": format!("/{}", "a".repeat(63)).repeat(16)}), ""),
        ("64 permissions", json!({"permissions": permissions(64)}), ""),
        ("64 scopes", json!({"permissions": [{"audience": "a", "scopes": many(64)}]}), ""),
        ("every visible character in a scope", json!({"permissions": [permission("!~\"\\", &["!#[]~"])]}), ""),
        (
            "the longest names",
            json!({"role": "r".repeat(128), "permissions": [permission(&"a".repeat(256), &[&"s".repeat(128)])]}),
            "",
        ),
        ("the longest texts", json!({"displayName": "ü".repeat(128), "description": "x".repeat(1024)}), ""),
        ("64 namespaces", json!({"namespaces": {"names": many(64)}}), ""),
        ("a namespace of 63", json!({"namespaces": {"names": ["n".repeat(63)]}}), ""),
        ("no namespace", json!({"namespaces": {}}), ""),
        (
            "labels",
            json!({"namespaces": {"selector": {"matchLabels": {"example.com/team": "billing", "empty": ""}}}}),
            "",
        ),
        ("a selector", selector(json!({"key": "a", "operator": "NotIn", "values": ["b"]})), ""),
        ("the other plane and reach", json!({"plane": "Admin", "reach": "Subtree"}), ""),
    ];
    check(|spec| access_group("tried", spec), &cases).await;
}

#[tokio::test]
async fn the_required_fields_of_an_access_group_are_named() {
    for field in ["role", "location", "permissions"] {
        let mut group = access_group("tried", json!({}));
        group["spec"].as_object_mut().unwrap().remove(field);
        let refusal = Cluster::installed().kubernetes().await.try_create("", &group).await.unwrap_err();
        assert!(refusal.contains(&format!("spec.{field}: Required value")), "{refusal}");
    }
}

#[tokio::test]
async fn an_object_that_was_never_reconciled_is_pending() {
    let kubernetes = Cluster::installed().kubernetes().await;
    let created = kubernetes.try_create("", &access_group("tried", json!({}))).await.unwrap();
    let ready = &created["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("Unknown"), &json!("Pending"))
    );
}

fn permission(audience: &str, scopes: &[&str]) -> Value {
    json!({"audience": audience, "scopes": scopes})
}

fn permissions(count: usize) -> Vec<Value> {
    many(count).iter().map(|audience| permission(audience, &["s"])).collect()
}

fn selector(requirement: impl Into<Value>) -> Value {
    json!({"namespaces": {"selector": {"matchExpressions": [requirement.into()]}}})
}
