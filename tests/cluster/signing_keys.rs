//! The keys of the operator rotate while tokens are issued and verified, and no client and no API notices.

pub(crate) mod key_set;
mod other_verifiers;
pub(crate) mod verifier;

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern::api::key_records::{KeyRecord, KeyState};
use postern::crypto::opaque::ALGORITHM;
use serde_json::{Value, json};

use crate::harness::{Cluster, CrashPoint, Proxy, Replica, TestNamespace, application, ensure, eventually, http};

use key_set::{KeySet, SIGNING_KEYS, TOKEN_KEYS};
use verifier::Verifying;

/// Short times, so that a key is ready after 14 seconds and removed after less than two minutes.
pub(crate) const SHORT: [&str; 6] = ["--jwks-max-age", "2s", "--token-lifetime-max", "20s", "--staleness-max", "20s"];

/// Two replicas, two controllers, and a client that gets tokens and verifies them all the time.
pub(crate) async fn scene(name: &str) -> (Arc<Cluster>, TestNamespace, KeySet) {
    scene_with(name, &SHORT).await
}

async fn scene_with(name: &str, arguments: &[&str]) -> (Arc<Cluster>, TestNamespace, KeySet) {
    let cluster = Cluster::split_with(2, 2, arguments, &[]);
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
pub(crate) async fn kill_leader(cluster: &Cluster) {
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

/// A replica that cannot read the Secret signs with the old key, and knows no new one. Nothing that depends on it happens.
#[tokio::test(flavor = "multi_thread")]
async fn k3_a_rotation_waits_for_a_replica_that_does_not_follow_and_not_for_one_that_starts_meanwhile() {
    let cluster = Cluster::split_with(3, 1, &SHORT, &[]);
    let proxy = Proxy::before(&cluster).await;
    let [first, behind, late] = &cluster.replicas[..] else { panic!("three replicas") };
    cluster.launch(&cluster.controllers[0]);
    cluster.wait_policies_active().await;
    // Processes of one part share a file with the address of the API server, and read it when they start.
    cluster.launch_at(behind, &proxy.address);
    behind.ready().await;
    cluster.launch(first);
    cluster.launch(late);
    cluster.ready().await;
    late.process().terminate();
    late.process().ended().await;
    let tenant = TestNamespace::on(cluster.clone(), "behind", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let keys = KeySet::new(&cluster, SIGNING_KEYS).await;
    let old = keys.signing("ES256").await;

    proxy.deny(Some("/secrets"));
    let verifying = Verifying::at(&cluster, &[first, behind], &credential);
    keys.rotate("rotation-0").await;
    let new = keys.next_signs("ES256", &old).await;
    cluster.launch(late);
    late.ready().await;
    let signs =
        async |replica: &Replica| verifier::kid_of_a_new_token(&credential, &tenant.connections, &replica.url).await;
    assert_eq!(signs(late).await, Ok(new.clone()), "it starts with the new key");
    let notes = eventually("the rotation says for whom it waits", async || {
        let notes = keys.notes("RotationWaiting").await;
        let all =
            ["does not accept", "does not sign with"].iter().all(|lack| notes.iter().any(|note| note.contains(lack)));
        if all { Ok(notes) } else { Err(format!("{notes:?}")) }
    })
    .await;
    assert!(notes.iter().all(|note| note.contains(&behind.name)), "{notes:?}");
    assert_eq!(signs(behind).await, Ok(old.clone()), "it signs with what it knows");
    let records = keys.records().await;
    let waits = |key: &KeyRecord| match key.state() {
        KeyState::Next => key.published_at.is_none(),
        KeyState::Retiring => key.unused_at.is_none(),
        KeyState::Active => true,
    };
    assert!(records.keys.iter().all(waits) && records.keys.iter().any(|key| key.id == old), "{records:#?}");

    proxy.deny(None);
    keys.settled().await;
    assert_eq!(signs(behind).await, Ok(new));
    eventually("the old key is removed", async || {
        let published = verifier::published(&tenant.connections, &behind.url).await?;
        ensure(!published.contains(&old), format!("{published:?}"))
    })
    .await;
    verifying.were_all_right(100).await;
}

/// Killed after each write of a rotation, and before each but the first after a start.
#[tokio::test(flavor = "multi_thread")]
async fn k3_a_leader_killed_at_every_write_of_a_rotation_neither_skips_nor_repeats_a_step() {
    let cluster = Cluster::split_with(2, 1, &SHORT, &[]);
    let proxy = Proxy::before(&cluster).await;
    let controller = &cluster.controllers[0];
    cluster.replicas.iter().for_each(|replica| drop(cluster.launch(replica)));
    cluster.launch_at(controller, &proxy.address);
    cluster.wait_policies_active().await;
    cluster.ready().await;
    let tenant = TestNamespace::on(cluster.clone(), "killed", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let keys = KeySet::new(&cluster, SIGNING_KEYS).await;
    let verifying = Verifying::start(&cluster, &credential);
    for (number, moment) in [CrashPoint::After, CrashPoint::Before].into_iter().enumerate() {
        tenant.settled().await;
        let before = keys.signing("ES256").await;
        let write = if moment == CrashPoint::After { 1 } else { 2 };
        proxy.arm(write, moment, controller.process());
        let value = format!("rotation-{number}");
        keys.rotate(&value).await;
        let mut killed = 0;
        loop {
            let victim = controller.process();
            tokio::select! {
                _ = victim.ended() => {}
                () = keys.over(&value) => if proxy.disarm() { break },
            }
            killed += 1;
            victim.ended().await;
            let write = proxy.arm_start(write, moment, || cluster.launch_at(controller, &proxy.address));
            drop(write);
            controller.ready().await;
        }
        // Requested; for two algorithms: activated, created, published, unused, ready, removed.
        assert!(killed >= 10, "{moment:?}: killed {killed} times only");
        let records = keys.records().await;
        records.check().unwrap();
        assert_eq!(records.keys.len(), 4, "one active and one next key of each algorithm: {records:#?}");
        assert_ne!(keys.signing("ES256").await, before);
    }
    verifying.were_all_right(200).await;
}

/// Nobody leads: each replica refuses the key by itself.
#[tokio::test(flavor = "multi_thread")]
async fn k4_a_dropped_key_is_refused_everywhere_within_a_second_and_the_next_key_signs() {
    let (cluster, tenant, keys) = scene("dropped").await;
    let credential = tenant.issue("blue").await;
    let url = |number: usize| cluster.replicas[number].url.as_str();
    let (old, next) = (keys.signing("ES256").await, keys.next("ES256").await);
    let known = verifier::published(&tenant.connections, url(0)).await.unwrap();
    assert!(known.contains(&next), "an API that has fetched the keys before knows the next one");
    let token = credential.ask(&tenant.connections, url(0), &[]).await.unwrap().token().to_owned();
    cluster.controllers.iter().for_each(Replica::kill);

    keys.annotate("drop", &old).await;
    let answered = Instant::now();
    for number in [0, 1] {
        eventually("the replica refuses it", async || {
            let (_, told) = credential.introspect(&tenant.connections, url(number), &token).await;
            ensure(told["active"] == false, told)
        })
        .await;
    }
    let took = answered.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    for number in [0, 1] {
        let kid = verifier::kid_of_a_new_token(&credential, &tenant.connections, url(number)).await;
        assert_eq!(kid, Ok(next.clone()), "the next key signs without a pause");
        assert!(!verifier::published(&tenant.connections, url(number)).await.unwrap().contains(&old));
    }

    cluster.controllers.iter().for_each(|controller| drop(cluster.launch(controller)));
    cluster.ready().await;
    keys.reported(&["KeyDropped", "KeyCreated"]).await;
    keys.settled().await;
    let secret = keys.secret().await.to_string();
    assert!(!secret.contains(&format!("{old}.pk8")) && !secret.contains("es256.pk8"), "its private key is gone");
    assert_eq!(keys.signing("ES256").await, next);

    keys.annotate("drop", "no-such-key").await;
    eventually("the known keys are named", async || {
        let notes = keys.notes("KeyUnknown").await;
        ensure(notes.iter().any(|note| note.contains("no-such-key") && note.contains(&next)), format!("{notes:?}"))
    })
    .await;
    assert_eq!(keys.signing("ES256").await, next, "nothing was dropped");
}

/// A drop ends what nobody can verify offline, and touches no key that APIs know.
#[tokio::test(flavor = "multi_thread")]
async fn o1_the_keys_of_opaque_tokens_rotate_and_a_dropped_one_ends_its_tokens_alone() {
    let (cluster, tenant, signing) = scene_with("token-keys", &["--jwks-max-age", "2s"]).await;
    let keys = KeySet::new(&cluster, TOKEN_KEYS).await;
    let credential = tenant.issue("blue").await;
    let jwt = credential.ask(&tenant.connections, cluster.issuer(), &[]).await.unwrap().token().to_owned();
    tenant.apply(&application("sync", "sync", json!({"token": {"format": "Opaque"}}))).await;
    let opaque = async || {
        eventually("a token is opaque", async || {
            let answer = credential.ask(&tenant.connections, cluster.issuer(), &[]).await?;
            let token = answer.body["access_token"].as_str().unwrap_or_default().to_owned();
            if token.starts_with("pat_") { Ok(token) } else { Err(format!("{answer:?}")) }
        })
        .await
    };
    let active = async |token: &str| {
        let mut told = Vec::new();
        for replica in &cluster.replicas {
            told.push(credential.introspect(&tenant.connections, &replica.url, token).await.1["active"] == true);
        }
        told
    };
    let before = opaque().await;
    let (old, published) = (keys.signing(ALGORITHM).await, signing.records().await);
    keys.rotate("rotation-0").await;
    keys.next_signs(ALGORITHM, &old).await;
    keys.settled().await;
    let after = opaque().await;
    assert_eq!([active(&before).await, active(&after).await], [[true, true], [true, true]]);

    let leaked = keys.signing(ALGORITHM).await;
    keys.annotate("drop", &leaked).await;
    eventually("its tokens are inactive", async || {
        let told = active(&after).await;
        ensure(told == [false, false], format!("{told:?}"))
    })
    .await;
    assert_eq!(active(&opaque().await).await, [true, true]);
    assert_eq!(active(&jwt).await, [true, true]);
    assert_eq!(signing.records().await.keys, published.keys, "no signing key was touched");
    keys.reported(&["KeyDropped"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_that_start_at_once_in_an_empty_namespace_have_one_set_of_keys() {
    let cluster = Cluster::dedicated(2);
    cluster.replicas.iter().for_each(|replica| drop(cluster.launch(replica)));
    cluster.wait_policies_active().await;
    cluster.ready().await;
    let mut stored = Vec::new();
    for name in ["postern-install-key", SIGNING_KEYS, TOKEN_KEYS] {
        let keys = KeySet::new(&cluster, name).await;
        stored.push((keys.secret().await, keys));
    }
    let published =
        async |number: usize| verifier::published(&cluster.connections(), &cluster.replicas[number].url).await.unwrap();
    let [first, second] = [published(0).await, published(1).await];
    assert_eq!((first.len(), &first), (4, &second));
    let tenant = TestNamespace::on(cluster.clone(), "at-once", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    for (issuer, other) in [(0, 1), (1, 0)] {
        let [issuer, other] = [issuer, other].map(|number: usize| cluster.replicas[number].url.as_str());
        let answer = credential.ask(&tenant.connections, issuer, &[]).await.unwrap();
        let (_, told) = credential.introspect(&tenant.connections, other, answer.token()).await;
        assert_eq!(told["active"], true, "{told}");
    }
    for (before, keys) in stored {
        assert_eq!(keys.secret().await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    }
}

/// The keys of rare algorithms are created when they are requested, and published before they sign.
#[tokio::test(flavor = "multi_thread")]
async fn k5_a_key_of_another_algorithm_is_created_for_the_first_application_and_published_before_use() {
    let (cluster, tenant, keys) = scene("algorithms").await;
    let credential = tenant.issue("blue").await;
    let offered = async || {
        let url = format!("{}/.well-known/oauth-authorization-server", cluster.issuer());
        let answer = http::get(&tenant.connections, &url).await.unwrap();
        let metadata: Value = serde_json::from_slice(&answer.body).unwrap();
        metadata["id_token_signing_alg_values_supported"].clone()
    };
    assert_eq!(offered().await, json!(["ES256", "RS256"]));
    for algorithm in ["PS256", "EdDSA"] {
        tenant.apply(&application("sync", "sync", json!({"token": {"signingAlgorithm": algorithm}}))).await;
        let message = tenant.wait_not_ready("Application", "sync", "SigningKeyPending").await;
        assert!(message.contains("spec.token.signingAlgorithm") && message.contains(algorithm), "{message}");
        eventually("no other algorithm signs", async || {
            let answer = credential.ask(&tenant.connections, cluster.issuer(), &[]).await?;
            ensure(answer.status == 503 && answer.error() == "temporarily_unavailable", format!("{answer:?}"))
        })
        .await;
        eventually("its key is published before it signs", async || {
            let records = keys.records().await;
            let next = records.in_state(algorithm, KeyState::Next).next().ok_or("there is none yet")?;
            let published = verifier::published(&tenant.connections, cluster.issuer()).await?;
            ensure(published.contains(&next.id), format!("{published:?}"))
        })
        .await;
        tenant.ready("Application", "sync").await;
        for replica in &cluster.replicas {
            let answer = credential.ask(&tenant.connections, &replica.url, &[]).await.unwrap();
            answer.claims().unwrap();
            assert_eq!(verifier::algorithm_of(answer.token()), algorithm);
        }
    }
    assert_eq!(offered().await, json!(["ES256", "RS256", "PS256", "EdDSA"]));
    // Nobody needs them any more: they are kept, and nothing changes back and forth.
    tenant.apply(&application("sync", "sync", json!({}))).await;
    tenant.ready("Application", "sync").await;
    keys.settled().await;
    assert_eq!(keys.records().await.algorithms().len(), 4);
}
