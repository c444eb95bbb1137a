//! One tenant causes as much work as it can; another one's new credential, and the answer to its leak, do not wait for that.
//!
//! How long they take depends on the machine, so what is checked is what is done for the first tenant meanwhile: a small
//! part of the work that it caused.

use serde_json::{Value, json};

use crate::harness::{Credential, Tenant, application, client_secret, eventually, holds, object};

/// ClientSecrets of one application.
const SECRETS: usize = 20;
/// Writes for the flood before and between the few writes for the other tenant: each of those may wait for the writes that
/// are under way, of which there are eight at most, and for as many turns as there are namespaces.
const FEW: usize = 60;

/// A tenant that floods, and one that is quiet and has a credential.
async fn tenants(name: &str) -> (Tenant, Tenant, Credential) {
    let names = [format!("flood-{name}"), format!("quiet-{name}")];
    let (flood, quiet) = tokio::join!(Tenant::new(&names[0]), Tenant::new(&names[1]));
    tokio::join!(flood.settle_in(), quiet.settle_in());
    let leaked = quiet.issue("leaked").await;
    (flood, quiet, leaked)
}

/// A new credential and a deleted Secret of the quiet tenant; returns what the operator wrote for the flood meanwhile.
async fn served(flood: &Tenant, quiet: &Tenant, leaked: &Credential) -> Vec<String> {
    let before = flood.cluster.audit.writes_in(&flood.namespace).len();
    quiet.delete("Secret", &quiet.namespace, "leaked").await;
    quiet.apply(&client_secret("new", "sync", json!({}))).await;
    quiet.ready("ClientSecret", "new").await;
    let healed = eventually("the leaked value is replaced", async || {
        let secret = quiet.find("Secret", &quiet.namespace, "leaked").await.ok_or("no Secret")?;
        Ok(Credential::delivered_in(&secret))
    })
    .await;
    let meanwhile = flood.cluster.audit.writes_in(&flood.namespace).split_off(before);
    quiet.turned_away(leaked).await;
    quiet.accepted(&healed).await;
    quiet.accepted(&quiet.delivered("new").await).await;
    meanwhile
}

async fn applications(tenant: &Tenant, count: usize) {
    for number in 0..count {
        tenant.apply(&application(&format!("app-{number}"), "sync", json!({}))).await;
        tenant.ready("Application", &format!("app-{number}")).await;
    }
}

async fn secrets(tenant: &Tenant, applications: usize, spec: &Value) {
    for number in 0..applications * SECRETS {
        let application = format!("app-{}", number / SECRETS);
        tenant.apply(&client_secret(&format!("secret-{number}"), &application, spec.clone())).await;
    }
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
    let importers = SECRETS;
    flood.apply(&source("a first value of some length")).await;
    applications(&flood, 1).await;
    secrets(&flood, 1, &json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}})).await;
    let all = |count: usize| format!("{count} of {importers} have the value");
    let having = async |value: &str| {
        let secrets = flood.list("Secret", &flood.namespace).await;
        let delivered = secrets.iter().filter(|secret| secret["type"] == "servicebinding.io/oauth2");
        delivered.filter(|secret| Credential::delivered_in(secret).key("client-secret") == value).count()
    };
    eventually("everybody has the first value", async || {
        let count = having("a first value of some length").await;
        holds(count == importers, all(count))
    })
    .await;

    flood.apply(&source("a second value of some length")).await;
    let meanwhile = served(&flood, &quiet, &leaked).await;
    let imported = having("a second value of some length").await;
    assert!(imported < importers / 2, "{} when the other tenant was served: {meanwhile:?}", all(imported));
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
    let meanwhile = served(&flood, &quiet, &leaked).await;
    assert!(meanwhile.len() < FEW, "{} writes: {meanwhile:?}", meanwhile.len());
    flood.says("ClientSecret", "secret-0", "Rotating", "True", "RollingOut").await;
}

#[tokio::test]
async fn writes_that_are_refused_delay_no_other_tenant() {
    let (flood, quiet, leaked) = tenants("refusals").await;
    let policy = flood.own("no-secrets");
    refuse_secrets(&flood, &policy).await;
    applications(&flood, 3).await;
    secrets(&flood, 3, &json!({})).await;
    let meanwhile = served(&flood, &quiet, &leaked).await;
    assert!(meanwhile.len() < FEW, "{} writes: {meanwhile:?}", meanwhile.len());
    flood.refused("ClientSecret", "secret-0", "DeliveryFailed").await;
    flood.delete("ValidatingAdmissionPolicyBinding", "", &policy).await;
}

/// From now on there is no new Secret in the namespace.
async fn refuse_secrets(tenant: &Tenant, policy: &str) {
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
        holds(refusal.contains("no Secrets here"), refusal)
    })
    .await;
}
