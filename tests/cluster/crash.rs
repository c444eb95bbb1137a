//! Killed between any two writes, the operator ends in the same state, and then is quiet.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Cluster, CrashPoint, Credential, Proxy, TestNamespace, client_secret, ensure, eventually};

/// More writes than any step takes; the enumeration ends earlier, when no write is left to die at.
const WRITES_MAX: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_new_client_secret_leaves_one_secret_and_one_active_version() {
    let scene = Scene::set("new").await;
    let nothing = async |_: &str| ();
    let create = async |name: &str, (): &()| scene.apply(name, json!({})).await;
    scene.at_each_write(2, nothing, create, async |name, ()| scene.is_sound(name).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_recreation_leaves_a_new_value_and_the_old_one_refused() {
    let scene = Scene::set("healing").await;
    let issue = async |name: &str| scene.tenant.issue(name).await;
    let delete = async |name: &str, _: &Credential| {
        scene.tenant.delete("Secret", &scene.tenant.namespace, name).await;
    };
    let healed = async |name: &str, old: Credential| {
        scene.tenant.wait_rejected(&old).await;
        scene.is_sound(name).await;
    };
    scene.at_each_write(3, issue, delete, healed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_rotation_leaves_one_new_value_and_the_old_one_refused() {
    let scene = Scene::set("rotation").await;
    let spec = |trigger: &str| json!({"rotation": {"trigger": trigger, "overlap": "2s"}});
    let issue = async |name: &str| {
        scene.apply(name, spec("a")).await;
        scene.tenant.ready("ClientSecret", name).await;
        scene.tenant.delivered(name).await
    };
    let rotate = async |name: &str, _: &Credential| scene.apply(name, spec("b")).await;
    let rotated = async |name: &str, old: Credential| {
        eventually("the rotation is over", async || {
            let status = scene.tenant.get("ClientSecret", name).await["status"].clone();
            ensure(status["observedTrigger"] == "b" && status["rotation"].is_null(), &status)
        })
        .await;
        scene.is_sound(name).await;
        scene.tenant.wait_rejected(&old).await;
    };
    scene.at_each_write(4, issue, rotate, rotated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_new_key_pair_leaves_one_secret_and_one_active_version() {
    let scene = Scene::set("new-key").await;
    scene.tenant.allow_key_pairs().await;
    let nothing = async |_: &str| ();
    let create = async |name: &str, (): &()| scene.apply(name, json!({"type": "PrivateKey"})).await;
    scene.at_each_write(2, nothing, create, async |name, ()| scene.is_sound(name).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_the_recreation_of_an_rsa_key_pair_leaves_a_new_one_and_the_old_one_refused() {
    let scene = Scene::set("lost-key").await;
    scene.tenant.allow_key_pairs().await;
    let issue = async |name: &str| scene.tenant.issue_key_pair(name, json!({"algorithm": "RS256"})).await;
    let delete = async |name: &str, _: &Credential| {
        scene.tenant.delete("Secret", &scene.tenant.namespace, name).await;
    };
    let healed = async |name: &str, old: Credential| {
        scene.tenant.wait_rejected(&old).await;
        scene.is_sound(name).await;
    };
    scene.at_each_write(3, issue, delete, healed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_an_import_leaves_the_imported_value_delivered() {
    let scene = Scene::set("import").await;
    let value = |name: &str| format!("a long enough value of {name}");
    let put = async |name: &str| {
        let legacy = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("{name}-legacy"), "labels": {"postern.dev/import": "true"}},
            "stringData": {"k": value(name)},
        });
        scene.tenant.apply(&legacy).await;
    };
    let import = async |name: &str, (): &()| {
        let existing = json!({"secretName": format!("{name}-legacy"), "key": "k"});
        scene.apply(name, json!({"source": {"existing": existing}})).await;
    };
    let imported = async |name: &str, ()| {
        eventually("it is delivered", async || {
            let found = scene.tenant.find("Secret", &scene.tenant.namespace, name).await.ok_or("no Secret")?;
            ensure(Credential::delivered_in(&found).key("client-secret") == value(name), &found["metadata"])
        })
        .await;
        scene.is_quiet(name).await;
        scene.tenant.accepted(&scene.tenant.delivered(name).await).await;
        let versions = scene.tenant.get("ClientSecret", name).await["status"]["versions"].clone();
        assert_eq!(versions.as_array().map(Vec::len), Some(1), "{versions:#}");
    };
    scene.at_each_write(2, put, import, imported).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_removal_leaves_the_credential_valid_without_its_secret() {
    let scene = Scene::set("removal").await;
    let spec = |ttl: &str| json!({"delivery": {"mode": "Once", "ttl": ttl}});
    let issue = async |name: &str| {
        scene.apply(name, spec("1h")).await;
        scene.tenant.ready("ClientSecret", name).await;
        scene.tenant.delivered(name).await
    };
    // The time has passed at once.
    let remove = async |name: &str, _: &Credential| {
        scene.apply(name, spec("1s")).await;
        let gone = async || {
            let found = scene.tenant.find("Secret", &scene.tenant.namespace, name).await;
            ensure(found.is_none() || scene.cluster.controllers[0].process().exit_status().is_some(), "it is there")
        };
        eventually("the Secret is removed, or the operator dies", gone).await;
    };
    let removed = async |name: &str, credential: Credential| {
        scene.tenant.wait_condition("ClientSecret", name, "Delivered", "False", "Removed").await;
        scene.is_quiet(name).await;
        scene.tenant.accepted(&credential).await;
    };
    scene.at_each_write(3, issue, remove, removed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_revocation_leaves_the_credential_refused() {
    let scene = Scene::set("revocation").await;
    let issue = async |name: &str| scene.tenant.issue(name).await;
    let revoke = async |name: &str, _: &Credential| scene.apply(name, json!({"revoke": true})).await;
    let revoked = async |name: &str, credential: Credential| {
        scene.tenant.wait_rejected(&credential).await;
        scene.tenant.switched_off("ClientSecret", name, "Revoked", "Revoked").await;
    };
    scene.at_each_write(1, issue, revoke, revoked).await;
}

/// A controller behind a proxy that can kill it, a replica that serves, and a tenant that has settled in.
struct Scene {
    cluster: Arc<Cluster>,
    proxy: Proxy,
    tenant: TestNamespace,
}

impl Scene {
    async fn set(name: &str) -> Self {
        let cluster = Cluster::split(1, 1);
        let proxy = Proxy::before(&cluster).await;
        cluster.launch(&cluster.replicas[0]);
        cluster.launch_at(&cluster.controllers[0], &proxy.address);
        cluster.ready().await;
        let tenant = TestNamespace::on(cluster.clone(), name, json!({})).await;
        tenant.create_defaults().await;
        tenant.settled().await;
        Self { cluster, proxy, tenant }
    }

    async fn apply(&self, name: &str, spec: Value) {
        self.tenant.apply(&client_secret(name, "sync", spec)).await;
    }

    /// Does the same again and again, and dies at the first write, the second, and so on, until none is left. `least` is
    /// how many writes the step takes at least: a step that takes none would show nothing.
    async fn at_each_write<T>(
        &self,
        least: usize,
        prepare: impl AsyncFn(&str) -> T,
        step: impl AsyncFn(&str, &T),
        sound: impl AsyncFn(&str, T),
    ) {
        for (number, moment) in [CrashPoint::Before, CrashPoint::After].into_iter().enumerate() {
            for write in 1.. {
                assert!(write <= WRITES_MAX, "it goes on writing");
                let name = format!("s-{number}-{write}");
                let prepared = prepare(&name).await;
                self.tenant.settled().await;
                let killed = self.attempt(write, moment, async || step(&name, &prepared).await).await;
                sound(&name, prepared).await;
                if !killed {
                    assert!(write > least, "it took {} writes, not at least {least}", write - 1);
                    break;
                }
            }
        }
    }

    /// Does `step` with an operator that dies at the `write`th write, and starts it again. Whether it died.
    async fn attempt(&self, write: usize, moment: CrashPoint, step: impl AsyncFnOnce()) -> bool {
        let controller = &self.cluster.controllers[0];
        let victim = controller.process();
        self.proxy.arm(write, moment, victim.clone());
        step().await;
        // Settled, or dead: what is settled has been written about for the last time.
        let killed = tokio::select! {
            _ = victim.ended() => true,
            () = self.settled_twice() => !self.proxy.disarm(),
        };
        if killed {
            victim.ended().await;
            self.cluster.launch_at(controller, &self.proxy.address);
            controller.ready().await;
        }
        killed
    }

    /// What is due within seconds has had the time to come due.
    async fn settled_twice(&self) {
        self.tenant.settled().await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        self.tenant.settled().await;
    }

    /// One Secret, one Active version, the value works, and nothing more is written.
    async fn is_sound(&self, name: &str) {
        self.is_quiet(name).await;
        let credential = self.tenant.delivered(name).await;
        self.tenant.accepted(&credential).await;
        let status = self.tenant.get("ClientSecret", name).await["status"].clone();
        let versions = status["versions"].as_array().expect("versions");
        let active: Vec<&Value> = versions.iter().filter(|version| version["state"] == "Active").collect();
        assert_eq!(active.len(), 1, "{name}: {versions:?}");
        let value = credential.version();
        assert!(value.contains(active[0]["id"].as_str().expect("an id")), "{name}: {versions:?}");
    }

    async fn is_quiet(&self, name: &str) {
        self.tenant.ready("ClientSecret", name).await;
        self.tenant.settled().await;
        let before = self.tenant.writes().await;
        assert_eq!(self.tenant.writes().await, before, "{name}: it goes on writing");
    }
}
