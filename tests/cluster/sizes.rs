//! Objects are bounded in bytes: what is too large is refused, and what is there already keeps no replica from starting.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Cluster, TestNamespace, application, client_secret, eventually, service_user};

/// As much as labels and annotations of an object may have together, in characters.
const METADATA_MAX: usize = 65_536;
/// As much as Kubernetes allows, nearly.
const METADATA: usize = 250_000;
/// Objects with so much metadata.
const CLIENT_SECRETS: usize = 240;
const SECRETS: usize = 120;

#[tokio::test]
async fn texts_that_are_too_long_together_are_refused_with_their_field() {
    let tenant = TestNamespace::without_operator("sizes").await;
    let annotations = |characters: usize| -> BTreeMap<String, String> {
        (0..characters / 4_096).map(|number| (format!("a{number}"), "x".repeat(4_096 - 2))).collect()
    };
    let scopes = |count: usize| -> Vec<String> { (0..count).map(|number| format!("{number:0>128}")).collect() };
    let restricted = |scopes: &[String]| json!({"restrictTo": {"scopes": scopes}});
    let audiences: Vec<String> = (0..32).map(|number| format!("{number:0>256}")).collect();
    let wide = json!({"restrictTo": {"scopes": scopes(8), "audiences": audiences}});
    let delivery = |characters| json!({"delivery": {"annotations": annotations(characters)}});
    let table = [
        (client_secret("a", "sync", delivery(12_288)), ""),
        (client_secret("b", "sync", delivery(20_480)), "spec.delivery: Invalid value"),
        (client_secret("b", "sync", delivery(20_480)), "at most 16384 characters together"),
        (client_secret("c", "sync", restricted(&scopes(64))), ""),
        (client_secret("d", "sync", wide.clone()), "spec.restrictTo: Invalid value"),
        (application("d", "sync", wide), "at most 8192 characters together"),
    ];
    for (object, refusal) in table {
        let tried = tenant.try_create(&tenant.namespace, &object).await;
        match tried {
            Ok(_) => assert_eq!(refusal, "", "{object}"),
            Err(message) => assert!(!refusal.is_empty() && message.contains(refusal), "{message}"),
        }
    }

    tenant.cluster.wait_policies_active().await;
    for mut object in
        [service_user("e", &[]), application("e", "sync", json!({})), client_secret("e", "sync", json!({}))]
    {
        object["metadata"]["annotations"] = json!({"note": "x".repeat(METADATA_MAX - 1_000)});
        tenant.try_create(&tenant.namespace, &object).await.expect("it is small enough");
        object["metadata"]["annotations"] = json!({"note": "x".repeat(METADATA_MAX)});
        let message = tenant.try_create(&tenant.namespace, &object).await.expect_err("it is too large");
        assert!(message.contains("metadata.annotations") && message.contains("at most 65536 are allowed"), "{message}");
    }
}

/// Objects with as much metadata as Kubernetes allows, which were there before the policy was.
#[tokio::test]
async fn a_replica_starts_within_its_memory_however_large_the_metadata_of_objects_is() {
    let cluster = Cluster::dedicated(1);
    let tenant = TestNamespace::on(cluster.clone(), "large", json!({})).await;
    tenant.delete("ValidatingAdmissionPolicyBinding", "", "postern-size").await;
    let large = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"note": "x".repeat(METADATA)});
        object
    };
    let secret = |number: usize| {
        let name = format!("s{number}");
        if number.is_multiple_of(2) {
            let labels = json!({"postern.dev/import": "true"});
            return large(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}));
        }
        // One whose deletion never completes.
        let labels = json!({"postern.dev/component": "credential"});
        let domain = ["x"; 3].map(|label| label.repeat(60)).join(".");
        let finalizers = (0..METADATA / 256).map(|one| format!("{domain}.example.com/{one:0>60}")).collect::<Vec<_>>();
        let metadata = json!({"name": name, "labels": labels, "finalizers": finalizers});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    };
    // The API server forgets the policy within a second or two.
    let create = async |object: Value| {
        eventually("it is created", async || tenant.create(&tenant.namespace, &object).await.map(drop)).await;
    };
    let create = &create;
    let secrets = (0..CLIENT_SECRETS).map(|number| client_secret(&format!("c{number}"), "sync", json!({})));
    let objects = secrets.map(large).chain((0..SECRETS).map(secret));
    futures::stream::iter(objects).for_each_concurrent(8, create).await;
    for number in (1..SECRETS).step_by(2) {
        tenant.delete("Secret", &tenant.namespace, &format!("s{number}")).await;
    }
    cluster.start().await;
    tenant.create_defaults().await;
    // One of the first that the controller reconciles: names are in alphabetical order.
    let message = tenant.wait_not_ready("ClientSecret", "c100", "LimitReached").await;
    assert!(message.contains("only the oldest 20 are active"), "{message}");
    let peak = cluster.replicas[0].process().peak_memory();
    println!("peak of the replica's memory: {peak} MiB");
    let metadata = (CLIENT_SECRETS + SECRETS) * METADATA / (1024 * 1024);
    assert!(peak < u64::try_from(metadata).unwrap(), "{peak} MiB, and the metadata alone is {metadata}");
}
