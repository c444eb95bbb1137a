//! The roles of the chart grant each process exactly what it uses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Entry, Kubernetes, OPERATOR_NAMESPACE, Part, TestNamespace, client_secret, ensure, eventually, object,
};
use crate::service_account_tokens::Workload;

/// API group, resource, verb.
type Right = (String, String, String);

#[tokio::test]
async fn the_roles_of_the_chart_grant_each_process_exactly_the_verbs_that_it_uses() {
    let cluster = Cluster::split_with(1, 1, &["--last-use-interval", "1s"], &[]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "rights", json!({})).await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    // The second event of a kind is counted in the first.
    for _ in 0..2 {
        is_repaired(&tenant, "blue").await;
    }
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.apply(&client_secret("shown-once", "sync", json!({"delivery": {"mode": "Once", "ttl": "1s"}}))).await;
    tenant.wait_condition("ClientSecret", "shown-once", "Delivered", "False", "Removed").await;
    rolls_out(&tenant).await;
    tenant.accepted(&tenant.delivered("rolling").await).await;
    tenant.apply(&client_secret("astray", "nowhere", json!({}))).await;
    tenant.wait_not_ready("ClientSecret", "astray", "ApplicationNotFound").await;
    Workload::new(&tenant, "pods").await.accepted().await;
    let ca = tenant.kubernetes.get("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await;
    let departed = object("ReplicaState", "departed", json!({"replica": "x", "reportedAt": "2020-01-01T00:00:00Z"}));
    tenant.kubernetes.create(OPERATOR_NAMESPACE, &departed).await.unwrap();
    let mut lease =
        object("Lease", "departed", json!({"holderIdentity": "x", "renewTime": "2020-01-01T00:00:00.000000Z"}));
    lease["metadata"]["labels"] = json!({"postern.dev/component": "replica"});
    tenant.kubernetes.create(OPERATOR_NAMESPACE, &lease).await.unwrap();
    restart_with_another_ca_published(&tenant).await;

    // Server-side apply of what is not there yet: allowed as `create`, logged as `patch`.
    for (part, applies) in [
        (Part::Serve, &[["postern.dev", "replicastates", "create"], ["coordination.k8s.io", "leases", "create"]][..]),
        (Part::Control, &[]),
    ] {
        let granted = granted(&tenant, part).await;
        eventually(format_args!("every right that the roles grant to {part:?} is used"), async || {
            let mut used: BTreeSet<Right> = cluster.audit.of(part).iter().map(right).collect();
            used.extend(applies.iter().map(|right| right.map(str::to_owned).into()));
            let superfluous: Vec<_> = granted.difference(&used).collect();
            ensure(superfluous.is_empty(), format_args!("superfluous: {superfluous:?}"))
        })
        .await;
    }
    let served: Vec<Entry> = cluster.audit.of(Part::Serve).into_iter().filter(Entry::is_write).collect();
    assert!(served.iter().all(|entry| entry.namespace == OPERATOR_NAMESPACE), "it writes elsewhere: {served:?}");
    let refused: Vec<Entry> = cluster.audit.of_the_operator().into_iter().filter(|entry| !entry.authorized).collect();
    assert!(refused.is_empty(), "it asked for what it may not do: {refused:?}");
    assert_eq!(tenant.kubernetes.get("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await["data"], ca["data"]);
}

#[tokio::test]
async fn outside_its_namespace_the_operator_reads_only_secrets_that_it_delivers_or_may_import() {
    let tenant = TestNamespace::new("others-secrets").await;
    tenant.create_defaults().await;
    let secret = |name: &str, labels: Value| {
        let metadata = json!({"name": name, "labels": labels});
        let data = json!({"password": "a value that is long enough"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    };
    tenant.apply(&secret("of-somebody", json!({}))).await;
    tenant.apply(&secret("for-nobody", json!({"postern.dev/import": "true"}))).await;
    tenant.apply(&secret("legacy", json!({"postern.dev/import": "true"}))).await;
    let import = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    tenant.apply(&client_secret("imported", "sync", import)).await;
    tenant.ready("ClientSecret", "imported").await;
    tenant.issue("blue").await;
    tenant.merge("Secret", &tenant.namespace, "of-somebody", json!({"data": {"password": null}})).await.unwrap();
    for name in ["blue", "imported"] {
        is_repaired(&tenant, name).await;
    }
    tenant.settled().await;

    let mut read = BTreeSet::new();
    for entry in tenant.cluster.audit.of_the_operator() {
        if entry.resource != "secrets" || entry.namespace == OPERATOR_NAMESPACE || entry.is_write() {
            continue;
        }
        match entry.verb.as_str() {
            "get" if entry.namespace == tenant.namespace => drop(read.insert(entry.name)),
            "list" | "watch" => {
                let selectors =
                    ["labelSelector=postern.dev%2Fcomponent%3Dcredential", "labelSelector=postern.dev%2Fimport%3Dtrue"];
                assert!(selectors.iter().any(|selector| entry.uri.contains(selector)), "{entry:?}");
            }
            _ => {}
        }
    }
    assert_eq!(read, BTreeSet::from(["blue", "imported", "legacy"].map(str::to_owned)));
}

/// Takes a key out of a delivered Secret, and waits until it is there again.
async fn is_repaired(tenant: &TestNamespace, name: &str) {
    // An imported value is Ready, because it works, before it is delivered.
    eventually("it is delivered", async || {
        tenant.find("Secret", &tenant.namespace, name).await.ok_or("there is none".to_owned())
    })
    .await;
    tenant.merge("Secret", &tenant.namespace, name, json!({"data": {"scopes": null}})).await.unwrap();
    eventually("the Secret is repaired", async || {
        let secret = tenant.get("Secret", name).await;
        ensure(secret["data"]["scopes"].is_string(), &secret["metadata"])
    })
    .await;
}

/// Has a workload of each kind restarted.
async fn rolls_out(tenant: &TestNamespace) {
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
    tenant.wait_condition("ClientSecret", "rolling", "Rotating", "True", "RollingOut").await;
}

async fn restart_with_another_ca_published(tenant: &TestNamespace) {
    for process in tenant.cluster.processes() {
        process.process().terminate();
        process.process().ended().await;
    }
    let forged = json!({"data": {"ca.crt": "not the CA"}});
    tenant.merge("ConfigMap", OPERATOR_NAMESPACE, "postern-ca", forged).await.unwrap();
    tenant.cluster.start().await;
}

async fn granted(kubernetes: &Kubernetes, part: Part) -> BTreeSet<Right> {
    let name = part.account();
    let roles =
        [kubernetes.get("ClusterRole", "", &name).await, kubernetes.get("Role", OPERATOR_NAMESPACE, &name).await];
    let mut granted = BTreeSet::new();
    for rule in roles.iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        // The documents about ServiceAccount tokens: they are no objects.
        if rule["nonResourceURLs"].is_array() {
            continue;
        }
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
