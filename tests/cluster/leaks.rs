//! No secret value can be read anywhere but in its Secret, wherever a client sends it.

use serde_json::Value;

use crate::harness::{Credential, Place, TestNamespace, leaks, secret_material};

/// `invariants.rs` searches logs and objects again after all tests; metrics end with their process.
#[tokio::test]
async fn no_secret_value_is_in_any_log_event_status_or_metric() {
    let tenant = TestNamespace::new("leaks").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    // Right and wrong, at the right place and at wrong ones.
    tenant.accepted(&credential).await;
    let wrong = credential.with_secret(&flipped(credential.key("client-secret")));
    tenant.wait_rejected(&wrong).await;
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
    secrets.extend([wrong.key("client-secret").to_owned(), token]);
    secrets.extend(tenant.cluster.operator_tokens());
    secrets.extend(secret_material(&tenant.list("Secret", "").await));
    let leaks = leaks(&secrets, &everything_that_can_be_read(&tenant).await);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// Another value of the same form.
fn flipped(secret: &str) -> String {
    let last = if secret.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", &secret[..secret.len() - 1])
}

/// Logs of all processes, events, objects with their status, metrics.
async fn everything_that_can_be_read(tenant: &TestNamespace) -> Vec<Place> {
    let mut texts = Vec::new();
    for log in tenant.cluster.logs() {
        texts.push((log.display().to_string(), std::fs::read_to_string(log).unwrap()));
    }
    for kind in ["Event", "AccessGroup", "ServiceUser", "Application", "ClientSecret", "ReplicaState", "ConfigMap"] {
        let objects: Vec<String> = tenant.list(kind, "").await.iter().map(Value::to_string).collect();
        texts.push((format!("some {kind}"), objects.join("\n")));
    }
    for process in tenant.cluster.processes() {
        texts.push((format!("metrics of {}", process.name), process.metrics().await));
    }
    texts
}
