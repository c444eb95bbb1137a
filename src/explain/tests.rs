//! Tests of the pure half: the explanation of given objects. This module has the objects.

mod access_group;
mod audience;
mod client;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Settings;
use super::snapshot::Snapshot;
use crate::api::NamespaceFacts;
use crate::api::client_secret::LifetimePolicy;
use crate::api::lockout::LockoutDefaults;
use crate::api::permissions::NamespaceLocation;

const NOW: &str = "2026-11-22T02:00:00Z";
const AUDIENCE: &str = "https://billing.example.com";
const SUBJECT: &str = "0d0c8f6e-4b7e-4f6c-9a53-6a0c1f2b7d11";
const CLIENT: &str = "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn settings() -> Settings {
    Settings {
        lockout: LockoutDefaults::default(),
        secrets_per_application: 2,
        lifetime: LifetimePolicy::default(),
        namespace_location: NamespaceLocation::Optional,
        token_lifetime_max: jiff::SignedDuration::from_hours(24),
        token_requests_per_minute: None,
        restored_at: None,
        operator_namespace: "postern-system".to_owned(),
        issuer: Some("https://postern.example.com".to_owned()),
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn metadata(name: &str, uid: &str) -> Value {
    json!({"name": name, "namespace": "billing", "uid": uid, "generation": 1, "creationTimestamp": NOW})
}

fn uid(number: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{number:02}")
}

fn group(name: &str, spec: &Value) -> (String, crate::api::AccessGroup) {
    let mut all = json!({
        "role": "billing.reader", "location": "/emea/billing", "namespaces": {"names": ["billing"]},
        "permissions": [{"audience": AUDIENCE, "scopes": ["invoices:list", "invoices:read"]}],
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object =
        json!({"apiVersion": "postern.dev/v1alpha1", "kind": "AccessGroup", "metadata": {"name": name}, "spec": all});
    (name.to_owned(), read(object))
}

fn secret(name: &str, number: u8, spec: &Value, versions: &Value) -> crate::api::ClientSecret {
    let mut all = json!({"applicationRef": {"name": "sync"}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    read(json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": metadata(name, &uid(number)),
        "spec": all, "status": {"observedGeneration": 1, "versions": versions},
    }))
}

fn version(state: &str, retires_at: Option<&str>) -> Value {
    json!({"id": "k7Qd0m2x", "state": state, "createdAt": "2026-11-01T00:00:00Z", "retiresAt": retires_at, "verifier": "v"})
}

fn claimant(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

/// A client that has two scopes from one group, and has one secret.
fn facts(groups: &[&str]) -> Snapshot {
    let user = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ServiceUser", "metadata": metadata("sync", SUBJECT),
        "spec": {"location": "/emea/billing", "groups": groups},
        "status": {"observedGeneration": 1, "epoch": 4},
    });
    let application = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "Application", "metadata": metadata("sync", CLIENT),
        "spec": {"serviceUserRef": {"name": "sync"}}, "status": {"observedGeneration": 1, "epoch": 2},
    });
    Snapshot {
        admitted_methods: None,
        application: read(application),
        claimants: vec![claimant("billing", "sync")],
        is_subject: false,
        user: Some(read(user)),
        namespace: NamespaceFacts { name: "billing".to_owned(), ..NamespaceFacts::default() },
        groups: Some(Arc::new(BTreeMap::from([
            group("readers", &json!({})),
            group("closed", &json!({"namespaces": null})),
            group(
                "elsewhere",
                &json!({"location": "/apac", "permissions": [{"audience": AUDIENCE, "scopes": ["other"]}]}),
            ),
        ]))),
        secrets: vec![secret("blue", 1, &json!({}), &json!([version("Active", None)]))],
        notes: Vec::new(),
    }
}
