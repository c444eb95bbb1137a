//! The numbers and sizes that are limited: ClientSecrets of an Application, lengths of names, the limits of the operator.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Cluster, TestNamespace, User, application, client_secret, condition, ensure, eventually};

#[tokio::test]
async fn the_21st_secret_is_refused_until_an_older_one_is_deleted() {
    let tenant = TestNamespace::new("limit").await;
    tenant.create_defaults().await;
    for number in 1..=20 {
        tenant.issue(&format!("s{number:02}")).await;
    }
    tenant.later_than(&tenant.get("ClientSecret", "s20").await).await;
    tenant.apply(&client_secret("one-too-many", "sync", json!({}))).await;
    let message = tenant.wait_not_ready("ClientSecret", "one-too-many", "LimitReached").await;
    assert!(message.contains("20") && message.contains("Application sync"), "{message}");
    let youngest = tenant.delivered("s20").await;
    tenant.accepted(&youngest).await;
    eventually("the application counts 20 of 21", async || {
        let status = tenant.get("Application", "sync").await["status"].clone();
        ensure(status["secrets"]["summary"] == "20/21", &status["secrets"])
    })
    .await;

    tenant.delete("ClientSecret", &tenant.namespace, "s07").await;
    tenant.ready("ClientSecret", "one-too-many").await;
    tenant.accepted(&tenant.delivered("one-too-many").await).await;
}

#[tokio::test]
async fn exactly_20_of_40_secrets_created_concurrently_stay_active_and_the_next_moves_up() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "forty", json!({})).await;
    tenant.create_defaults().await;
    // The values over the limit are not kept, so each of them counts as a wrong secret.
    tenant.apply(&application("sync", "sync", json!({"lockout": {"mode": "Disabled"}}))).await;
    // Each of them creates ten at once.
    let mut users = Vec::new();
    for number in 0..4 {
        users.push(User::person(&tenant, &format!("user-{number}")).await.edits().await);
    }
    let names: Vec<String> = (0..40).map(|number| format!("s{number:02}")).collect();
    let objects: Vec<_> = names.iter().map(|name| client_secret(name, "sync", json!({}))).collect();
    let creations =
        objects.iter().enumerate().map(|(number, object)| users[number % 4].create(&tenant.namespace, object));
    for created in futures::future::join_all(creations).await {
        created.unwrap();
    }
    let counted = counted(&tenant).await;
    // By creation time, then UID.
    let mut ages = Vec::new();
    for name in &names {
        let metadata = tenant.get("ClientSecret", name).await["metadata"].clone();
        let text = |field: &str| metadata[field].as_str().unwrap().to_owned();
        ages.push((text("creationTimestamp"), text("uid"), name.clone()));
    }
    ages.sort();
    let oldest: BTreeSet<String> = ages.iter().take(20).map(|(_, _, name)| name.clone()).collect();
    assert_eq!(counted, oldest);
    for name in &names {
        if let Some(secret) = tenant.find("Secret", &tenant.namespace, name).await {
            let credential = crate::harness::Credential::delivered_in(&secret);
            // One of the same second with a smaller UID may have come later and taken the place of one that was delivered.
            if counted.contains(name) {
                tenant.accepted(&credential).await;
            } else {
                tenant.wait_rejected(&credential).await;
            }
        }
    }
    let before = tenant.writes().await;
    for replica in &cluster.replicas {
        replica.process().kill();
    }
    cluster.start().await;
    assert_eq!(tenant.writes().await, before, "it does not flap over restarts");
    assert_eq!(self::counted(&tenant).await, oldest);
    tenant.delete("ClientSecret", &tenant.namespace, &ages[3].2).await;
    tenant.ready("ClientSecret", &ages[20].2).await;
    tenant.accepted(&tenant.delivered(&ages[20].2).await).await;
    tenant.wait_not_ready("ClientSecret", &ages[21].2, "LimitReached").await;
}

/// The names of those that are Ready, once all report it and 20 are. A secret that is displaced by one that came a
/// moment later reports that a moment after that one.
async fn counted(tenant: &TestNamespace) -> BTreeSet<String> {
    eventually("20 say that they count, and all others that they do not", async || {
        let mut counted = BTreeSet::new();
        for object in tenant.list("ClientSecret", &tenant.namespace).await {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let ready = condition(&object, "Ready").cloned().unwrap_or_default();
            match (ready["status"].as_str(), ready["reason"].as_str()) {
                (Some("True"), _) => drop(counted.insert(name)),
                (Some("False"), Some("LimitReached")) => {}
                _ => return Err(format!("{name}: {ready}")),
            }
        }
        ensure(counted.len() == 20, format_args!("{counted:?}")).map(|()| counted)
    })
    .await
}

#[tokio::test]
async fn names_may_be_as_long_as_kubernetes_allows() {
    let tenant = TestNamespace::new("long").await;
    tenant.create_defaults().await;
    let long = |letter: &str| format!("{}.{}.{}", letter.repeat(63), letter.repeat(126), letter.repeat(62));
    let (user, app, secret) = (long("u"), long("a"), long("s"));
    assert_eq!(user.len(), 253);
    tenant.apply(&crate::harness::service_user(&user, &[&tenant.unique_name("readers")])).await;
    tenant.apply(&crate::harness::application(&app, &user, json!({}))).await;
    tenant.apply(&client_secret(&secret, &app, json!({}))).await;
    tenant.ready("ClientSecret", &secret).await;
    tenant.accepted(&tenant.delivered(&secret).await).await;
    tenant.wait_event(&secret, "Issued").await;
}

#[tokio::test]
async fn the_operator_s_limits_apply_to_existing_credentials_immediately_and_are_reported() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "limits", json!({})).await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("never", "sync", json!({"expiresIn": "Never"}))).await;
    tenant.apply(&client_secret("week", "sync", json!({"expiresIn": "7d"}))).await;
    for name in ["never", "week"] {
        tenant.ready("ClientSecret", name).await;
    }
    let credential = tenant.delivered("never").await;
    let life = async |name: &str| {
        let status = tenant.get("ClientSecret", name).await["status"].clone();
        let instant = |value: &serde_json::Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
        let issued = instant(&status["versions"][0]["createdAt"]).unwrap();
        instant(&status["expiresAt"]).map(|end| end.duration_since(issued).as_hours())
    };
    assert_eq!((life("never").await, life("week").await), (None, Some(168)));
    let table = [
        (["--forbid-never", "--secret-lifetime-max", "1y"], (Some(8760), Some(168))),
        (["--forbid-never", "--secret-lifetime-max", "1d"], (Some(24), Some(24))),
    ];
    for (arguments, expected) in table {
        cluster.replicas[0].process().terminate();
        cluster.replicas[0].process().ended().await;
        let kubeconfig = cluster.operator_kubeconfig(&cluster.controlplane.address());
        cluster.replicas[0].start_with(&kubeconfig, &arguments);
        cluster.ready().await;
        eventually(format_args!("{arguments:?} is in force"), async || {
            let lives = (life("never").await, life("week").await);
            ensure(lives == expected, format_args!("{lives:?}"))
        })
        .await;
        tenant.accepted(&credential).await;
    }
    let told = condition(&tenant.get("ClientSecret", "week").await, "Ready").cloned().unwrap_or_default();
    assert!(told["message"].as_str().unwrap().contains("the operator limits"), "{told}");
}
