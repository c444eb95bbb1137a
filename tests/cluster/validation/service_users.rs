use serde_json::{Value, json};

use super::shared::{check, many};
use crate::harness::object;

const LOCATION: &str = "spec.location: … must be / or segments of a-z, 0-9 and - such as /emea/billing";
const GROUP: &str = "spec.groups[0]: … must be the name of an object";
const EMAIL: &str = "spec.email: … must be an e-mail address such as team@example.com";

fn service_user(mut spec: Value) -> Value {
    spec.as_object_mut().unwrap().entry("location").or_insert("/emea".into());
    object("ServiceUser", "tried", spec)
}

#[tokio::test]
async fn a_service_user_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("a name too long", json!({"displayName": "x".repeat(129)}), "spec.displayName: Too long"),
        ("a description too long", json!({"description": "x".repeat(1025)}), "spec.description: Too long"),
        ("no e-mail address", json!({"email": "team"}), EMAIL),
        ("an e-mail address too long", json!({"email": format!("{}@x", "a".repeat(253))}), "spec.email: Too long"),
        ("a location that is none", json!({"location": "/emea/"}), LOCATION),
        ("a location with 17 segments", json!({"location": "/a".repeat(17)}), LOCATION),
        ("a group that cannot be", json!({"groups": ["Readers"]}), GROUP),
        ("a group name too long", json!({"groups": ["g".repeat(254)]}), "spec.groups[0]: Too long"),
        ("65 groups", json!({"groups": many(65)}), "spec.groups: Too many: 65"),
        ("one group twice", json!({"groups": ["a", "a"]}), "spec.groups[1]: Duplicate value"),
        ("suspend as a word", json!({"suspend": "yes"}), "spec.suspend: Invalid value"),
        ("a field that does not work yet", json!({"notify": []}), r#"unknown field "spec.notify""#),
    ];
    check(service_user, &cases).await;
}

#[tokio::test]
async fn a_service_user_may_go_to_each_limit() {
    let cases = [
        ("64 groups", json!({"groups": many(64)}), ""),
        ("no group", json!({"groups": []}), ""),
        ("a group of 253 characters with dots", json!({"groups": [format!("{}.x", "g".repeat(251))]}), ""),
        ("an e-mail address", json!({"email": "team@example.com"}), ""),
        ("16 segments", json!({"location": "/a".repeat(16)}), ""),
    ];
    check(service_user, &cases).await;
}
