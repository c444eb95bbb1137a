//! Credentials that do not exist.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use postern::crypto::secret::SecretValue;
use serde_json::json;

use crate::harness::{Cluster, Credential, TestNamespace, ensure, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_reads_for_a_client_do_not_reveal_whether_it_exists() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "unknown", json!({})).await;
    tenant.create_defaults().await;
    let known = tenant.issue("blue").await;
    tenant.settled().await;
    let mut reads = Vec::new();
    for client_id in [known.key("client-id"), "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", "billing~1", "..", "sync"] {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        let value = SecretValue::generate().1;
        let data = json!({"client-id": encode(client_id), "client-secret": encode(value.expose_secret())});
        let stranger = Credential::delivered_in(&json!({"data": data}));
        let before = lists(&cluster).len();
        let answer = stranger.ask(&tenant.connections, &cluster.replicas[0].url, &[]).await.unwrap();
        assert_eq!(answer.status, 401);
        let read = eventually("all reads are in the log", async || {
            let mut read = lists(&cluster).split_off(before);
            read.sort();
            ensure(read.len() >= 5, format_args!("{read:?}")).map(|()| read)
        })
        .await;
        reads.push(read);
    }
    assert!(reads.iter().all(|read| *read == reads[0]), "{reads:?}");
}

/// What the operator has listed.
fn lists(cluster: &Cluster) -> Vec<String> {
    let all = cluster.audit.of_the_operator();
    all.into_iter().filter(|entry| entry.verb == "list").map(|entry| entry.resource).collect()
}
