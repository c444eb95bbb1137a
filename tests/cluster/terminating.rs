//! What is being deleted counts as deleted, however long a finalizer keeps it: the table of `src/api/terminating.rs`, row
//! by row. The operator's own keys are in `keys.rs`.

use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, client_secret, condition, ensure, eventually, object};

const FINALIZER: &str = "example.com/hold";

/// Requests the deletion of an object that a finalizer keeps.
async fn delete_held(tenant: &TestNamespace, kind: &str, name: &str) {
    let held = json!({"metadata": {"finalizers": [FINALIZER]}});
    tenant.merge(kind, &tenant.namespace, name, held).await.unwrap();
    tenant.delete(kind, &tenant.namespace, name).await;
    is_there(tenant, kind, name).await;
}

async fn is_there(tenant: &TestNamespace, kind: &str, name: &str) {
    let there = tenant.kubernetes.get(kind, &tenant.namespace, name).await;
    assert!(there["metadata"]["deletionTimestamp"].is_string(), "{there:#}");
}

async fn let_go(tenant: &TestNamespace, kind: &str, name: &str) {
    tenant.merge(kind, &tenant.namespace, name, json!({"metadata": {"finalizers": null}})).await.unwrap();
}

#[tokio::test]
async fn the_value_of_a_delivered_secret_is_retired_and_the_next_is_delivered_after_the_deletion() {
    let tenant = TestNamespace::new("held-secret").await;
    tenant.create_defaults().await;
    let leaked = tenant.issue("blue").await;
    delete_held(&tenant, "Secret", "blue").await;
    tenant.wait_rejected(&leaked).await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "SecretTerminating").await;
    assert!(message.contains(FINALIZER) && message.contains("metadata.finalizers"), "{message}");
    let told = tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "SecretTerminating").await;
    assert!(told["message"].as_str().unwrap().contains(FINALIZER), "{told}");
    tenant.wait_event("blue", "SecretTerminating").await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["binding"], Value::Null, "{status}");
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before, "nothing is tried while the finalizer is there");
    is_there(&tenant, "Secret", "blue").await;
    let_go(&tenant, "Secret", "blue").await;
    tenant.ready("ClientSecret", "blue").await;
    let new = tenant.delivered("blue").await;
    assert_ne!(new.key("client-secret"), leaked.key("client-secret"));
    tenant.accepted(&new).await;
    tenant.wait_rejected(&leaked).await;
    assert_eq!(condition(&tenant.get("ClientSecret", "blue").await, "Delivered"), None);
}

#[tokio::test]
async fn the_value_of_a_delivered_secret_is_retired_however_many_finalizers_the_secret_has() {
    let tenant = TestNamespace::new("held-by-many").await;
    tenant.create_defaults().await;
    // As long as Kubernetes allows, nearly.
    let domain = ["x"; 3].map(|label| label.repeat(60)).join(".");
    let many = (0..12_000).map(|number| format!("example.com/{number:0>50}")).collect::<Vec<_>>();
    let long = (0..2_000).map(|number| format!("{domain}.example.com/{number:0>60}")).collect();
    for (name, finalizers) in [("many", many), ("long", long)] {
        let leaked = tenant.issue(name).await;
        let held = json!({"metadata": {"finalizers": finalizers}});
        tenant.merge("Secret", &tenant.namespace, name, held).await.unwrap();
        tenant.delete("Secret", &tenant.namespace, name).await;
        tenant.wait_rejected(&leaked).await;
        let message = tenant.wait_not_ready("ClientSecret", name, "SecretTerminating").await;
        assert!(message.contains(&format!("and {} more", finalizers.len() - 3)), "{message}");
        assert!(message.len() < 1_000, "{} bytes", message.len());
        let_go(&tenant, "Secret", name).await;
        tenant.ready("ClientSecret", name).await;
    }
}

#[tokio::test]
async fn an_object_of_the_chain_refuses_the_credential() {
    for kind in ["ClientSecret", "Application", "ServiceUser"] {
        let tenant = TestNamespace::new("held").await;
        tenant.create_defaults().await;
        let credential = tenant.issue("sync").await;
        delete_held(&tenant, kind, "sync").await;
        tenant.wait_rejected(&credential).await;
        is_there(&tenant, kind, "sync").await;
        let_go(&tenant, kind, "sync").await;
    }
}

