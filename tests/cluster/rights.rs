//! The roles of the chart grant exactly what the operator uses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Entry, Kubernetes, OPERATOR_NAMESPACE, RELEASE, Tenant, client_secret, eventually, holds, object,
};

/// API group, resource, verb.
type Right = (String, String, String);

#[tokio::test]
async fn the_roles_of_the_chart_grant_exactly_the_verbs_that_the_operator_uses() {
    let cluster = Cluster::own_with(1, &["--last-use-interval", "1s"]);
    cluster.start().await;
    let tenant = Tenant::on(cluster.clone(), "rights", json!({})).await;
    tenant.settle_in().await;
    tenant.issue("blue").await;
    tenant.merge("Secret", &tenant.namespace, "blue", json!({"data": {"scopes": null}})).await.unwrap();
    eventually("the Secret is repaired", async || {
        let secret = tenant.get("Secret", "blue").await;
        holds(secret["data"]["scopes"].is_string(), &secret["metadata"])
    })
    .await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.apply(&client_secret("shown-once", "sync", json!({"delivery": {"mode": "Once", "ttl": "1s"}}))).await;
    tenant.says("ClientSecret", "shown-once", "Delivered", "False", "Removed").await;
    rolls_out(&tenant).await;
    tenant.accepted(&tenant.delivered("rolling").await).await;
    tenant.apply(&client_secret("astray", "nowhere", json!({}))).await;
    tenant.refused("ClientSecret", "astray", "ApplicationNotFound").await;
    let ca = tenant.kubernetes.get("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await;
    let departed = object("EndpointState", "departed", json!({"replica": "x", "reportedAt": "2020-01-01T00:00:00Z"}));
    tenant.kubernetes.create(OPERATOR_NAMESPACE, &departed).await.unwrap();
    restart_with_another_ca_published(&tenant).await;

    let granted = granted(&tenant).await;
    eventually("every right that the roles grant is used", async || {
        let mut used: BTreeSet<Right> = cluster.audit.of_the_operator().iter().map(right).collect();
        // Server-side apply of what is not there yet: allowed as `create`, logged as `patch`.
        used.insert(["postern.dev", "endpointstates", "create"].map(str::to_owned).into());
        let superfluous: Vec<_> = granted.difference(&used).collect();
        holds(superfluous.is_empty(), format_args!("superfluous: {superfluous:?}"))
    })
    .await;
    let refused: Vec<Entry> = cluster.audit.of_the_operator().into_iter().filter(|entry| !entry.authorized).collect();
    assert!(refused.is_empty(), "it asked for what it may not do: {refused:?}");
    assert_eq!(tenant.kubernetes.get("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await["data"], ca["data"]);
}

/// Has a workload of each kind restarted.
async fn rolls_out(tenant: &Tenant) {
    let labels = json!({"app": "sync"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "sync", "image": "sync:1"}]}});
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    for kind in kinds {
        let spec = json!({"selector": {"matchLabels": labels}, "template": template});
        tenant.apply(&object(kind, "sync", spec)).await;
    }
    let rollout: Vec<Value> = kinds.iter().map(|kind| json!({"kind": kind, "name": "sync"})).collect();
    let rotation = |trigger: &str| json!({"rotation": {"trigger": trigger, "rollout": rollout}});
    tenant.apply(&client_secret("rolling", "sync", rotation("a"))).await;
    tenant.ready("ClientSecret", "rolling").await;
    tenant.apply(&client_secret("rolling", "sync", rotation("b"))).await;
    tenant.says("ClientSecret", "rolling", "Rotating", "True", "RollingOut").await;
}

async fn restart_with_another_ca_published(tenant: &Tenant) {
    let replica = &tenant.cluster.replicas[0];
    replica.process().terminate();
    replica.process().ended().await;
    let forged = json!({"data": {"ca.crt": "not the CA"}});
    tenant.merge("ConfigMap", OPERATOR_NAMESPACE, "postern-ca", forged).await.unwrap();
    tenant.cluster.start().await;
}

async fn granted(kubernetes: &Kubernetes) -> BTreeSet<Right> {
    let roles =
        [kubernetes.get("ClusterRole", "", RELEASE).await, kubernetes.get("Role", OPERATOR_NAMESPACE, RELEASE).await];
    let mut granted = BTreeSet::new();
    for rule in roles.iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                granted.extend(strings(&rule["verbs"]).map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    granted
}

fn strings(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned())
}

fn right(entry: &Entry) -> Right {
    (entry.group.clone(), entry.resource.clone(), entry.verb.clone())
}
