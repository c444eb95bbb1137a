//! Which Secret belongs to a ClientSecret, whatever happens to its metadata, and which to another owner.

use postern::crypto::secret::SecretValue;
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, client_secret, ensure, eventually};

/// Owner references to another object, which exists: what has only owners that are gone is deleted by Kubernetes.
async fn of_somebody(tenant: &TestNamespace, controller: bool) -> Value {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody"}});
    let uid = tenant.apply(&map).await["metadata"]["uid"].clone();
    json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "somebody", "uid": uid, "controller": controller}])
}

#[tokio::test]
async fn the_lost_metadata_of_a_secret_is_restored_and_its_value_stays_valid() {
    let tenant = TestNamespace::new("owner-lost").await;
    tenant.create_defaults().await;
    let no_labels = json!({"app.kubernetes.io/managed-by": null, "postern.dev/component": null});
    let edits = [
        ("removed", json!({"ownerReferences": null})),
        ("no-controller", json!({"ownerReferences": [{"controller": false}]})),
        ("other-owner", json!({"ownerReferences": of_somebody(&tenant, false).await})),
        ("other-controller", json!({"ownerReferences": of_somebody(&tenant, true).await})),
        ("labels-too", json!({"ownerReferences": null, "labels": no_labels})),
        ("version-too", json!({"ownerReferences": null, "annotations": {"postern.dev/version": null}})),
    ];
    let mut issued = Vec::new();
    for (name, edit) in edits {
        let credential = tenant.issue(name).await;
        let before = tenant.get("Secret", name).await;
        issued.push((name, edit, credential, before));
    }
    for (name, edit, credential, before) in &issued {
        let mut metadata = edit.clone();
        if *name == "no-controller" {
            metadata["ownerReferences"] = before["metadata"]["ownerReferences"].clone();
            metadata["ownerReferences"][0]["controller"] = json!(false);
        }
        tenant.merge("Secret", &tenant.namespace, name, json!({"metadata": metadata})).await.unwrap();
        tenant.accepted(credential).await;
    }
    for (name, _, credential, before) in &issued {
        if ["labels-too", "version-too"].contains(name) {
            // The policy of the chart lets the operator change no Secret that it cannot recognise.
            tenant.wait_condition("ClientSecret", name, "Delivered", "False", "DeliveryFailed").await;
        } else {
            eventually(format_args!("{name}: the metadata is back"), async || {
                let now = tenant.get("Secret", name).await["metadata"].clone();
                let ours = &before["metadata"];
                let is_owned = now["ownerReferences"].as_array().is_some_and(|all| {
                    let controllers = all.iter().filter(|one| one["controller"] == true);
                    controllers.eq(ours["ownerReferences"].as_array().unwrap())
                });
                let same = |field: &str| now[field] == ours[field];
                ensure(is_owned && same("labels") && same("annotations"), format_args!("{now:#}"))
            })
            .await;
        }
        tenant.ready("ClientSecret", name).await;
        tenant.accepted(credential).await;
        assert_eq!(tenant.get("Secret", name).await["data"], before["data"], "{name}");
        let status = tenant.get("ClientSecret", name).await["status"].clone();
        assert_eq!(status["versions"].as_array().unwrap().len(), 1, "{name}: {status}");
        assert_eq!(status["secretUID"], before["metadata"]["uid"], "{name}");
    }
    // Deleted, each of them is a leak that is dealt with.
    for (name, _, credential, before) in &issued {
        tenant.delete("Secret", &tenant.namespace, name).await;
        tenant.wait_rejected(credential).await;
        tenant.ready("ClientSecret", name).await;
        let after = tenant.get("ClientSecret", name).await["status"]["secretUID"].clone();
        assert_ne!(after, before["metadata"]["uid"], "{name}");
    }
}

/// A Secret as Postern made it for `model`, under another name and without an owner, with this value.
fn orphan(model: &Value, name: &str, value: &str) -> Value {
    let metadata = &model["metadata"];
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "servicebinding.io/oauth2",
        "metadata": {"name": name, "labels": metadata["labels"], "annotations": metadata["annotations"]},
        "stringData": {"client-secret": value},
    })
}

