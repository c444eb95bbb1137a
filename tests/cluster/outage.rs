//! Restarts and outages: of the API server, and of the operator.

use std::time::Duration;

use axum::http::StatusCode;
use postern::api::key_records::KeyState;
use postern::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::harness::{Cluster, Entry, TestNamespace, application, checkout, client_secret, ensure, eventually, http};
use crate::signing_keys::key_set::{INSTALL_KEYS, KeySet, SIGNING_KEYS, TOKEN_KEYS};

#[tokio::test]
async fn tokens_are_issued_while_the_api_server_is_down_and_changes_are_applied_when_it_is_back() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "outage", json!({})).await;
    tenant.create_defaults().await;
    let (blue, green) = (tenant.issue("blue").await, tenant.issue("green").await);
    // A replica that has not heard of it yet could not catch up any more.
    tenant.accepted(&blue).await;
    cluster.controlplane.component("kill", "kube-apiserver");
    // As long as a replica needs to notice, and some time after that.
    for replica in &cluster.replicas {
        eventually(format_args!("{} has noticed", replica.name), async || {
            tenant.accepted_at_once(&blue).await;
            let age = read_model_age(&replica.metrics().await);
            ensure(age > 1.0, age)
        })
        .await;
    }
    for _ in 0..20 {
        tenant.accepted_at_once(&blue).await;
    }
    for replica in &cluster.replicas {
        assert_eq!(replica.probe("livez").await, Ok(StatusCode::OK));
        assert_eq!(replica.probe("readyz").await, Ok(StatusCode::OK), "a replica that serves stays ready");
    }
    cluster.controlplane.component("start", "kube-apiserver");
    tenant.accepted_at_once(&blue).await;
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.wait_rejected(&blue).await;
    tenant.accepted(&green).await;
    let red = tenant.issue("red").await;
    tenant.accepted(&red).await;
}

/// In seconds, by the metric.
fn read_model_age(metrics: &str) -> f64 {
    let age = metrics.lines().find_map(|line| line.strip_prefix("postern_read_model_age_seconds "));
    age.expect("the metric").parse().expect("a number")
}

#[tokio::test]
async fn no_request_is_answered_from_lost_state_after_a_backup_is_restored() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "restored", json!({})).await;
    tenant.create_defaults().await;
    let (blue, green) = (tenant.issue("blue").await, tenant.issue("green").await);
    cluster.controlplane.back_up();
    tenant.accepted(&blue).await;
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.wait_rejected(&blue).await;
    cluster.controlplane.restore();
    let replica = &cluster.replicas[0];
    eventually("it says that it cannot tell", async || {
        let answers = [&blue, &green].map(|credential| credential.ask(&tenant.connections, &replica.url, &[]));
        let answers: Vec<_> = futures::future::try_join_all(answers).await?;
        assert_ne!(answers[0].status, StatusCode::OK, "it has known that the secret is revoked");
        let all = answers.iter().all(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
        ensure(all, format_args!("{answers:?}"))
    })
    .await;
    let restart = async |arguments: &[&str]| {
        replica.process().terminate();
        assert!(replica.process().ended().await.success());
        replica.start_with(&cluster.operator_kubeconfig(&cluster.controlplane.address()), arguments);
        cluster.ready().await;
    };
    restart(&[]).await;
    tenant.accepted(&blue).await;
    tenant.accepted(&green).await;

    // The runbook: what was issued, rotated or revoked since the backup ends.
    let token = tenant.token(&green, 0).await;
    let signing = KeySet::new(&cluster, SIGNING_KEYS).await;
    let (install, tokens) = (KeySet::new(&cluster, INSTALL_KEYS).await, KeySet::new(&cluster, TOKEN_KEYS).await);
    let before = [signing.records().await, install.records().await, tokens.records().await];
    let rotation = json!({"rotation": {"overlap": "1s"}});
    for name in ["blue", "green"] {
        tenant.apply(&client_secret(name, "sync", rotation.clone())).await;
    }
    let import = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    tenant.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
        "stringData": {"password": "a value of some length"},
    })).await;
    tenant.apply(&client_secret("imported", "sync", import)).await;
    tenant.ready("ClientSecret", "imported").await;
    // Both have whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let restored = SystemClock.now().to_string();
    restart(&["--restored-at", &restored]).await;
    let (_, told) = green.introspect(&tenant.connections, &replica.url, &token).await;
    assert_eq!(told["active"], false, "{told}");
    for (name, old) in [("blue", &blue), ("green", &green)] {
        tenant.wait_rejected(old).await;
        let new = eventually("another value is delivered", async || {
            let new = tenant.delivered(name).await;
            ensure(new != *old, "it is the old one").map(|()| new)
        })
        .await;
        tenant.wait_accepted(&new).await;
        let token = tenant.token(&new, 0).await;
        assert_eq!(new.introspect(&tenant.connections, &replica.url, &token).await.1["active"], true);
    }
    for (keys, before) in [&signing, &install, &tokens].into_iter().zip(&before) {
        for algorithm in before.algorithms() {
            let active = before.in_state(algorithm, KeyState::Active).next().expect("an active key");
            keys.next_signs(algorithm, &active.id).await;
        }
    }
    eventually("the imported value is named", async || {
        let notes = install.notes("Restored").await;
        let name = format!("{}/imported", tenant.namespace);
        ensure(notes.iter().any(|note| note.contains(&name) && note.contains("2 generated")), format!("{notes:?}"))
    })
    .await;
    // Everything is newer now.
    let replaced = [tenant.delivered("blue").await, tenant.delivered("green").await];
    restart(&["--restored-at", &restored]).await;
    for (name, credential) in ["blue", "green"].iter().zip(&replaced) {
        tenant.accepted(credential).await;
        assert_eq!(tenant.delivered(name).await, *credential);
    }
}

