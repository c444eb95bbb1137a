//! One tenant causes as much work as it can; another one's new credential, and the answer to its leak, do not wait for that.
//!
//! How long they take depends on the machine, so the tests check how much is done for the first tenant before.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Credential, Entry, TestNamespace, application, client_secret, ensure, eventually, object};

/// ClientSecrets of one application.
const SECRETS: usize = 20;
/// Writes for the flood between a change of the other tenant and the first write for it: that may wait for the writes that
/// are under way, of which there are eight at most, for as many turns as there are namespaces, and for the news to arrive.
const FEW: usize = 60;

/// A tenant that floods, and one that is quiet and has a credential.
async fn tenants(name: &str) -> (TestNamespace, TestNamespace, Credential) {
    let names = [format!("flood-{name}"), format!("quiet-{name}")];
    let (flood, quiet) = tokio::join!(TestNamespace::new(&names[0]), TestNamespace::new(&names[1]));
    tokio::join!(flood.create_defaults(), quiet.create_defaults());
    let leaked = quiet.issue("leaked").await;
    (flood, quiet, leaked)
}

/// A deleted Secret and a new credential of the quiet tenant. Each is begun before much more is done for the flood.
async fn served(flood: &TestNamespace, quiet: &TestNamespace, leaked: &Credential) {
    let deleted = async || quiet.delete("Secret", &quiet.namespace, "leaked").await;
    let created = async || drop(quiet.apply(&client_secret("new", "sync", json!({}))).await);
    begun(flood, quiet, "leaked", deleted).await;
    begun(flood, quiet, "new", created).await;
    quiet.ready("ClientSecret", "new").await;
    let healed = eventually("the leaked value is replaced", async || {
        let secret = quiet.find("Secret", &quiet.namespace, "leaked").await.ok_or("no Secret")?;
        Ok(Credential::delivered_in(&secret))
    })
    .await;
    quiet.wait_rejected(leaked).await;
    quiet.accepted(&healed).await;
    quiet.accepted(&quiet.delivered("new").await).await;
}

/// Changes an object of the quiet tenant, and waits until the operator writes for it.
async fn begun(flood: &TestNamespace, quiet: &TestNamespace, name: &str, change: impl AsyncFnOnce()) {
    let audit = &flood.cluster.audit;
    let before = audit.writes().len();
    change().await;
    let meanwhile = eventually("the operator writes for the quiet tenant", async || {
        let mut writes = audit.writes().split_off(before);
        let is_for_it = |write: &Entry| write.namespace == quiet.namespace && write.name == name;
        let first = writes.iter().position(is_for_it).ok_or("it does not")?;
        writes.truncate(first);
        Ok(writes)
    })
    .await;
    let flooded = meanwhile.iter().filter(|write| write.namespace == flood.namespace);
    let flooded: Vec<String> =
        flooded.map(|write| format!("{} {} {}", write.verb, write.resource, write.name)).collect();
    assert!(flooded.len() < FEW, "{} writes before the first one for the quiet tenant: {flooded:?}", flooded.len());
}

async fn applications(tenant: &TestNamespace, count: usize) {
    join_all((0..count).map(async |number| {
        tenant.apply(&application(&format!("app-{number}"), "sync", json!({}))).await;
        tenant.ready("Application", &format!("app-{number}")).await;
    }))
    .await;
}

