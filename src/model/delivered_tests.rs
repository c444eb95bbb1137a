//! What an edit looks like in metadata.

use serde_json::json;

use super::*;

fn metadata(managed_fields: &serde_json::Value) -> ObjectMeta {
    serde_json::from_value(json!({
        "name": "blue",
        "namespace": "billing",
        "annotations": {VERSION_ANNOTATION: "k7Qd0m2x", CONTENT_ANNOTATION: "digest"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Other", "name": "a", "uid": "00000000-0000-4000-8000-000000000001"},
            {"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "name": "b", "uid": "00000000-0000-4000-8000-000000000002", "controller": true},
        ],
        "managedFields": managed_fields,
    }))
    .unwrap()
}

fn entry(manager: &str, keys: &[&str], annotations: &[&str]) -> serde_json::Value {
    let set =
        |names: &[&str]| names.iter().map(|name| (format!("f:{name}"), json!({}))).collect::<serde_json::Map<_, _>>();
    json!({
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": set(keys), "f:metadata": {"f:annotations": set(annotations)}},
    })
}

fn of(metadata: ObjectMeta) -> DeliveredSecret {
    DeliveredSecret::new(Key::new("billing", "blue"), metadata)
}

#[test]
fn a_key_belongs_to_who_wrote_it_last() {
    let ours = entry(FIELD_MANAGER, &["client-id"], &[VERSION_ANNOTATION]);
    let theirs = entry("kubectl-edit", &["client-secret", "extra"], &[CONTENT_ANNOTATION]);
    let secret = of(metadata(&json!([ours, theirs])));
    assert!(secret.owns(Part::Data, "client-id") && secret.owns(Part::Annotations, VERSION_ANNOTATION));
    assert!(!secret.owns(Part::Data, "client-secret") && !secret.owns(Part::Data, "extra"));
    assert!(!secret.owns(Part::Annotations, CONTENT_ANNOTATION) && !secret.owns(Part::Labels, VERSION_ANNOTATION));
    assert_eq!(secret.own_keys(Part::Data).collect::<Vec<_>>(), ["client-id"]);
    assert_eq!(secret.own_keys(Part::Labels).count(), 0);
    assert!(!secret.sets_immutable);
}

#[test]
fn without_managed_fields_nothing_is_known_to_be_ours() {
    let secret = of(metadata(&json!([])));
    assert!(!secret.owns(Part::Data, "client-id") && !secret.owns(Part::Data, ""));
}

#[test]
fn who_sets_whether_it_is_immutable_leaves_a_trace() {
    let mut theirs = entry("kubectl-edit", &[], &[]);
    theirs["fieldsV1"]["f:immutable"] = json!({});
    assert!(of(metadata(&json!([theirs]))).sets_immutable);
}

#[test]
fn only_the_controller_reference_says_whose_it_is() {
    let secret = of(metadata(&json!([])));
    assert_eq!(secret.controller, Some(0x4000_8000_0000_0000_0002));
    let mut orphan = metadata(&json!([]));
    orphan.owner_references.as_mut().unwrap().pop();
    assert!(of(orphan).controller.is_none());
}
