//! What the replicas report to each other about tokens: revocations and uses.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Cluster, Credential, OPERATOR_NAMESPACE, TestNamespace, application, ensure, eventually};

#[tokio::test]
async fn the_revocation_and_use_of_a_token_reach_every_replica_and_survive_a_restart_of_all() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "sessions", json!({})).await;
    tenant.create_defaults().await;
    tenant.apply(&application("sync", "sync", json!({"token": {"format": "Opaque", "idleTimeout": "1m"}}))).await;
    let credential = tenant.issue("blue").await;
    let (revoked, used, idle) =
        (tenant.token(&credential, 0).await, tenant.token(&credential, 0).await, tenant.token(&credential, 1).await);
    assert!(revoked.starts_with("pat_"), "{revoked}");
    tenant.wait_active(&credential, &revoked, true).await;

    revoke(&tenant, &credential, &revoked).await;
    let first = ends(&tenant, &credential, &used).await;
    assert_eq!(first[0], first[1], "both know of its issue");
    let last = use_until_told(&tenant, &credential, &used, first[1]).await;
    tenant.wait_active(&credential, &revoked, false).await;

    for replica in &cluster.replicas {
        replica.process().kill();
        replica.process().ended().await;
    }
    cluster.start().await;
    tenant.wait_active(&credential, &revoked, false).await;
    for end in ends(&tenant, &credential, &used).await {
        assert!(end > first[1] && end <= last, "{end} is after {} and not after {last}", first[1]);
    }
    tenant.wait_active(&credential, &idle, true).await;
    the_revocation_is_kept(&tenant).await;
}

async fn revoke(tenant: &TestNamespace, credential: &Credential, token: &str) {
    let url = format!("{}/oauth2/revoke", tenant.cluster.replicas[0].url);
    let (status, said) = credential.post(&tenant.connections, &url, &[("token", token)]).await;
    assert_eq!((status, said), (StatusCode::OK, Value::Null));
}

/// When the token ends at each replica.
async fn ends(tenant: &TestNamespace, credential: &Credential, token: &str) -> Vec<i64> {
    let said = tenant.introspected(credential, token).await;
    said.iter().map(|answer| answer["exp"].as_i64().unwrap_or_else(|| panic!("{answer}"))).collect()
}

/// Uses the token at the first replica until the second has heard of it. When it ends at the first.
async fn use_until_told(tenant: &TestNamespace, credential: &Credential, token: &str, before: i64) -> i64 {
    let url = format!("{}/oauth2/introspect", tenant.cluster.replicas[0].url);
    eventually("the other replica hears of the use", async || {
        let (status, said) = credential.post(&tenant.connections, &url, &[("token", token)]).await;
        assert_eq!((status, &said["active"]), (StatusCode::OK, &json!(true)));
        let other = ends(tenant, credential, token).await[1];
        ensure(other > before, format_args!("{other}"))
    })
    .await;
    ends(tenant, credential, token).await[0]
}

/// In a separate object, and without anything from which a token could be made.
async fn the_revocation_is_kept(tenant: &TestNamespace) {
    assert_eq!(revoked(tenant).await.1.len(), 1);
    let states = tenant.list("ReplicaState", OPERATOR_NAMESPACE).await;
    assert!(!json!(states).to_string().contains("pat_"));
}

#[tokio::test]
async fn a_revocation_that_cannot_be_recorded_is_answered_with_503() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "unrecorded", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let (token, other) = (tenant.token(&credential, 0).await, tenant.token(&credential, 0).await);
    cluster.controlplane.component("kill", "kube-apiserver");
    let url = format!("{}/oauth2/revoke", cluster.replicas[0].url);
    for _ in 0..3 {
        let (status, said) = credential.post(&tenant.connections, &url, &[("token", &token)]).await;
        assert_eq!((status, &said["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("temporarily_unavailable")));
    }
    assert_eq!(tenant.introspected(&credential, &token).await[0]["active"], true, "and nothing else is pretended");
    cluster.controlplane.component("start", "kube-apiserver");
    eventually("another one can be recorded again", async || {
        let (status, _) = credential.post(&tenant.connections, &url, &[("token", &other)]).await;
        ensure(status == StatusCode::OK, status)
    })
    .await;
    assert_eq!(tenant.introspected(&credential, &token).await[0]["active"], true, "nothing is made up for later");
    revoke(&tenant, &credential, &token).await;
    assert_eq!(tenant.introspected(&credential, &token).await, [json!({"active": false})]);
    assert_eq!(revoked(&tenant).await.1.len(), 2, "each once, however often it was asked for");
}

#[tokio::test]
async fn a_revocation_is_added_to_the_current_object_even_if_others_changed_or_deleted_it() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "rewritten", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    revoke(&tenant, &credential, &tenant.token(&credential, 0).await).await;
    let (name, mut revoked) = revoked(&tenant).await;
    // As a write would leave it of which the replica heard no more.
    let mut late = revoked[0].clone();
    late["id"] = json!("late");
    revoked.push(late);
    let left = json!({"spec": {"revoked": revoked}});
    tenant.merge("ReplicaState", OPERATOR_NAMESPACE, &name, left).await.unwrap();
    for (number, is_gone) in [(3, false), (4, true)] {
        if is_gone {
            tenant.delete("ReplicaState", OPERATOR_NAMESPACE, &name).await;
        }
        revoke(&tenant, &credential, &tenant.token(&credential, 0).await).await;
        let now = self::revoked(&tenant).await.1;
        assert!(now.len() == number && now.iter().any(|token| token["id"] == "late"), "{now:?}");
    }
}

/// The one object with revocations, and what it says.
async fn revoked(tenant: &TestNamespace) -> (String, Vec<Value>) {
    let states = tenant.list("ReplicaState", OPERATOR_NAMESPACE).await;
    let mut told = states.iter().filter(|state| !state["spec"]["revoked"].is_null());
    let (Some(state), None) = (told.next(), told.next()) else { panic!("{states:#?}") };
    (state["metadata"]["name"].as_str().unwrap().to_owned(), state["spec"]["revoked"].as_array().unwrap().clone())
}

#[tokio::test]
async fn forty_concurrent_revocations_are_all_recorded() {
    let tenant = TestNamespace::new("revocations").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let mut tokens = Vec::new();
    for number in 0..40 {
        tokens.push(tenant.token(&credential, number % 2).await);
    }
    let (url, other) =
        (format!("{}/oauth2/revoke", tenant.cluster.replicas[1].url), tenant.token(&credential, 0).await);
    let revocations =
        tokens.iter().map(async |token| credential.post(&tenant.connections, &url, &[("token", token)]).await.0);
    let answers = futures::future::join_all(revocations).await;
    assert!(answers.iter().all(|status| *status == StatusCode::OK), "{answers:?}");
    for token in &tokens {
        tenant.wait_active(&credential, token, false).await;
    }
    tenant.wait_active(&credential, &other, true).await;
}
