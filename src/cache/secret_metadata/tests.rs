//! Tests of reading the metadata of a delivered Secret.

use serde_json::json;

use super::*;

fn of(more: &serde_json::Value) -> DeliveredSecret {
    let mut metadata = json!({
        "name": "blue",
        "uid": "00000000-0000-4000-8000-000000000009",
        "namespace": "billing",
        "resourceVersion": "17",
        "annotations": {VERSION_ANNOTATION: "k7Qd0m2x", CONTENT_ANNOTATION: "digest"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Other", "name": "a", "uid": "00000000-0000-4000-8000-000000000001"},
            {"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "name": "b", "uid": "00000000-0000-4000-8000-000000000002", "controller": true},
        ],
    });
    metadata.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    DeliveredSecret::new(ObjectRef::new("billing", "blue"), &serde_json::from_value(metadata).unwrap())
}

#[test]
fn the_controller_reference_and_the_uid_identify_the_owner() {
    let secret = of(&json!({}));
    assert_eq!(secret.controller, Some(0x4000_8000_0000_0000_0002));
    assert_eq!((secret.version.as_deref(), secret.revision), (Some("k7Qd0m2x"), 17));
    assert_eq!(secret.uid, Some(0x4000_8000_0000_0000_0009));
    assert!(of(&json!({"ownerReferences": []})).controller.is_none());
}

#[test]
fn fields_that_any_user_may_write_use_bounded_memory() {
    let long = "x".repeat(1_000);
    let secret = of(&json!({"annotations": {VERSION_ANNOTATION: long, CONTENT_ANNOTATION: "y".repeat(64)}}));
    assert_eq!((secret.version, secret.content.map(|digest| digest.len())), (None, Some(64)));
    let finalizers = vec![format!("example.com/{long}"); 1_000];
    let deleted = json!({"deletionTimestamp": "2026-11-22T02:00:00Z", "finalizers": finalizers});
    assert!(of(&deleted).terminating.unwrap().len() < 400);
}

#[test]
fn a_secret_that_is_being_deleted_lists_its_finalizers() {
    assert_eq!(of(&json!({"finalizers": ["example.com/a"]})).terminating, None, "its deletion was not requested");
    let deleted =
        json!({"deletionTimestamp": "2026-11-22T02:00:00Z", "finalizers": ["example.com/a", "example.com/b"]});
    assert_eq!(of(&deleted).terminating.as_deref(), Some("example.com/a, example.com/b"));
}