#[tokio::test]
async fn an_orphaned_secret_is_adopted_with_a_new_value_or_with_its_own_if_that_is_proven() {
    let tenant = TestNamespace::new("orphan").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("model").await;
    let model = tenant.get("Secret", "model").await;
    // What a restore brings back before the ClientSecret, and what a user who may create Secrets chooses.
    let real = credential.key("client-secret").to_owned();
    let chosen = SecretValue::generate().1.expose_secret().to_owned();
    for (name, value) in [("restored", &real), ("chosen", &chosen)] {
        tenant.kubernetes.create(&tenant.namespace, &orphan(&model, name, value)).await.unwrap();
        tenant.apply(&client_secret(name, "sync", json!({}))).await;
        tenant.ready("ClientSecret", name).await;
        let delivered = tenant.delivered(name).await;
        assert_ne!(delivered.key("client-secret"), value, "{name}: it was adopted");
        tenant.accepted(&delivered).await;
        tenant.wait_event(name, "ValueNotVerified").await;
        let owners = tenant.get("Secret", name).await["metadata"]["ownerReferences"].clone();
        assert_eq!((&owners[0]["name"], &owners[0]["controller"]), (&json!(name), &json!(true)), "{owners}");
    }
    tenant.wait_rejected(&credential.with_secret(&chosen)).await;
    tenant.accepted(&credential).await;

    // The ClientSecret forgot it, too: only the MAC proves that the value is one that was delivered for it.
    let forgotten = json!({"status": {"versions": null, "secretUID": null, "binding": null, "hint": null}});
    let disowned = json!({"metadata": {"ownerReferences": null}});
    tenant.merge("Secret", &tenant.namespace, "model", disowned).await.unwrap();
    tenant.kubernetes.merge_status("ClientSecret", &tenant.namespace, "model", forgotten).await.unwrap();
    eventually("the value is adopted", async || {
        let status = tenant.get("ClientSecret", "model").await["status"].clone();
        ensure(status["secretUID"] == model["metadata"]["uid"], status)
    })
    .await;
    tenant.ready("ClientSecret", "model").await;
    tenant.accepted(&credential).await;
    assert_eq!(tenant.get("Secret", "model").await["data"], model["data"]);
}

#[tokio::test]
async fn a_secret_without_all_marks_or_with_another_controller_is_never_touched() {
    let tenant = TestNamespace::new("foreign").await;
    tenant.create_defaults().await;
    tenant.issue("model").await;
    let model = tenant.get("Secret", "model").await;
    let full = orphan(&model, "x", "foreign");
    let changed = |pointer: &str, value: Value| {
        let mut secret = full.clone();
        *secret.pointer_mut(pointer).unwrap() = value;
        secret
    };
    let mut controlled = full.clone();
    controlled["metadata"]["ownerReferences"] = of_somebody(&tenant, true).await;
    let foreign = [
        ("controlled", controlled),
        ("opaque", changed("/type", json!("Opaque"))),
        ("plain", changed("/metadata", json!({}))),
        ("labels-only", changed("/metadata/annotations", json!({}))),
        ("annotations-only", changed("/metadata/labels", json!({}))),
        ("one-label", changed("/metadata/labels", json!({"postern.dev/component": "credential"}))),
    ];
    let mut before = Vec::new();
    for (name, mut secret) in foreign {
        secret["metadata"]["name"] = json!(name);
        before.push((name, tenant.kubernetes.create(&tenant.namespace, &secret).await.unwrap()));
        tenant.apply(&client_secret(name, "sync", json!({}))).await;
    }
    for (name, _) in &before {
        let message = tenant.wait_not_ready("ClientSecret", name, "SecretNameConflict").await;
        assert!(
            message.contains(&format!("Secret {name}")) && message.contains("Postern will not touch it"),
            "{message}"
        );
        // Its owner may edit it: that is not Postern's to repair.
        tenant.merge("Secret", &tenant.namespace, name, json!({"stringData": {"a": "b"}})).await.unwrap();
    }
    let writes = tenant.writes().await;
    for (name, _) in &before {
        assert!(!writes.iter().any(|write| write.contains(&format!(" secrets {name}"))), "{writes:?}");
        tenant.delete("ClientSecret", &tenant.namespace, name).await;
    }
    tenant.settled().await;
    for (name, before) in &before {
        let after = tenant.get("Secret", name).await;
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "{name}: it outlives the ClientSecret");
        assert_eq!(Credential::delivered_in(&after).key("client-secret"), "foreign", "{name}");
    }
}

#[tokio::test]
async fn a_younger_client_secret_never_adopts_the_secret_of_an_older_one() {
    let tenant = TestNamespace::new("younger").await;
    tenant.create_defaults().await;
    let delivery = json!({"delivery": {"secretName": "oauth"}});
    tenant.apply(&client_secret("older", "sync", delivery.clone())).await;
    tenant.ready("ClientSecret", "older").await;
    let credential = tenant.delivered("oauth").await;
    let older = tenant.get("ClientSecret", "older").await;
    tenant.later_than(&older).await;
    tenant.apply(&client_secret("younger", "sync", delivery)).await;
    tenant.wait_not_ready("ClientSecret", "younger", "SecretNameConflict").await;
    let disowned = json!({"metadata": {"ownerReferences": null}});
    tenant.merge("Secret", &tenant.namespace, "oauth", disowned).await.unwrap();
    eventually("the older one has it back", async || {
        let owners = tenant.get("Secret", "oauth").await["metadata"]["ownerReferences"].clone();
        ensure(owners[0]["uid"] == older["metadata"]["uid"], owners)
    })
    .await;
    tenant.wait_not_ready("ClientSecret", "younger", "SecretNameConflict").await;
    tenant.accepted(&credential).await;
}
