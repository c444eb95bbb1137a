//! What clients can have written to etcd, counted in the API server's audit log.
//!
//! Other tests of the run write a little at the same time, so the bounds leave room for that.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, client_secret, ensure, eventually};

/// Repeated requests. With a write for each of them, twice as many would be far above every bound here.
const REPEATED: usize = 100;
/// Writes that other tests may make in that time.
const OTHERS: usize = 45;

/// What replicas wrote to their objects of this kind so far.
fn writes(tenant: &TestNamespace, kind: &str) -> usize {
    let all = tenant.cluster.audit.writes();
    all.iter().filter(|entry| entry.resource == "replicastates" && entry.name.contains(kind)).count()
}

/// The answers to requests for rotation, and how many writes they cost.
async fn rotate(tenant: &TestNamespace, credential: &Credential, times: usize) -> (Vec<StatusCode>, usize) {
    let before = writes(tenant, "-requests");
    let mut answers = Vec::new();
    for _ in 0..times {
        let replica = &tenant.cluster.replicas[0].url;
        answers.push(credential.manage(&tenant.connections, replica, "rotate").await.status);
    }
    answers.dedup();
    tenant.settled().await;
    (answers, writes(tenant, "-requests") - before)
}

#[tokio::test]
async fn a_rotation_that_is_asked_for_again_and_again_is_written_once() {
    let tenant = TestNamespace::new("repeated").await;
    tenant.create_defaults().await;
    let overlap = json!({"rotation": {"trigger": "a", "overlap": "1h"}});
    tenant.apply(&client_secret("blue", "sync", overlap.clone())).await;
    tenant.ready("ClientSecret", "blue").await;
    let old = tenant.delivered("blue").await;
    tenant.accepted(&old).await;
    let accepted = vec![StatusCode::ACCEPTED];
    let (answers, cost) = rotate(&tenant, &old, REPEATED).await;
    assert!(answers == accepted && cost < OTHERS, "{answers:?}, {cost} writes");
    let new = eventually("it rotates", async || {
        let now = tenant.delivered("blue").await;
        ensure(now != old, "it has not").map(|()| now)
    })
    .await;
    tenant.accepted(&new).await;
    let (answers, cost) = rotate(&tenant, &old, REPEATED).await;
    assert!(answers == accepted && cost < OTHERS, "with the old value: {answers:?}, {cost} writes");
    assert_eq!(tenant.delivered("blue").await, new, "and it does not rotate again");

    let mut once = overlap;
    once["delivery"] = json!({"mode": "Once", "ttl": "1h"});
    tenant.apply(&client_secret("once", "sync", once)).await;
    tenant.ready("ClientSecret", "once").await;
    let shown = tenant.delivered("once").await;
    tenant.accepted(&shown).await;
    let (answers, cost) = rotate(&tenant, &shown, REPEATED).await;
    assert!(answers == accepted && cost < OTHERS, "a value that is shown once: {answers:?}, {cost} writes");
}

#[tokio::test]
async fn an_imported_value_and_one_that_is_revoked_have_nothing_written() {
    let tenant = TestNamespace::new("unwritten").await;
    tenant.create_defaults().await;
    tenant
        .apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
            "stringData": {"password": "a value of some length"},
        }))
        .await;
    let existing = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    tenant.apply(&client_secret("imported", "sync", existing)).await;
    tenant.ready("ClientSecret", "imported").await;
    let imported = eventually("it is delivered", async || {
        let found = tenant.find("Secret", &tenant.namespace, "imported").await.ok_or("no Secret")?;
        Ok(Credential::delivered_in(&found))
    })
    .await;
    tenant.accepted(&imported).await;
    let (answers, cost) = rotate(&tenant, &imported, REPEATED).await;
    assert!(answers == [StatusCode::ACCEPTED] && cost < OTHERS, "{answers:?}, {cost} writes");

    let credential = tenant.issue("blue").await;
    tenant.accepted(&credential).await;
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.wait_rejected(&credential).await;
    let (answers, cost) = rotate(&tenant, &credential, REPEATED).await;
    assert!(answers == [StatusCode::UNAUTHORIZED] && cost < OTHERS, "{answers:?}, {cost} writes");
}

#[tokio::test]
async fn the_revocations_of_a_client_are_limited_and_a_revoked_token_is_not_written_again() {
    let tenant = TestNamespace::new("revokes").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let url = format!("{}/oauth2/revoke", tenant.cluster.replicas[0].url);
    let revoke = async |token: &str| credential.post(&tenant.connections, &url, &[("token", token)]).await;
    let before = writes(&tenant, "-revoked-");
    let (token, other) = (tenant.token(&credential, 0).await, tenant.token(&credential, 0).await);
    for _ in 0..REPEATED {
        assert_eq!(revoke(&token).await, (StatusCode::OK, Value::Null));
        assert_eq!(revoke("pat_unknown").await, (StatusCode::OK, Value::Null));
    }
    tenant.settled().await;
    let cost = writes(&tenant, "-revoked-") - before;
    assert!(cost < OTHERS, "{cost} writes");

    let (mut revoked, mut limited) = (0, 0);
    for _ in 0..3 * REPEATED {
        let token = tenant.token(&credential, 0).await;
        match revoke(&token).await {
            (StatusCode::OK, Value::Null) => revoked += 1,
            (StatusCode::TOO_MANY_REQUESTS, said) if said["error"] == "temporarily_unavailable" => limited += 1,
            answer => panic!("{answer:?}"),
        }
    }
    assert!(revoked >= 99 && limited > 0, "{revoked} revoked, {limited} refused");
    tenant.settled().await;
    let cost = writes(&tenant, "-revoked-") - before;
    assert!(cost < revoked + 2 * OTHERS, "{cost} writes");
    assert_eq!(tenant.introspected(&credential, &other).await[0]["active"], true, "others live on");
    assert_eq!(revoke(&token).await, (StatusCode::OK, Value::Null), "what is revoked already is not limited");
}
