//! A Secret with rotating keys, as an operator sees it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postern::api::key_records::{KeyRecord, KeyRecords, KeyState};
use postern::crypto::install_key;
use serde_json::{Value, json};

use crate::harness::{Cluster, Kubernetes, OPERATOR_NAMESPACE, ensure, eventually};

pub(crate) const SIGNING_KEYS: &str = "postern-signing-keys";
pub(crate) const TOKEN_KEYS: &str = "postern-token-keys";
pub(crate) const INSTALL_KEYS: &str = "postern-install-key";

/// The Secret.
pub(crate) struct KeySet {
    kubernetes: Kubernetes,
    name: &'static str,
}

impl KeySet {
    pub(crate) async fn new(cluster: &Cluster, name: &'static str) -> Self {
        Self { kubernetes: cluster.kubernetes().await, name }
    }

    pub(crate) async fn secret(&self) -> Value {
        self.kubernetes.get("Secret", OPERATOR_NAMESPACE, self.name).await
    }

    pub(crate) async fn records(&self) -> KeyRecords {
        let secret = self.secret().await;
        let entry = secret["data"]["records.json"].as_str().expect("records");
        serde_json::from_slice(&BASE64_STANDARD.decode(entry).expect("base64")).expect("records")
    }

    pub(crate) async fn annotate(&self, name: &str, value: &str) {
        let annotation = json!({"metadata": {"annotations": {format!("postern.dev/{name}"): value}}});
        self.kubernetes.merge("Secret", OPERATOR_NAMESPACE, self.name, annotation).await.expect("annotate");
    }

    pub(crate) async fn rotate(&self, value: &str) {
        self.annotate("rotate", value).await;
    }

    /// The id of the active key.
    pub(crate) async fn signing(&self, algorithm: &str) -> String {
        let records = self.records().await;
        let active = records.in_state(algorithm, KeyState::Active).next();
        active.map(|key| key.id.clone()).expect("an active key")
    }

    /// The id of the next key.
    pub(crate) async fn next(&self, algorithm: &str) -> String {
        let records = self.records().await;
        let next = records.in_state(algorithm, KeyState::Next).next();
        next.map(|key| key.id.clone()).expect("a next key")
    }

    /// Waits until another key than `before` is active, and returns it.
    pub(crate) async fn next_signs(&self, algorithm: &str, before: &str) -> String {
        eventually("another key is active", async || {
            let records = self.records().await;
            let active = records.in_state(algorithm, KeyState::Active).next().map(|key| key.id.clone());
            active.filter(|id| id != before).ok_or(format!("{records:#?}"))
        })
        .await
    }

    /// Waits until one algorithm of the Secret has gone through this step of the rotation that was requested as this number.
    pub(crate) async fn reaches(&self, step: &str, number: usize) {
        let algorithm = if self.name == INSTALL_KEYS { install_key::ALGORITHM } else { "ES256" };
        eventually(format_args!("rotation {number} reaches {step}"), async || {
            let records = self.records().await;
            let requested = records.observed_rotate.as_deref() == Some(&format!("rotation-{number}"));
            let active = records.in_state(algorithm, KeyState::Active).next();
            let is_active = requested && active.is_some_and(|key| !key.rotation_requested);
            let next = records.in_state(algorithm, KeyState::Next).next();
            let has = |field: fn(&KeyRecord) -> bool| is_active && next.is_some_and(field);
            let reached = match step {
                "requested" => requested,
                "activated" => is_active,
                "created" => has(|_| true),
                "published" => has(|key| key.published_at.is_some()),
                "ready" => has(|key| key.ready_at.is_some()),
                _ => is_active && records.in_state(algorithm, KeyState::Retiring).all(|key| key.unused_at.is_some()),
            };
            ensure(reached, format!("{records:#?}"))
        })
        .await;
    }

    /// Waits until every algorithm has a ready key, no rotation is requested, and no replaced key is in use.
    pub(crate) async fn settled(&self) {
        eventually("the rotation is over", async || {
            let records = self.records().await;
            let is_over = |key: &KeyRecord| match key.state() {
                KeyState::Next => key.ready_at.is_some(),
                KeyState::Active => !key.rotation_requested,
                KeyState::Retiring => key.unused_at.is_some(),
            };
            let algorithms = records.algorithms();
            let whole = |state| algorithms.iter().all(|of| records.in_state(of, state).count() == 1);
            let settled = records.keys.iter().all(is_over) && whole(KeyState::Active) && whole(KeyState::Next);
            ensure(settled, format!("{records:#?}"))
        })
        .await;
    }

    /// Waits until the rotation with this value is over, and every replaced key is removed.
    pub(crate) async fn over(&self, value: &str) {
        eventually("the rotation is handled", async || {
            let records = self.records().await;
            let removed = records.keys.iter().all(|key| key.state() != KeyState::Retiring);
            ensure(removed && records.observed_rotate.as_deref() == Some(value), format!("{records:#?}"))
        })
        .await;
        self.settled().await;
    }

    /// The notes of the events on the Secret with this reason.
    pub(crate) async fn notes(&self, reason: &str) -> Vec<String> {
        let events = self.kubernetes.list("Event", OPERATOR_NAMESPACE).await;
        let about = events.iter().filter(|event| event["regarding"]["name"] == self.name && event["reason"] == reason);
        about.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until there is an event on the Secret with each of these reasons.
    pub(crate) async fn reported(&self, reasons: &[&str]) {
        eventually(format_args!("events {reasons:?}"), async || {
            let events = self.kubernetes.list("Event", OPERATOR_NAMESPACE).await;
            let about = events.iter().filter(|event| event["regarding"]["name"] == self.name);
            let told: BTreeSet<&str> = about.filter_map(|event| event["reason"].as_str()).collect();
            ensure(reasons.iter().all(|reason| told.contains(reason)), format!("{told:?}"))
        })
        .await;
    }
}
