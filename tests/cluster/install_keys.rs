//! The install key rotates while clients get tokens: what Postern can verify anew moves to the new key, and the old one
//! stays for what it cannot.

use postern::crypto::install_key::ALGORITHM;
use serde_json::{Value, json};

use crate::harness::{
    Cluster, CrashPoint, Credential, Proxy, TestNamespace, application, client_secret, ensure, eventually,
};
use crate::signing_keys::key_set::{INSTALL_KEYS, KeySet};
use crate::signing_keys::verifier::Verifying;
use crate::signing_keys::{SHORT, kill_leader};

/// A generated value, an imported value, a key pair, and a value whose Secret is removed.
const NAMES: [&str; 4] = ["generated", "imported", "pair", "once"];

/// The runbook for a leaked install key. The leader is killed in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_notices_that_the_install_key_rotates_and_the_old_one_stays_until_nothing_depends_on_it() {
    let cluster = Cluster::split_with(2, 2, &SHORT, &[]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "install-keys", json!({})).await;
    let credentials = issued(&tenant).await;
    let keys = KeySet::new(&cluster, INSTALL_KEYS).await;
    let verifying = Verifying::start(&cluster, &credentials[0]);
    let old = keys.signing(ALGORITHM).await;
    let before = versions(&tenant).await;

    keys.rotate("rotation-0").await;
    keys.reaches("activated", 0).await;
    kill_leader(&cluster).await;
    let new = keys.next_signs(ALGORITHM, &old).await;
    for name in ["generated", "imported", "pair"] {
        follows(&tenant, name, &new).await;
    }
    let after = versions(&tenant).await;
    for ((name, before), after) in NAMES.iter().zip(&before).zip(&after) {
        assert_eq!(
            (&before["id"], &before["createdAt"]),
            (&after["id"], &after["createdAt"]),
            "{name}: another version"
        );
    }
    assert_eq!(after[3], before[3], "a value that is in no Secret cannot move");
    for (name, credential) in NAMES.iter().zip(&credentials) {
        tenant.accepted(credential).await;
        if *name != "once" {
            assert_eq!(tenant.delivered(name).await, *credential, "{name}");
            let status = tenant.get("ClientSecret", name).await["status"].clone();
            assert_eq!(status["losses"], Value::Null, "{status}");
        }
    }
    kill_leader(&cluster).await;

    eventually("what keeps the old key is named", async || {
        let notes = keys.notes("RotationWaiting").await;
        let example = format!("{}/once", tenant.namespace);
        ensure(notes.iter().any(|note| note.contains(&old) && note.contains(&example)), format!("{notes:?}"))
    })
    .await;
    keys.annotate("drop", &new).await;
    keys.reported(&["KeyUnknown"]).await;
    assert_eq!(keys.signing(ALGORITHM).await, new, "the active install key cannot be dropped");
    tenant.accepted(&credentials[3]).await;

    let rotation = json!({"trigger": "leak", "overlap": "1s"});
    let spec = json!({"delivery": {"mode": "Once", "ttl": "1h"}, "rotation": rotation});
    tenant.apply(&client_secret("once", "sync", spec)).await;
    keys.over("rotation-0").await;
    assert!(keys.records().await.keys.iter().all(|key| key.id != old));
    tenant.wait_rejected(&credentials[3]).await;
    tenant.wait_accepted(&tenant.delivered("once").await).await;
    for credential in &credentials[..3] {
        tenant.accepted(credential).await;
    }
    verifying.were_all_right(200).await;
    // The event of a step is lost if the leader is killed right after it.
    keys.reported(&["KeyCreated", "KeyPublished", "KeyReady", "KeyRemoved"]).await;
}

