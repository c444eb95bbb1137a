//! Lock-out after wrong secrets: shared by the replicas, reported by the controller, and ended by the owner.

use std::sync::Arc;

use axum::http::StatusCode;
use postern::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::explain::explained;
use crate::harness::http::{self, Connections};
use crate::harness::{
    Cluster, Credential, OPERATOR_NAMESPACE, TestNamespace, application, client_secret, ensure, eventually, object,
};

/// Networks of callers. Each /24 of 127/8 is one source.
const ATTACKER: &str = "127.66.1.1";
const NEIGHBOUR: &str = "127.66.1.200";
const OWNER: &str = "127.77.1.1";

/// A client of a tenant.
struct Scene {
    tenant: TestNamespace,
    credential: Credential,
}

impl Scene {
    async fn new(cluster: Arc<Cluster>, name: &str, lockout: Value) -> Self {
        let tenant = TestNamespace::on(cluster, name, json!({})).await;
        tenant.create_defaults().await;
        tenant.apply(&application("sync", "sync", json!({"lockout": lockout}))).await;
        let credential = tenant.issue("blue").await;
        tenant.settled().await;
        Self { tenant, credential }
    }

    fn from(&self, address: &str) -> Connections {
        http::trusting_from(self.tenant.cluster.ca(), address.parse().expect("an address"))
    }

    /// The status of a request with this secret to one of the replicas.
    async fn ask(&self, replica: usize, address: &str, secret: &str) -> StatusCode {
        let credential = self.credential.with_secret(secret);
        let url = &self.tenant.cluster.replicas[replica].url;
        credential.ask(&self.from(address), url, &[]).await.expect("an answer").status
    }

    /// So many distinct wrong secrets, at the replicas in turn.
    async fn guess(&self, address: &str, values: std::ops::Range<usize>) {
        let replicas = self.tenant.cluster.replicas.len();
        for value in values {
            let status = self.ask(value % replicas, address, &format!("a-wrong-value-of-some-length-{value}")).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    }

    /// Waits until each replica accepts, or refuses, the correct secret from this address.
    async fn wait(&self, address: &str, accepted: bool) {
        let expected = if accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        for replica in 0..self.tenant.cluster.replicas.len() {
            eventually(format_args!("replica {replica} answers {expected} for {address}"), async || {
                let status = self.ask(replica, address, self.credential.key("client-secret")).await;
                ensure(status == expected, status)
            })
            .await;
        }
    }

    async fn unlock(&self, value: &str) {
        let patch = json!({"metadata": {"annotations": {"postern.dev/unlock": value}}});
        let kubernetes = &self.tenant.kubernetes;
        kubernetes.merge("Application", &self.tenant.namespace, "sync", patch).await.expect("the annotation");
    }

    async fn locked(&self) -> Value {
        self.tenant.wait_condition("Application", "sync", "Locked", "True", "WrongSecrets").await;
        self.tenant.get("Application", "sync").await["status"].take()
    }
}

#[tokio::test]
async fn q1_wrong_secrets_at_two_replicas_lock_the_source_until_the_owner_unlocks() {
    let scene = Scene::new(Cluster::shared(), "lockout", json!({})).await;
    scene.guess(ATTACKER, 0..5).await;
    scene.wait(NEIGHBOUR, false).await;
    scene.wait(OWNER, true).await;

    let status = scene.locked().await;
    assert_eq!(status["lockedSources"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["lockedSources"][0]["network"], "127.66.1.0/24");
    assert_eq!(status["lockedSources"][0]["until"], status["lockedUntil"]);
    let event = scene.tenant.wait_event("sync", "ClientLocked").await;
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].as_str().unwrap().contains("127.66.1.0/24"), "{event}");
    let name = format!("{}/sync", scene.tenant.namespace);
    let told = explained(&scene.tenant, &["client", &name]);
    assert!(told.contains("locked for 127.66.1.0/24 until "), "{told}");
    let get = ["get", "application", "sync", "--namespace", &scene.tenant.namespace];
    let table = scene.tenant.cluster.controlplane.run("kubectl", &get);
    assert!(table.lines().next().unwrap().contains("LOCKED") && table.contains("True"), "{table}");

    // Disabled does not unlock.
    scene.tenant.apply(&application("sync", "sync", json!({"lockout": {"mode": "Disabled"}}))).await;
    scene.tenant.settled().await;
    scene.wait(NEIGHBOUR, false).await;
    scene.tenant.apply(&application("sync", "sync", json!({}))).await;
    scene.unlock("by hand").await;
    scene.wait(NEIGHBOUR, true).await;
    scene.tenant.wait_condition("Application", "sync", "Locked", "False", "NotLocked").await;
    scene.tenant.wait_event("sync", "ClientUnlocked").await;
    let status = scene.tenant.get("Application", "sync").await["status"].take();
    assert_eq!((&status["lockedUntil"], &status["lockedSources"]), (&Value::Null, &Value::Null));

    // It counts anew.
    scene.guess(ATTACKER, 10..14).await;
    scene.wait(NEIGHBOUR, true).await;
    scene.guess(ATTACKER, 14..15).await;
    scene.wait(NEIGHBOUR, false).await;
}

