//! Killed between any two writes of its first start, the operator has one set of keys at the end, and works.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Cluster, CrashPoint, OPERATOR_NAMESPACE, Process, Proxy, TestNamespace, eventually};

/// Install key, signing keys, token keys, certificate, and its CA for clients.
const MADE: [(&str, &str); 5] = [
    ("Secret", "postern-install-key"),
    ("Secret", "postern-signing-keys"),
    ("Secret", "postern-token-keys"),
    ("Secret", "postern-tls"),
    ("ConfigMap", "postern-ca"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_at_any_write_of_its_first_start_restarts_with_its_keys_and_issues() {
    let cluster = Cluster::dedicated(1);
    let proxy = Proxy::before(&cluster).await;
    cluster.wait_policies_active().await;
    for moment in [CrashPoint::Before, CrashPoint::After] {
        for write in 1..=MADE.len() {
            let killed = start_to_die(&cluster, &proxy, write, moment);
            killed.ended().await;
            let made = made(&cluster).await;
            // Keys and certificate are made side by side: which of them is missing differs.
            let whole = made.iter().all(Option::is_some);
            assert!(!whole || moment == CrashPoint::After, "it did not die before write {write}");

            start(&cluster, &proxy);
            issues(&cluster).await;
            is_kept(&cluster, &made).await;
            is_new_again(&cluster).await;
        }
    }
    // No write is left to die at before it is ready: the enumeration was whole.
    let spared = start_to_die(&cluster, &proxy, MADE.len() + 1, CrashPoint::Before);
    cluster.ready().await;
    assert!(spared.exit_status().is_none() && proxy.disarm(), "it writes more than {MADE:?}");
}

fn start(cluster: &Cluster, proxy: &Proxy) -> Arc<Process> {
    cluster.launch_at(&cluster.replicas[0], &proxy.address)
}

fn start_to_die(cluster: &Cluster, proxy: &Proxy, write: usize, moment: CrashPoint) -> Arc<Process> {
    proxy.arm_start(write, moment, || start(cluster, proxy))
}

/// The data of what the operator made for itself.
async fn made(cluster: &Cluster) -> Vec<Option<Value>> {
    let kubernetes = cluster.kubernetes().await;
    let mut made = Vec::new();
    for (kind, name) in MADE {
        made.push(kubernetes.find(kind, OPERATOR_NAMESPACE, name).await.map(|found| found["data"].clone()));
    }
    made
}

/// From YAML to a token.
async fn issues(cluster: &Arc<Cluster>) {
    cluster.replicas[0].ready().await;
    let tenant = TestNamespace::on(cluster.clone(), "first", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let ca = made(cluster).await[4].as_ref().unwrap()["ca.crt"].as_str().unwrap().to_owned();
    let connections = crate::harness::http::trusting(ca.as_bytes());
    let answer = credential.ask(&connections, cluster.issuer(), &[]).await.unwrap();
    answer.claims().unwrap_or_else(|refusal| panic!("refused: {refusal}"));
    tenant.delete("ClientSecret", &tenant.namespace, "blue").await;
}

/// What was made before the end is what the next start works with, and nothing was added to it.
async fn is_kept(cluster: &Cluster, before: &[Option<Value>]) {
    let now = made(cluster).await;
    for (before, now) in before.iter().zip(&now) {
        assert!(before.is_none() || before == now, "made twice");
    }
    let install_keys = now[0].as_ref().unwrap().as_object().unwrap();
    assert_eq!(install_keys.len(), 3, "an active and a next key, and their records");
}

/// An install that has never been started: no key, and no credential that would need one.
async fn is_new_again(cluster: &Cluster) {
    let process = cluster.replicas[0].process();
    process.kill();
    let kubernetes = cluster.kubernetes().await;
    for (kind, name) in MADE {
        kubernetes.delete(kind, OPERATOR_NAMESPACE, name).await;
    }
    eventually("no credential is left", async || match kubernetes.list("ClientSecret", "").await.len() {
        0 => Ok(()),
        left => Err(format!("{left} are")),
    })
    .await;
}
