//! What an edit looks like in metadata.

use serde_json::json;

use super::*;

fn metadata(managed_fields: &serde_json::Value) -> PartialObjectMeta<Secret> {
    serde_json::from_value(json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {
            "name": "blue",
            "namespace": "billing",
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: CREDENTIAL},
            "annotations": {VERSION_ANNOTATION: "k7Qd0m2x", CONTENT_ANNOTATION: "digest", ISSUED_ANNOTATION: "then"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "a", "uid": "1"},
                {"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "name": "b", "uid": "2", "controller": true},
            ],
            "managedFields": managed_fields,
        },
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

#[test]
fn a_key_belongs_to_who_wrote_it_last() {
    let ours = entry(FIELD_MANAGER, &["client-id"], &OWN_ANNOTATIONS);
    let theirs = entry("kubectl-edit", &["client-secret", "extra"], &[]);
    let secret = DeliveredSecret::new(metadata(&json!([ours, theirs])));
    assert!(secret.owns("client-id") && secret.own_metadata);
    assert!(!secret.owns("client-secret") && !secret.owns("extra"));
}

#[test]
fn without_managed_fields_nothing_is_known_to_be_ours() {
    let secret = DeliveredSecret::new(metadata(&json!([])));
    assert!(!secret.owns("client-id") && !secret.own_metadata);
}

#[test]
fn an_annotation_that_somebody_else_wrote_is_noticed() {
    let ours = entry(FIELD_MANAGER, &["client-id"], &[VERSION_ANNOTATION, CONTENT_ANNOTATION]);
    assert!(!DeliveredSecret::new(metadata(&json!([ours]))).own_metadata);
}

#[test]
fn only_the_controller_reference_says_whose_it_is() {
    let secret = DeliveredSecret::new(metadata(&json!([])));
    assert_eq!(secret.controller.map(|controller| controller.uid), Some("2".into()));
    let mut orphan = metadata(&json!([]));
    orphan.metadata.owner_references.as_mut().unwrap().pop();
    assert!(DeliveredSecret::new(orphan).controller.is_none());
}