#[tokio::test]
async fn an_operator_that_starts_before_the_api_server_waits_for_it() {
    let cluster = Cluster::dedicated(1);
    cluster.controlplane.component("stop", "kube-apiserver");
    let replica = &cluster.replicas[0];
    cluster.launch(replica);
    eventually("it lives and is not ready", async || {
        let (live, ready) = (replica.probe("livez").await?, replica.probe("readyz").await?);
        ensure(live == StatusCode::OK && ready == StatusCode::SERVICE_UNAVAILABLE, format_args!("{live} {ready}"))
    })
    .await;
    cluster.controlplane.component("start", "kube-apiserver");
    cluster.ready().await;
    let tenant = TestNamespace::on(cluster.clone(), "early", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    tenant.accepted(&credential).await;
}

#[tokio::test]
async fn a_restart_writes_nothing_and_issued_credentials_still_work() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "restart", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    // Objects that are refused are settled, too.
    tenant.apply(&client_secret("astray", "nowhere", json!({}))).await;
    tenant.wait_not_ready("ClientSecret", "astray", "ApplicationNotFound").await;
    tenant.apply(&application("orphan", "nobody", json!({}))).await;
    tenant.wait_not_ready("Application", "orphan", "ServiceUserNotFound").await;
    // Events are written one after the other, behind the work.
    for (name, reason) in [("blue", "Issued"), ("astray", "ApplicationNotFound"), ("orphan", "ServiceUserNotFound")] {
        tenant.wait_event(name, reason).await;
    }
    tenant.settled().await;
    // Members are counted at leisure.
    eventually("the group counts its member", async || {
        let status = tenant.kubernetes.get("AccessGroup", "", &tenant.unique_name("readers")).await["status"].clone();
        ensure(status["members"] == 1, &status)
    })
    .await;
    let before = cluster.audit.writes().len();
    for replica in &cluster.replicas {
        replica.process().terminate();
        assert!(replica.process().ended().await.success(), "SIGTERM ends with 0");
    }
    cluster.start().await;
    tenant.accepted(&credential).await;
    tenant.settled().await;
    let unexpected: Vec<_> =
        cluster.audit.writes().split_off(before).into_iter().filter(|it| !is_of_a_restart(it)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// What a restart writes in the whole cluster, where nothing is left to do.
fn is_of_a_restart(write: &Entry) -> bool {
    let Entry { resource, name, .. } = write;
    match resource.as_str() {
        // Who leads, and who is there.
        "leases" => true,
        // The state of each replica.
        "replicastates" => name.ends_with("-serves"),
        // What `Tenant::settled` has it do, to see that it is.
        _ => resource == "serviceusers/status" && name.starts_with("marker-"),
    }
}

#[tokio::test]
async fn the_other_controller_takes_over_when_the_leader_is_killed() {
    let cluster = Cluster::split(1, 2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "takeover", json!({})).await;
    tenant.create_defaults().await;
    let leader = cluster.leader().await;
    leader.process().kill();
    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    tenant.ready("ClientSecret", "blue").await;
    let credential = tenant.delivered("blue").await;
    tenant.accepted_at_once(&credential).await;
}

#[tokio::test]
async fn at_sigterm_a_replica_becomes_unready_then_finishes_its_requests_and_exits_with_0() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "sigterm", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let replica = &cluster.replicas[0];
    let process = replica.process();
    process.terminate();
    // As long as it answers, it serves tokens; a replica that answers `ready` after a refused connection would
    // have got the order wrong.
    let mut seen_not_ready = false;
    let status = loop {
        if let Some(status) = process.exit_status() {
            break status;
        }
        if let Ok(ready) = replica.probe("readyz").await {
            seen_not_ready |= ready == StatusCode::SERVICE_UNAVAILABLE;
        }
        if let Ok(answer) = credential.ask(&tenant.connections, &replica.url, &[]).await {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        } else {
            assert!(seen_not_ready || process.exit_status().is_some(), "it stopped serving while it was still ready");
        }
    };
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_request_that_is_slow_to_arrive_is_answered_after_sigterm() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "slow", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let replica = &cluster.replicas[0];
    let (body, form) = http::slow_body();
    let (connections, request) = (tenant.connections.clone(), credential.request(&replica.url, form));
    let answer = tokio::spawn(async move { http::send(&connections, request).await });
    body.send("grant_type=client_").unwrap();
    let process = replica.process();
    process.terminate();
    // The rest is sent only after new connections are refused.
    eventually("it accepts no more connections", async || {
        let refused = credential.ask(&cluster.connections(), &replica.url, &[]).await;
        ensure(refused.is_err(), format_args!("{refused:?}"))
    })
    .await;
    assert!(process.exit_status().is_none(), "it did not wait for the request");
    body.send("credentials").unwrap();
    drop(body);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(process.ended().await.success());
}

#[test]
fn the_chart_gives_requests_in_flight_time_to_finish_before_the_pod_is_killed() {
    let chart = checkout().join("charts/postern");
    let chart = chart.to_str().expect("a path in UTF-8");
    for (seconds, grace) in [("30", "--shutdown-grace=20s"), ("120", "--shutdown-grace=110s")] {
        let value = format!("terminationGracePeriodSeconds={seconds}");
        let arguments =
            ["template", "postern", chart, "--set", "issuer=https://postern.example.com", "--set", value.as_str()];
        let rendered = Cluster::installed().controlplane.run("helm", &arguments);
        assert!(rendered.contains(&format!("terminationGracePeriodSeconds: {seconds}\n")), "{rendered}");
        assert!(rendered.contains(grace), "{rendered}");
    }
}
