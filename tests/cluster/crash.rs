//! Killed between any two writes, the operator ends in the same state, and then is quiet.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Cluster, Credential, Moment, Proxy, Tenant, client_secret};

/// More writes than any step takes; the enumeration ends earlier, when no write is left to die at.
const WRITES_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_of_a_new_client_secret_it_ends_with_one_secret_and_one_active_version() {
    let scene = Scene::set().await;
    scene
        .enumerate(async |tenant: &Tenant, name: &str| {
            tenant.apply(&client_secret(name, "sync", json!({}))).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_of_a_healing_it_ends_with_a_new_value_and_the_old_one_refused() {
    let scene = Scene::set().await;
    for (number, moment) in [Moment::Before, Moment::After].into_iter().enumerate() {
        for write in 1..=WRITES_MAX {
            let name = format!("heal-{number}-{write}");
            let old = scene.tenant.issue(&name).await;
            scene.tenant.settled().await;
            let killed = scene
                .attempt(
                    write,
                    moment,
                    async || scene.tenant.delete("Secret", &scene.tenant.namespace, &name).await,
                    &name,
                )
                .await;
            scene.tenant.turned_away(&old).await;
            scene.is_sound(&name).await;
            if !killed {
                assert!(write > 2, "healing takes at least two writes");
                break;
            }
        }
    }
}

/// One replica behind a proxy that can kill it, and a tenant that has settled in.
struct Scene {
    cluster: Arc<Cluster>,
    proxy: Proxy,
    tenant: Tenant,
}

impl Scene {
    async fn set() -> Self {
        let cluster = Cluster::own(1);
        let proxy = Proxy::before(&cluster).await;
        cluster.replicas[0].start(&cluster.operator_kubeconfig(&proxy.address));
        cluster.ready().await;
        let tenant = Tenant::on(cluster.clone(), "crash", json!({})).await;
        tenant.settle_in().await;
        tenant.settled().await;
        Self { cluster, proxy, tenant }
    }

    /// Does the same again and again, and dies at the first write, the second, and so on, until none is left.
    async fn enumerate(&self, step: impl AsyncFn(&Tenant, &str)) {
        for (number, moment) in [Moment::Before, Moment::After].into_iter().enumerate() {
            for write in 1..=WRITES_MAX {
                let name = format!("new-{number}-{write}");
                let killed = self.attempt(write, moment, async || step(&self.tenant, &name).await, &name).await;
                self.is_sound(&name).await;
                if !killed {
                    assert!(write > 2, "a new ClientSecret takes at least two writes");
                    break;
                }
            }
        }
    }

    /// Does `step` with an operator that dies at the `write`th write, and starts it again. Whether it died.
    async fn attempt(&self, write: usize, moment: Moment, step: impl AsyncFnOnce(), name: &str) -> bool {
        let replica = &self.cluster.replicas[0];
        let victim = replica.process();
        self.proxy.arm(write, moment, victim.clone());
        step().await;
        // Settled, or dead: a settled ClientSecret has been written about for the last time.
        let killed = tokio::select! {
            _ = victim.ended() => true,
            () = self.quiet(name) => !self.proxy.disarm(),
        };
        if killed {
            victim.ended().await;
            replica.start(&self.cluster.operator_kubeconfig(&self.proxy.address));
            replica.ready().await;
        }
        killed
    }

    async fn quiet(&self, name: &str) {
        self.tenant.ready("ClientSecret", name).await;
        self.tenant.settled().await;
        self.tenant.ready("ClientSecret", name).await;
    }

    /// One Secret, one Active version, the value works, and nothing more is written.
    async fn is_sound(&self, name: &str) {
        self.quiet(name).await;
        let credential = self.tenant.delivered(name).await;
        self.tenant.accepted(&credential).await;
        let status = self.tenant.get("ClientSecret", name).await["status"].clone();
        let versions = status["versions"].as_array().expect("versions");
        let active: Vec<&Value> = versions.iter().filter(|version| version["state"] == "Active").collect();
        assert_eq!(active.len(), 1, "{name}: {versions:?}");
        assert!(value_of(&credential).contains(active[0]["id"].as_str().expect("an id")), "{name}: {versions:?}");
        let before = self.tenant.writes().await;
        assert_eq!(self.tenant.writes().await, before, "{name}: it goes on writing");
    }
}

fn value_of(credential: &Credential) -> &str {
    credential.key("client-secret")
}