#[tokio::test]
async fn nothing_is_delivered_for_a_client_secret() {
    let tenant = TestNamespace::new("held-owner").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    delete_held(&tenant, "ClientSecret", "blue").await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    // What comes later is done, and that is not.
    tenant.issue("green").await;
    assert!(tenant.find("Secret", &tenant.namespace, "blue").await.is_none());
    let_go(&tenant, "ClientSecret", "blue").await;
}

#[tokio::test]
async fn an_access_group_grants_nothing() {
    let tenant = TestNamespace::new("held-group").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    tenant.accepted(&credential).await;
    delete_held(&tenant, "AccessGroup", &tenant.unique_name("readers")).await;
    tenant.answers_everywhere(&credential, &[], "400 invalid_scope").await;
    let_go(&tenant, "AccessGroup", &tenant.unique_name("readers")).await;
}

#[tokio::test]
async fn a_secret_to_import_from_does_not_exist() {
    let tenant = TestNamespace::new("held-import").await;
    tenant.create_defaults().await;
    let legacy = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
        "stringData": {"password": "a value that is long enough"},
    });
    tenant.apply(&legacy).await;
    let spec = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    tenant.apply(&client_secret("blue", "sync", spec.clone())).await;
    tenant.ready("ClientSecret", "blue").await;
    let credential = eventually("it is delivered", async || {
        let found = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("no Secret")?;
        Ok(Credential::delivered_in(&found))
    })
    .await;
    delete_held(&tenant, "Secret", "legacy").await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "ImportNotFound").await;
    assert!(message.contains("Secret legacy is being deleted"), "{message}");
    tenant.apply(&client_secret("green", "sync", spec)).await;
    tenant.wait_not_ready("ClientSecret", "green", "ImportNotFound").await;
    // The deleted Secret cannot be made again without its source: its value ends.
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&credential).await;
    is_there(&tenant, "Secret", "legacy").await;
    let_go(&tenant, "Secret", "legacy").await;
}

#[tokio::test]
async fn a_workload_to_restart_does_not_exist() {
    let tenant = TestNamespace::new("held-workload").await;
    tenant.create_defaults().await;
    let labels = json!({"app": "sync"});
    let containers = json!([{"name": "sync", "image": "sync:1"}]);
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
    let deployment = object("Deployment", "sync", json!({"selector": {"matchLabels": labels}, "template": template}));
    tenant.apply(&deployment).await;
    let spec = |trigger: &str| {
        let rollout = json!([{"kind": "Deployment", "name": "sync"}]);
        json!({"rotation": {"trigger": trigger, "overlap": "1h", "rollout": rollout}})
    };
    tenant.apply(&client_secret("blue", "sync", spec("a"))).await;
    tenant.ready("ClientSecret", "blue").await;
    delete_held(&tenant, "Deployment", "sync").await;
    tenant.apply(&client_secret("blue", "sync", spec("b"))).await;
    eventually("the workload is named", async || {
        let waits = tenant.get("ClientSecret", "blue").await["status"]["rotation"]["waitsFor"].clone();
        ensure(waits.as_str().is_some_and(|waits| waits.contains("Deployment sync: not found or being deleted")), waits)
    })
    .await;
    let found = tenant.get("Deployment", "sync").await;
    assert_eq!(found["spec"]["template"]["metadata"]["annotations"], Value::Null, "it is not restarted");
    let_go(&tenant, "Deployment", "sync").await;
}

#[tokio::test]
async fn a_namespace_refuses_the_clients_in_it() {
    let tenant = TestNamespace::new("held-namespace").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    for (kind, name) in [("ServiceUser", "sync"), ("Application", "sync"), ("ClientSecret", "blue")] {
        let held = json!({"metadata": {"finalizers": [FINALIZER]}});
        tenant.merge(kind, &tenant.namespace, name, held).await.unwrap();
    }
    tenant.delete("Namespace", "", &tenant.namespace).await;
    tenant.wait_rejected(&credential).await;
    let namespace = tenant.kubernetes.get("Namespace", "", &tenant.namespace).await;
    assert!(namespace["metadata"]["deletionTimestamp"].is_string());
    for (kind, name) in [("ServiceUser", "sync"), ("Application", "sync"), ("ClientSecret", "blue")] {
        let_go(&tenant, kind, name).await;
    }
}
