//! A namespace is restored as Velero does it: without status and owner references, Secrets first, by Velero's own account.

use serde_json::{Value, json};

use crate::harness::{Kubernetes, TestNamespace, application, client_secret, ensure, eventually};

/// The order in which Velero restores kinds; what it has no order for comes last, in that of the alphabet.
const ORDER: [&str; 4] = ["Secret", "Application", "ClientSecret", "ServiceUser"];

/// What Velero takes out of each object.
fn transformed(mut object: Value) -> Value {
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    let of_the_old_one =
        ["uid", "resourceVersion", "generation", "creationTimestamp", "ownerReferences", "managedFields"];
    metadata.retain(|field, _| !of_the_old_one.contains(&field.as_str()));
    object
}

#[tokio::test]
async fn a_restored_namespace_gets_new_client_ids_and_values_and_reports_them() {
    let tenant = TestNamespace::new("restore").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    let chosen = "8d3f1d0a-4f57-4c0e-9a53-3f0c3a529d55";
    tenant.apply(&application("chosen", "sync", json!({"clientId": chosen}))).await;
    tenant.apply(&client_secret("green", "chosen", json!({}))).await;
    tenant.ready("ClientSecret", "green").await;
    let mut backup = Vec::new();
    for kind in ORDER {
        for listed in tenant.list(kind, &tenant.namespace).await {
            let name = listed["metadata"]["name"].as_str().unwrap();
            backup.push(transformed(tenant.get(kind, name).await));
        }
    }
    tenant.delete("Namespace", "", &tenant.namespace).await;
    eventually("the namespace ends", async || {
        let namespace = tenant.find("Namespace", "", &tenant.namespace).await;
        ensure(namespace.is_none(), format_args!("{namespace:?}"))
    })
    .await;
    tenant.wait_rejected(&old).await;

    let velero = "system:serviceaccount:velero:velero";
    let subject = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": velero});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": tenant.unique_name("velero")},
        "subjects": [subject], "roleRef": role,
    });
    tenant.kubernetes.apply("", &binding).await;
    let velero_client = Kubernetes::impersonating(&tenant.cluster.controlplane.kubeconfig(), velero).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace}});
    tenant.kubernetes.apply("", &namespace).await;
    for object in &backup {
        eventually("it is restored", async || velero_client.create(&tenant.namespace, object).await.map(drop)).await;
    }

    for name in ["blue", "green"] {
        tenant.ready("ClientSecret", name).await;
        tenant.wait_event(name, "ValueNotVerified").await;
    }
    let new = tenant.delivered("blue").await;
    tenant.accepted(&new).await;
    tenant.accepted(&tenant.delivered("green").await).await;
    tenant.wait_rejected(&old).await;
    tenant.wait_rejected(&new.with_secret(old.key("client-secret"))).await;
    assert_eq!(tenant.delivered("green").await.key("client-id"), chosen);
    let changed = tenant.wait_event("sync", "ClientIdChanged").await;
    let note = changed["note"].as_str().unwrap();
    assert_eq!(changed["regarding"]["kind"], "Application");
    for part in [old.key("client-id"), new.key("client-id"), "spec.clientId"] {
        assert!(note.contains(part), "{note}");
    }
    for kind in &ORDER[1..] {
        for object in tenant.list(kind, &tenant.namespace).await {
            assert_eq!(object["metadata"]["annotations"]["postern.dev/created-by"], velero, "{object}");
        }
    }
    let events = tenant.list("Event", &tenant.namespace).await;
    let of_chosen = |event: &&Value| event["reason"] == "ClientIdChanged" && event["regarding"]["name"] == "chosen";
    assert!(!events.iter().any(|event| of_chosen(&event)), "its client id is the same");
}
