//! Credentials that expire, and what is reported before.

use serde_json::json;

use crate::harness::{TestNamespace, client_secret, ensure, eventually};

#[tokio::test]
async fn an_expired_credential_is_refused_automatically_and_an_extended_one_works_again() {
    let tenant = TestNamespace::new("expiry").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"expiresIn": "3s"}))).await;
    let credential = eventually("it is delivered", async || {
        let secret = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("no Secret")?;
        Ok(crate::harness::Credential::delivered_in(&secret))
    })
    .await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "Expired").await;
    assert!(message.contains("spec.expiresIn"), "{message}");
    tenant.wait_rejected(&credential).await;

    tenant.apply(&client_secret("blue", "sync", json!({"expiresIn": "1y"}))).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.wait_accepted(&credential).await;
    let past = json!({"spec": {"expiresIn": null, "expiresAt": "2020-01-01T00:00:00Z"}});
    tenant.merge("ClientSecret", &tenant.namespace, "blue", past).await.unwrap();
    tenant.wait_rejected(&credential).await;
    tenant.wait_not_ready("ClientSecret", "blue", "Expired").await;
}

#[tokio::test]
async fn an_upcoming_expiry_is_reported_by_condition_event_and_metric_unless_a_rotation_precedes_it() {
    let tenant = TestNamespace::new("expiring").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("soon", "sync", json!({"expiresIn": "40d"}))).await;
    tenant.apply(&client_secret("short", "sync", json!({"expiresIn": "20d"}))).await;
    tenant.apply(&client_secret("later", "sync", json!({"expiresIn": "40d"}))).await;
    tenant.apply(&client_secret("rotated", "sync", json!({"expiresIn": "20d", "rotation": {"every": "10d"}}))).await;
    for name in ["soon", "short"] {
        tenant.ready("ClientSecret", name).await;
    }
    // Twenty days pass.
    let mut versions = tenant.get("ClientSecret", "soon").await["status"]["versions"].clone();
    let issued: jiff::Timestamp = versions[0]["createdAt"].as_str().unwrap().parse().unwrap();
    versions[0]["createdAt"] = json!((issued - jiff::SignedDuration::from_hours(20 * 24)).to_string());
    let aged = json!({"status": {"versions": versions}});
    tenant.kubernetes.merge_status("ClientSecret", &tenant.namespace, "soon", aged).await.unwrap();
    let told = tenant.wait_condition("ClientSecret", "soon", "Expiring", "True", "ExpiresSoon").await;
    assert!(told["message"].as_str().unwrap().contains("in less than 30 days"), "{told}");
    tenant.wait_condition("ClientSecret", "later", "Expiring", "False", "NotExpiring").await;
    tenant.wait_condition("ClientSecret", "rotated", "Expiring", "False", "NotExpiring").await;
    tenant.wait_condition("ClientSecret", "short", "Expiring", "False", "NotExpiring").await;
    eventually("an event tells of it, once", async || {
        let events = tenant.list("Event", &tenant.namespace).await;
        let told: Vec<_> = events.iter().filter(|event| event["reason"] == "ExpiresSoon").collect();
        ensure(told.len() == 1 && told[0]["regarding"]["name"] == "soon", format_args!("{events:#?}"))
    })
    .await;
    for replica in &tenant.cluster.replicas {
        eventually("the metric counts it", async || {
            let metrics = replica.metrics().await;
            let count = |within: &str| {
                let line = format!("postern_client_secrets_expiring{{within=\"{within}\"}} ");
                let found = metrics.lines().find_map(|it| it.strip_prefix(&line)?.parse::<u32>().ok());
                found.ok_or(format!("no line {line}"))
            };
            // Other tests have their own; those that end within a week are fewer.
            ensure(count("30d")? > count("7d")?, &metrics)
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_never_outlives_the_secret_it_was_issued_for() {
    let tenant = TestNamespace::new("outlive").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"expiresIn": "2m"}))).await;
    tenant.ready("ClientSecret", "blue").await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    let end: jiff::Timestamp = status["expiresAt"].as_str().unwrap().parse().unwrap();
    for claims in tenant.accepted(&tenant.delivered("blue").await).await {
        assert!(claims["exp"].as_i64().unwrap() <= end.as_second(), "{claims} {end}");
    }
}