#[tokio::test]
async fn q1_the_scope_client_locks_all_callers() {
    let scene = Scene::new(Cluster::shared(), "lockout-client", json!({"scope": "Client", "attempts": 3})).await;
    for (number, address) in [ATTACKER, "127.66.2.1", "127.66.3.1"].into_iter().enumerate() {
        scene.guess(address, number..number + 1).await;
    }
    scene.wait(OWNER, false).await;
    let status = scene.locked().await;
    assert!(status["lockedUntil"].is_string() && status["lockedSources"].is_null(), "{status}");
    // Who may write the Application may unlock it; a token that was issued before stays valid.
    scene.unlock("1").await;
    scene.wait(OWNER, true).await;
}

/// The replicas that counted end at once, and the ones that follow know the lock before they serve.
#[tokio::test]
async fn q1_a_lock_survives_the_restart_of_one_and_of_all_replicas() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let scene = Scene::new(cluster.clone(), "lockout-restart", json!({})).await;
    scene.guess(ATTACKER, 0..5).await;
    scene.wait(ATTACKER, false).await;
    scene.locked().await;
    cluster.replicas[0].kill();
    cluster.launch(&cluster.replicas[0]);
    cluster.ready().await;
    assert_eq!(scene.ask(0, ATTACKER, scene.credential.key("client-secret")).await, StatusCode::UNAUTHORIZED);
    cluster.replicas.iter().for_each(crate::harness::Replica::kill);
    cluster.replicas.iter().for_each(|replica| drop(cluster.launch(replica)));
    cluster.ready().await;
    for replica in 0..2 {
        assert_eq!(scene.ask(replica, ATTACKER, scene.credential.key("client-secret")).await, StatusCode::UNAUTHORIZED);
        assert_eq!(scene.ask(replica, OWNER, scene.credential.key("client-secret")).await, StatusCode::OK);
    }
    scene.unlock("1").await;
    scene.wait(ATTACKER, true).await;
}

/// A lock as a replica publishes it ends by itself, in the replicas and in status.
#[tokio::test]
async fn q1_a_lock_ends_by_itself() {
    let scene = Scene::new(Cluster::shared(), "lockout-end", json!({})).await;
    let uid = scene.tenant.get("Application", "sync").await["metadata"]["uid"].take();
    let now = SystemClock.now();
    let until = now + jiff::SignedDuration::from_secs(6);
    let lock = json!({
        "namespace": scene.tenant.namespace, "name": "sync", "uid": uid, "network": "127.66.1.0/24",
        "at": now.to_string(), "until": until.to_string(),
    });
    let name = scene.tenant.unique_name("lock");
    let state = object("ReplicaState", &name, json!({"replica": name, "reportedAt": now.to_string(), "locks": [lock]}));
    scene.tenant.kubernetes.create(OPERATOR_NAMESPACE, &state).await.expect("the report of a replica");
    scene.wait(ATTACKER, false).await;
    scene.locked().await;
    scene.wait(ATTACKER, true).await;
    scene.tenant.wait_condition("Application", "sync", "Locked", "False", "NotLocked").await;
    scene.tenant.wait_event("sync", "ClientUnlocked").await;
    scene.tenant.kubernetes.delete("ReplicaState", OPERATOR_NAMESPACE, &name).await;
}

/// Five wrong values for each of a hundred clients, of ten tenants' size, from one address.
#[tokio::test]
async fn q1_a_hundred_clients_are_attacked_at_once() {
    let scene = Scene::new(Cluster::shared(), "lockout-hundred", json!({})).await;
    let names: Vec<String> = (0..100).map(|number| format!("client-{number}")).collect();
    for name in &names {
        scene.tenant.apply(&application(name, "sync", json!({}))).await;
        scene.tenant.apply(&client_secret(name, name, json!({}))).await;
    }
    let mut clients = Vec::new();
    for name in &names {
        scene.tenant.ready("ClientSecret", name).await;
        clients.push(scene.tenant.delivered(name).await);
    }
    let attacker = scene.from(ATTACKER);
    let replicas = &scene.tenant.cluster.replicas;
    for client in &clients {
        let wrong: Vec<Credential> =
            (0..5).map(|value| client.with_secret(&format!("pst_a-wrong-value-of-some-length-{value}"))).collect();
        let asked =
            wrong.iter().enumerate().map(|(number, wrong)| wrong.ask(&attacker, &replicas[number % 2].url, &[]));
        for answer in futures::future::join_all(asked).await {
            assert_eq!(answer.expect("an answer").status, StatusCode::UNAUTHORIZED);
        }
    }
    for client in &clients {
        let owner = client.ask(&scene.from(OWNER), &replicas[0].url, &[]).await.expect("an answer");
        assert_eq!(owner.status, StatusCode::OK, "its owner");
        eventually("the attacker is refused", async || {
            let status = client.ask(&attacker, &replicas[1].url, &[]).await?.status;
            ensure(status == StatusCode::UNAUTHORIZED, status)
        })
        .await;
    }
    for name in &names {
        scene.tenant.wait_condition("Application", name, "Locked", "True", "WrongSecrets").await;
    }
}
