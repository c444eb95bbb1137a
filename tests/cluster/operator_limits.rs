//! What the operator may set, on a cluster where it is set.

use serde_json::json;

use crate::harness::{
    Cluster, TestNamespace, access_group, application, client_secret, ensure, eventually, service_user,
};

#[tokio::test]
async fn the_limits_of_the_operator_are_enforced() {
    let settings = [
        &["--token-lifetime-max", "2m", "--secrets-per-application", "1", "--staleness-max", "2s"][..],
        &["--require-namespace-location", "--objects-per-namespace", "3", "--created-by-claim"],
    ];
    let settings = settings.concat();
    let cluster = Cluster::dedicated_with(1, &settings);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "settings", json!({})).await;
    tenant.create_defaults().await;
    let blue = tenant.issue("blue").await;
    for (asked, seconds) in [("1m", 60), ("5m", 120)] {
        tenant.apply(&application("sync", "sync", json!({"token": {"lifetime": asked}}))).await;
        eventually(format_args!("a token lives {seconds} s when {asked} is asked for"), async || {
            let claims = tenant.accepted_at_once(&blue).await.remove(0);
            assert!(claims["created_by"].is_string(), "{claims}");
            let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            ensure(lives == seconds, lives)
        })
        .await;
    }

    chooses_no_location(&tenant).await;

    tenant.later_than(&tenant.get("ClientSecret", "blue").await).await;
    tenant.apply(&client_secret("green", "sync", json!({}))).await;
    let message = tenant.wait_not_ready("ClientSecret", "green", "LimitReached").await;
    assert!(
        message.contains("1 older ClientSecrets belong to Application sync, and only the oldest 1 are active"),
        "{message}"
    );

    beyond_the_limit_of_the_namespace(&tenant).await;

    cluster.controlplane.component("kill", "kube-apiserver");
    eventually("what is too old is not served", async || {
        let answer = blue.ask(&tenant.connections, &cluster.replicas[0].url, &[]).await?;
        ensure(answer.status == 503 && answer.error() == "temporarily_unavailable", format_args!("{answer:?}"))
    })
    .await;
    cluster.controlplane.component("start", "kube-apiserver");
    tenant.wait_accepted(&blue).await;
}

/// The attack: with a group that reaches the whole tree, the team of a namespace without a location picks one.
async fn chooses_no_location(tenant: &TestNamespace) {
    let group = tenant.unique_name("everywhere");
    tenant.apply(&access_group(&group, json!({"role": "everywhere", "location": "/", "reach": "Subtree"}))).await;
    let mut user = service_user("roaming", &[&group]);
    tenant.apply(&user).await;
    let message = tenant.wait_not_ready("ServiceUser", "roaming", "GroupsNotResolved").await;
    assert!(message.contains("this namespace has none: set spec.location to /, or ask the platform team"), "{message}");
    assert_eq!(tenant.get("ServiceUser", "roaming").await["status"]["roles"], json!([]));
    tenant.apply(&application("roaming", "roaming", json!({}))).await;
    tenant.apply(&client_secret("roaming", "roaming", json!({}))).await;
    tenant.ready("ClientSecret", "roaming").await;
    let roaming = tenant.delivered("roaming").await;
    tenant.answers_everywhere(&roaming, &[], "400 invalid_scope").await;

    user["spec"]["location"] = json!("/");
    tenant.apply(&user).await;
    tenant.ready("ServiceUser", "roaming").await;
    assert_eq!(tenant.accepted(&roaming).await[0]["location"], "/");
    user["spec"]["location"] = json!("/emea/billing");
    tenant.apply(&user).await;
    tenant.wait_not_ready("ServiceUser", "roaming", "GroupsNotResolved").await;
    let located = json!({"metadata": {"annotations": {"postern.dev/location": "/emea"}}});
    tenant.merge("Namespace", "", &tenant.namespace, located).await.unwrap();
    tenant.ready("ServiceUser", "roaming").await;
    assert_eq!(tenant.accepted(&roaming).await[0]["location"], "/emea/billing");
}

/// Three ServiceUsers of a namespace are active. A fourth one is not, nor is what stands on it, until one of the three goes.
async fn beyond_the_limit_of_the_namespace(tenant: &TestNamespace) {
    let group = tenant.unique_name("readers");
    tenant.apply(&service_user("second", &[&group])).await;
    tenant.later_than(&tenant.get("ServiceUser", "second").await).await;
    tenant.apply(&service_user("third", &[&group])).await;
    let message = tenant.wait_not_ready("ServiceUser", "third", "NamespaceLimitReached").await;
    assert!(message.contains("3 older ServiceUsers") && message.contains("--objects-per-namespace"), "{message}");
    tenant.apply(&application("on-third", "third", json!({}))).await;
    tenant.wait_not_ready("Application", "on-third", "ServiceUserNotFound").await;

    tenant.delete("ServiceUser", &tenant.namespace, "second").await;
    tenant.ready("ServiceUser", "third").await;
    tenant.ready("Application", "on-third").await;
}
