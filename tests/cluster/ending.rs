//! How credentials end: limits, expiry, revocation, suspension, deletion.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Cluster, TestNamespace, User, client_secret, condition, ensure, eventually};

#[tokio::test]
async fn the_21st_secret_is_refused_until_one_of_the_older_goes() {
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
async fn of_40_created_at_once_by_four_users_exactly_20_count_for_ever_and_the_next_moves_up() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "forty", json!({})).await;
    tenant.create_defaults().await;
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
async fn an_expired_credential_is_refused_by_itself_and_an_extended_one_works_again() {
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
async fn what_ends_soon_is_told_by_condition_event_and_metric_unless_it_is_replaced_before() {
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
async fn a_token_never_outlives_the_secret_it_was_got_with() {
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

#[tokio::test]
async fn a_revoked_credential_is_refused_for_good_and_others_of_the_client_go_on() {
    let tenant = TestNamespace::new("revoke").await;
    tenant.create_defaults().await;
    let (blue, green) = (tenant.issue("blue").await, tenant.issue("green").await);
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.wait_rejected(&blue).await;
    let message = tenant.switched_off("ClientSecret", "blue", "Revoked", "Revoked").await;
    assert!(message.contains("spec.revoke"), "{message}");
    eventually("its Secret is deleted", async || {
        let secret = tenant.find("Secret", &tenant.namespace, "blue").await;
        ensure(secret.is_none(), "it is there")
    })
    .await;
    tenant.settled().await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["binding"], Value::Null, "{status}");
    assert!(tenant.find("Secret", &tenant.namespace, "blue").await.is_none(), "and not made again");
    tenant.accepted(&green).await;
}

#[tokio::test]
async fn suspending_an_application_or_its_service_user_is_reversible() {
    let tenant = TestNamespace::new("suspend").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    for (kind, reason) in [("Application", "Suspended"), ("ServiceUser", "ServiceUserSuspended")] {
        let suspend = |on: bool| json!({"spec": {"suspend": on}});
        tenant.merge(kind, &tenant.namespace, "sync", suspend(true)).await.unwrap();
        tenant.wait_rejected(&credential).await;
        tenant.switched_off(kind, "sync", "Suspended", "Suspended").await;
        assert_eq!(tenant.wait_event("sync", "Suspended").await["type"], "Normal", "what is asked for is no failure");
        tenant.switched_off("Application", "sync", "Suspended", reason).await;
        let message = tenant.switched_off("ClientSecret", "blue", "Suspended", "ApplicationSuspended").await;
        assert!(message.contains("spec.suspend"), "{message}");
        tenant.merge(kind, &tenant.namespace, "sync", suspend(false)).await.unwrap();
        tenant.wait_condition("ClientSecret", "blue", "Ready", "True", "Issued").await;
        tenant.wait_accepted(&credential).await;
    }
}

#[tokio::test]
async fn deleting_any_object_of_the_chain_ends_the_credential() {
    for kind in ["ClientSecret", "Application", "ServiceUser"] {
        let tenant = TestNamespace::new("deletion").await;
        tenant.create_defaults().await;
        let credential = tenant.issue("sync").await;
        tenant.delete(kind, &tenant.namespace, "sync").await;
        tenant.wait_rejected(&credential).await;
    }
}

#[tokio::test]
async fn a_deleted_client_secret_takes_its_secret_along_and_a_namespace_ends_at_once() {
    let tenant = TestNamespace::new("namespace").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    tenant.delete("ClientSecret", &tenant.namespace, "blue").await;
    eventually("the Secret is collected", async || {
        ensure(tenant.find("Secret", &tenant.namespace, "blue").await.is_none(), "it is there")
    })
    .await;
    let credential = tenant.issue("green").await;
    tenant.delete("Namespace", "", &tenant.namespace).await;
    eventually("the namespace is gone", async || {
        let found = tenant.find("Namespace", "", &tenant.namespace).await;
        ensure(found.is_none(), format_args!("{found:?}"))
    })
    .await;
    tenant.wait_rejected(&credential).await;
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
async fn the_operator_s_limits_take_effect_at_once_and_are_told() {
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