async fn secrets(tenant: &TestNamespace, applications: usize, spec: &Value) {
    join_all((0..applications).map(async |application| {
        for number in application * SECRETS..(application + 1) * SECRETS {
            let secret = client_secret(&format!("secret-{number}"), &format!("app-{application}"), spec.clone());
            tenant.apply(&secret).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn a_secret_that_many_import_delays_no_other_tenant() {
    let (flood, quiet, leaked) = tenants("imports").await;
    let source = |value: &str| {
        let labels = json!({"postern.dev/import": "true"});
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy", "labels": labels},
            "stringData": {"password": value},
        })
    };
    let importers = 5 * SECRETS;
    flood.apply(&source("a first value of some length")).await;
    applications(&flood, 5).await;
    secrets(&flood, 5, &json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}})).await;
    let all = |count: usize| format!("{count} of {importers} have the value");
    let having = async |value: &str| {
        let secrets = flood.list("Secret", &flood.namespace).await;
        let delivered = secrets.iter().filter(|secret| secret["type"] == "servicebinding.io/oauth2");
        delivered.filter(|secret| Credential::delivered_in(secret).key("client-secret") == value).count()
    };
    eventually("everybody has the first value", async || {
        let count = having("a first value of some length").await;
        ensure(count == importers, all(count))
    })
    .await;

    flood.apply(&source("a second value of some length")).await;
    served(&flood, &quiet, &leaked).await;
}

#[tokio::test]
async fn restarts_that_never_end_delay_no_other_tenant() {
    let (flood, quiet, leaked) = tenants("rollouts").await;
    let workloads: Vec<Value> =
        (0..5).map(|number| json!({"kind": "Deployment", "name": format!("never-{number}")})).collect();
    for workload in &workloads {
        // No pod of it ever starts: there is no node.
        let labels = json!({"app": workload["name"]});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
        let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
        flood.apply(&object("Deployment", workload["name"].as_str().unwrap(), spec)).await;
    }
    let spec = |trigger: &str| json!({"rotation": {"trigger": trigger, "overlap": "1h", "rollout": workloads}});
    applications(&flood, 1).await;
    secrets(&flood, 1, &spec("a")).await;
    for number in 0..SECRETS {
        flood.ready("ClientSecret", &format!("secret-{number}")).await;
    }
    secrets(&flood, 1, &spec("b")).await;
    served(&flood, &quiet, &leaked).await;
    flood.wait_condition("ClientSecret", "secret-0", "Rotating", "True", "RollingOut").await;
}

#[tokio::test]
async fn a_service_user_that_is_suspended_and_resumed_without_end_delays_no_other_tenant() {
    let (flood, quiet, leaked) = tenants("toggles").await;
    applications(&flood, 3).await;
    secrets(&flood, 3, &json!({})).await;
    for number in 0..3 * SECRETS {
        flood.ready("ClientSecret", &format!("secret-{number}")).await;
    }
    let toggles = async {
        for suspend in [true, false].into_iter().cycle() {
            let change = json!({"spec": {"suspend": suspend}});
            flood.merge("ServiceUser", &flood.namespace, "sync", change).await.unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::select! {
        () = toggles => {}
        () = served(&flood, &quiet, &leaked) => {}
    }
}

#[tokio::test]
async fn writes_that_are_refused_delay_no_other_tenant() {
    let (flood, quiet, leaked) = tenants("refusals").await;
    let policy = flood.unique_name("no-secrets");
    refuse_secrets(&flood, &policy).await;
    applications(&flood, 5).await;
    secrets(&flood, 5, &json!({})).await;
    served(&flood, &quiet, &leaked).await;
    flood.wait_not_ready("ClientSecret", "secret-0", "DeliveryFailed").await;
    flood.delete("ValidatingAdmissionPolicyBinding", "", &policy).await;
}

/// From now on there is no new Secret in the namespace.
async fn refuse_secrets(tenant: &TestNamespace, policy: &str) {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]});
    let validations = json!([{"expression": "false", "message": "no Secrets here"}]);
    let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": validations});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}});
    let binding = json!({
        "policyName": policy, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
    });
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicy", policy, spec)).await;
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicyBinding", policy, binding)).await;
    eventually("the policy is in force", async || {
        let tried = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "tried-"}});
        let refusal = tenant.try_create(&tenant.namespace, &tried).await.err().unwrap_or_default();
        ensure(refusal.contains("no Secrets here"), refusal)
    })
    .await;
}
