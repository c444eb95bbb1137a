//! The keys of the operator rotate while tokens are issued and verified, and no client and no API notices.

mod key_set;
mod verifier;

use std::sync::Arc;

use serde_json::json;

use crate::harness::{Cluster, TestNamespace, ensure, eventually};

use key_set::{KeySet, SIGNING_KEYS};
use verifier::Verifying;

/// Short times, so that a key is ready after 14 seconds and removed after less than two minutes.
pub(crate) const SHORT: [&str; 6] = ["--jwks-max-age", "2s", "--token-lifetime-max", "20s", "--staleness-max", "20s"];

/// Two replicas, two controllers, and a client that gets tokens and verifies them all the time.
pub(crate) async fn scene(name: &str) -> (Arc<Cluster>, TestNamespace, KeySet) {
    let cluster = Cluster::split_with(2, 2, &SHORT, &[]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), name, json!({})).await;
    tenant.create_defaults().await;
    let keys = KeySet::new(&cluster, SIGNING_KEYS).await;
    (cluster, tenant, keys)
}

/// The leader is killed after each step, so that each step is followed by one of another leader.
#[tokio::test(flavor = "multi_thread")]
async fn k3_no_verifier_notices_three_rotations_whose_leader_is_killed_in_every_state() {
    let (cluster, tenant, keys) = scene("rotations").await;
    let credential = tenant.issue("blue").await;
    let verifying = Verifying::start(&cluster, &credential);
    let first = keys.signing("ES256").await;
    let kills =
        [[Some("requested"), Some("activated")], [Some("created"), Some("published")], [Some("ready"), Some("unused")]];
    for (number, kills) in kills.into_iter().enumerate() {
        let before = keys.signing("ES256").await;
        keys.rotate(&format!("rotation-{number}")).await;
        for state in kills.into_iter().flatten() {
            keys.reaches(state, number).await;
            kill_leader(&cluster).await;
        }
        let now = keys.next_signs("ES256", &before).await;
        let rsa = keys.records().await;
        assert!(rsa.check().is_ok() && now != before);
        // Every replica signs with it.
        eventually("every replica signs with the new key", async || {
            for replica in &cluster.replicas {
                let kid = verifier::kid_of_a_new_token(&credential, &tenant.connections, &replica.url).await?;
                ensure(kid == now, kid)?;
            }
            Ok(())
        })
        .await;
        keys.settled().await;
    }
    eventually("the first key is removed", async || {
        let published = verifier::published(&tenant.connections, &cluster.replicas[1].url).await?;
        ensure(!published.contains(&first), format!("{published:?}"))
    })
    .await;
    verifying.were_all_right(200).await;
    keys.reported(&[
        "RotationRequested",
        "KeyActivated",
        "KeyCreated",
        "KeyPublished",
        "KeyReady",
        "KeyUnused",
        "KeyRemoved",
    ])
    .await;
}

/// Kills the process that has the lease, and starts it again. Another one leads when this returns.
async fn kill_leader(cluster: &Cluster) {
    let leader = cluster.leader().await;
    let killed = leader.name.clone();
    leader.process().kill();
    eventually("another process leads", async || {
        let now = cluster.leader().await.name.clone();
        ensure(now != killed, now)
    })
    .await;
    cluster.launch(leader);
    leader.ready().await;
}
