//! What holds for the run as a whole. The tests of this file start last and look back at what all the others did.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Credential, Entry, OPERATOR_NAMESPACE, RELEASE, Tenant, client_secret, eventually, holds, others_have_ended,
};

#[tokio::test]
async fn no_secret_value_is_in_any_log_event_status_or_metric() {
    others_have_ended().await;
    let tenant = Tenant::new("leaks").await;
    tenant.settle_in().await;
    let credential = tenant.issue("blue").await;
    // Right and wrong, at the right place and at wrong ones.
    tenant.accepted(&credential).await;
    let wrong = credential.with_secret(&flipped(credential.key("client-secret")));
    tenant.turned_away(&wrong).await;
    let replica = tenant.cluster.issuer().to_owned();
    for form in [[("client_secret", credential.key("client-secret"))], [("scope", credential.key("client-secret"))]] {
        credential.ask(&tenant.connections, &replica, &form).await.expect("an answer");
    }
    let in_the_query = format!("{replica}/oauth2/token?client_secret={}", credential.key("client-secret"));
    crate::harness::http::get(&tenant.connections, &in_the_query).await.expect("an answer");
    let token = tenant.ask_everywhere(&credential, &[]).await[0].body["access_token"].as_str().unwrap().to_owned();
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.settled().await;

    let mut secrets = Credential::all_seen();
    secrets.extend([wrong.key("client-secret").to_owned(), token, tenant.cluster.operator_token().to_owned()]);
    secrets.extend(own_keys(&tenant).await);
    let mut leaks = Vec::new();
    for (place, text) in everything_that_can_be_read(&tenant).await {
        leaks.extend(
            secrets
                .iter()
                .filter(|secret| text.contains(secret.as_str()))
                .map(|secret| format!("{place}: {}…", &secret[..8])),
        );
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[tokio::test]
async fn the_roles_of_the_chart_grant_exactly_the_verbs_that_the_operator_uses() {
    others_have_ended().await;
    let tenant = Tenant::new("verbs").await;
    tenant.settle_in().await;
    tenant.issue("blue").await;
    let edit = json!({"data": {"scopes": null}});
    tenant.merge("Secret", &tenant.namespace, "blue", edit).await.unwrap();
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.apply(&client_secret("astray", "nowhere", json!({}))).await;

    let granted = granted(&tenant).await;
    eventually("every verb that the roles grant is used", async || {
        let used: BTreeSet<_> = tenant.cluster.audit.of_the_operator().iter().map(verb_of).collect();
        let superfluous: Vec<_> = granted.difference(&used).collect();
        holds(superfluous.is_empty(), format_args!("superfluous: {superfluous:?}"))
    })
    .await;
    let refused: BTreeSet<String> = tenant
        .cluster
        .audit
        .of_the_operator()
        .iter()
        .filter(|entry| entry.status == 403)
        .map(|entry| format!("{} {} {}/{}", entry.verb, entry.resource, entry.namespace, entry.name))
        .collect();
    assert!(refused.is_empty(), "it asked for more than it may: {refused:?}");
}

/// Another value of the same form.
fn flipped(secret: &str) -> String {
    let last = if secret.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", &secret[..secret.len() - 1])
}

/// The operator's own keys: install key, signing keys, TLS key. Every value that is not public.
async fn own_keys(tenant: &Tenant) -> Vec<String> {
    let secrets = tenant.list("Secret", OPERATOR_NAMESPACE).await;
    let ours = secrets.iter().filter(|secret| secret["type"] != "helm.sh/release.v1");
    let data = ours.flat_map(|secret| secret["data"].as_object().cloned().unwrap_or_default());
    let private = data.filter(|(key, value)| !key.ends_with(".crt") && value.as_str().unwrap().len() > 30);
    private.map(|(_, value)| value.as_str().unwrap().to_owned()).collect()
}

/// Logs of all replicas, events, objects with their status, metrics.
async fn everything_that_can_be_read(tenant: &Tenant) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for log in tenant.cluster.logs() {
        texts.push((log.display().to_string(), std::fs::read_to_string(log).unwrap()));
    }
    for kind in ["Event", "AccessGroup", "ServiceUser", "Application", "ClientSecret", "ConfigMap"] {
        let objects: Vec<String> = tenant.list(kind, "").await.iter().map(Value::to_string).collect();
        texts.push((format!("some {kind}"), objects.join("\n")));
    }
    for replica in &tenant.cluster.replicas {
        texts.push((format!("metrics of {}", replica.name), replica.metrics().await));
    }
    texts
}

/// API group, resource and verb, as the roles of the chart grant them.
async fn granted(tenant: &Tenant) -> BTreeSet<(String, String, String)> {
    let cluster_role = tenant.kubernetes.get("ClusterRole", "", RELEASE).await;
    let role = tenant.kubernetes.get("Role", OPERATOR_NAMESPACE, RELEASE).await;
    let strings = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let rules = [cluster_role, role].into_iter().flat_map(|role| role["rules"].as_array().unwrap().clone());
    let mut granted = BTreeSet::new();
    for rule in rules {
        for group in strings(&rule, "apiGroups") {
            for resource in strings(&rule, "resources") {
                granted.extend(strings(&rule, "verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    granted
}

fn verb_of(entry: &Entry) -> (String, String, String) {
    (entry.group.clone(), entry.resource.clone(), entry.verb.clone())
}
