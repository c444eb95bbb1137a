//! What the operator may set, on a cluster where it is set.

use serde_json::json;

use crate::harness::{Cluster, Tenant, application, client_secret, eventually, holds};

#[tokio::test]
async fn what_the_operator_limits_is_limited() {
    let settings = ["--token-lifetime-max", "2m", "--secrets-per-application", "1", "--staleness-max", "2s"];
    let cluster = Cluster::own_with(1, &settings);
    cluster.start().await;
    let tenant = Tenant::on(cluster.clone(), "settings", json!({})).await;
    tenant.settle_in().await;
    let blue = tenant.issue("blue").await;
    for (asked, seconds) in [("1m", 60), ("5m", 120)] {
        tenant.apply(&application("sync", "sync", json!({"token": {"lifetime": asked}}))).await;
        eventually(format_args!("a token lives {seconds} s when {asked} is asked for"), async || {
            let claims = tenant.accepted_at_once(&blue).await.remove(0);
            let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            holds(lives == seconds, lives)
        })
        .await;
    }

    tenant.later_than(&tenant.get("ClientSecret", "blue").await).await;
    tenant.apply(&client_secret("green", "sync", json!({}))).await;
    let message = tenant.refused("ClientSecret", "green", "LimitReached").await;
    assert!(message.contains("has 1 older ClientSecrets, and no more than 1 count"), "{message}");

    cluster.controlplane.component("kill", "kube-apiserver");
    eventually("what is too old is not served", async || {
        let answer = blue.ask(&tenant.connections, &cluster.replicas[0].url, &[]).await?;
        holds(answer.status == 503 && answer.error() == "temporarily_unavailable", format_args!("{answer:?}"))
    })
    .await;
    cluster.controlplane.component("start", "kube-apiserver");
    tenant.let_in(&blue).await;
}