/// Killed after each write: those of the Secret of the keys, of the delivered Secrets, and of status.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_at_every_write_of_a_rotation_of_the_install_key_loses_no_credential() {
    let cluster = Cluster::split_with(2, 1, &SHORT, &[]);
    let proxy = Proxy::before(&cluster).await;
    let controller = &cluster.controllers[0];
    cluster.replicas.iter().for_each(|replica| drop(cluster.launch(replica)));
    cluster.launch_at(controller, &proxy.address);
    cluster.wait_policies_active().await;
    cluster.ready().await;
    let tenant = TestNamespace::on(cluster.clone(), "install-killed", json!({})).await;
    let credentials = issued(&tenant).await;
    tenant.delete("ClientSecret", &tenant.namespace, "once").await;
    let keys = KeySet::new(&cluster, INSTALL_KEYS).await;
    let verifying = Verifying::start(&cluster, &credentials[0]);
    tenant.settled().await;
    let before = versions(&tenant).await;
    proxy.arm(1, CrashPoint::After, controller.process());
    keys.rotate("rotation-0").await;
    let mut killed = 0;
    loop {
        let victim = controller.process();
        tokio::select! {
            _ = victim.ended() => {}
            () = keys.over("rotation-0") => if proxy.disarm() { break },
        }
        killed += 1;
        victim.ended().await;
        let start = proxy.arm_start(1, CrashPoint::After, || cluster.launch_at(controller, &proxy.address));
        drop(start);
        controller.ready().await;
    }
    // Requested, activated, created, published, ready, unused, removed. Other writes may be answered at the same time.
    assert!(killed >= 6, "killed {killed} times only");
    let new = keys.signing(ALGORITHM).await;
    for name in &NAMES[..3] {
        follows(&tenant, name, &new).await;
    }
    for (credential, (before, after)) in credentials.iter().zip(before.iter().zip(&versions(&tenant).await)).take(3) {
        assert_eq!(before["id"], after["id"], "another version");
        tenant.accepted(credential).await;
    }
    verifying.were_all_right(200).await;
}

/// The four credentials. The Secret of the last one is removed.
async fn issued(tenant: &TestNamespace) -> Vec<Credential> {
    tenant.create_defaults().await;
    let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    tenant.apply(&application("sync", "sync", json!({"auth": {"methods": methods}}))).await;
    let legacy = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
        "stringData": {"password": "a value of some length"},
    });
    tenant.apply(&legacy).await;
    let import = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    let once = |ttl: &str| client_secret("once", "sync", json!({"delivery": {"mode": "Once", "ttl": ttl}}));
    let mut credentials = vec![tenant.issue("generated").await];
    tenant.apply(&client_secret("imported", "sync", import)).await;
    tenant.ready("ClientSecret", "imported").await;
    credentials.push(
        eventually("it is delivered", async || {
            let found = tenant.find("Secret", &tenant.namespace, "imported").await.ok_or("no Secret")?;
            Ok(Credential::delivered_in(&found))
        })
        .await,
    );
    credentials.push(tenant.issue_key_pair("pair", json!({})).await);
    tenant.apply(&once("1h")).await;
    tenant.ready("ClientSecret", "once").await;
    credentials.push(tenant.delivered("once").await);
    tenant.apply(&once("1s")).await;
    tenant.wait_condition("ClientSecret", "once", "Delivered", "False", "Removed").await;
    credentials
}

/// The newest version of each.
async fn versions(tenant: &TestNamespace) -> Vec<Value> {
    let mut all = Vec::new();
    for name in NAMES {
        let secret = tenant.find("ClientSecret", &tenant.namespace, name).await.unwrap_or_default();
        all.push(secret["status"]["versions"][0].clone());
    }
    all
}

/// Waits until status and the delivered Secret depend on this install key.
async fn follows(tenant: &TestNamespace, name: &str, key: &str) {
    eventually(format_args!("{name} depends on {key}"), async || {
        let version = tenant.get("ClientSecret", name).await["status"]["versions"][0].clone();
        let verifier = version["verifier"].as_str().and_then(|verifier| verifier.split('.').nth(1));
        let mac = version["mac"].as_str().and_then(|mac| mac.split('.').next());
        let secret = tenant.get("Secret", name).await;
        let delivered = secret["metadata"]["annotations"]["postern.dev/mac"].as_str();
        let delivered = delivered.and_then(|mac| mac.split('.').next());
        ensure(verifier.or(mac) == Some(key) && delivered == Some(key), format_args!("{version} {delivered:?}"))
    })
    .await;
}
