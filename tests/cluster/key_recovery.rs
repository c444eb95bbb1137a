//! The operator's own keys: missing or damaged they are never made anew, and the runbooks bring everything back.

use std::path::PathBuf;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::crypto::install_key::ALGORITHM;
use postern::crypto::secret::SecretValue;
use serde_json::json;

use crate::harness::{
    Cluster, ControlPlane, Credential, OPERATOR_NAMESPACE, Replica, TestNamespace, application, client_secret, ensure,
    eventually,
};
use crate::signing_keys::key_set::{INSTALL_KEYS, KeySet};

const INSTALL_KEY: &str = "postern-install-key";
const SIGNING_KEYS: &str = "postern-signing-keys";

/// A key that is gone or cut short stops a start, not what runs, until the backup is back.
#[tokio::test]
async fn without_a_usable_key_a_replica_waits_for_the_backup_and_makes_no_other() {
    let (tenant, credential) = settled("keys").await;
    for name in [INSTALL_KEY, SIGNING_KEYS] {
        let backup = Backup::of(&tenant, name);
        tenant.delete("Secret", OPERATOR_NAMESPACE, name).await;
        tenant.accepted(&credential).await;
        waits_for_keys(&tenant, name, "is missing although credentials exist: restore it from a backup").await;
        assert!(tenant.find("Secret", OPERATOR_NAMESPACE, name).await.is_none(), "{name} was made anew");
        backup.restore();
        tenant.cluster.ready().await;
        tenant.accepted(&credential).await;

        let mut data = tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, name).await["data"].take();
        for (_, value) in data.as_object_mut().unwrap() {
            *value = json!("AAAA");
        }
        tenant.kubernetes.merge("Secret", OPERATOR_NAMESPACE, name, json!({"data": data})).await.unwrap();
        tenant.accepted(&credential).await;
        waits_for_keys(&tenant, name, "is damaged").await;
        tenant.delete("Secret", OPERATOR_NAMESPACE, name).await;
        backup.restore();
        tenant.cluster.ready().await;
        tenant.accepted(&credential).await;
    }
}

/// Running processes keep their keys, and write.
#[tokio::test]
async fn a_controller_without_keys_keeps_no_other_from_writing() {
    let cluster = Cluster::split(1, 2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "keyless", json!({})).await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    let holder = async || {
        let lease = tenant.kubernetes.get("Lease", OPERATOR_NAMESPACE, "postern").await;
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let first = holder().await;
    let controller = cluster.controllers.iter().find(|controller| controller.name == first).unwrap();
    tenant.delete("Secret", OPERATOR_NAMESPACE, INSTALL_KEY).await;
    controller.process().terminate();
    controller.process().ended().await;
    cluster.launch(controller);
    tenant.issue("green").await;
    assert_ne!(holder().await, first);
}

/// The runbook for an install key that is lost for good: values that are still in their Secrets are kept, once.
#[tokio::test]
async fn after_the_loss_of_the_install_key_delivered_values_can_be_kept_by_a_flag_for_one_start() {
    let (tenant, credential) = settled("lost").await;
    let replica = &tenant.cluster.replicas[0];
    let kubeconfig = tenant.cluster.operator_kubeconfig(&tenant.cluster.controlplane.address());
    // One that is blocked until its application exists.
    let blocked = tenant.apply(&client_secret("blocked", "later", json!({}))).await;
    tenant.wait_not_ready("ClientSecret", "blocked", "ApplicationNotFound").await;
    stop(replica).await;
    tenant.delete("Secret", OPERATOR_NAMESPACE, INSTALL_KEY).await;
    for secret in tenant.list("ClientSecret", "").await {
        let (namespace, name) = (&secret["metadata"]["namespace"], &secret["metadata"]["name"]);
        let forget = json!({"status": {"versions": null}});
        tenant.merge_status("ClientSecret", namespace.as_str().unwrap(), name.as_str().unwrap(), forget).await.unwrap();
    }
    replica.start_with(&kubeconfig, &["--adopt-unverified-secrets"]);
    tenant.cluster.ready().await;
    tenant.ready("ClientSecret", "blue").await;
    assert_eq!(tenant.delivered("blue").await, credential);
    tenant.wait_accepted(&credential).await;
    eventually("the flag is used up", async || {
        let key = tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, INSTALL_KEY).await;
        ensure(key["metadata"]["annotations"]["postern.dev/recovered-at"].is_string(), &key["metadata"])
    })
    .await;
    let current = KeySet::new(&tenant.cluster, INSTALL_KEYS).await.signing(ALGORITHM).await;
    eventually("the new key proves the value", async || {
        let metadata = tenant.get("Secret", "blue").await["metadata"].clone();
        let mac = metadata["annotations"]["postern.dev/mac"].as_str().unwrap_or_default().to_owned();
        ensure(mac.starts_with(&format!("{current}.")), mac)
    })
    .await;

    // The flag stays on the command line, and what is planted now is not adopted; what was changed while the operator was stopped is repaired.
    stop(replica).await;
    let evil = json!({"stringData": {"token-uri": "https://evil.example.com"}});
    tenant.merge_as("postern", "Secret", &tenant.namespace, "blue", evil).await;
    let (id, value) = SecretValue::generate();
    let mut planted = tenant.get("Secret", "blue").await;
    planted["metadata"] = json!({
        "name": "blocked", "labels": planted["metadata"]["labels"],
        "annotations": planted["metadata"]["annotations"], "ownerReferences": planted["metadata"]["ownerReferences"],
    });
    planted["metadata"]["annotations"]["postern.dev/version"] = json!(id.to_string());
    for (field, own) in [("name", json!("blocked")), ("uid", blocked["metadata"]["uid"].clone())] {
        planted["metadata"]["ownerReferences"][0][field] = own;
    }
    planted["stringData"] = json!({"client-secret": value.expose_secret()});
    tenant.kubernetes.create(&tenant.namespace, &planted).await.unwrap();
    replica.start_with(&kubeconfig, &["--adopt-unverified-secrets"]);
    tenant.cluster.ready().await;
    tenant.apply(&application("later", "sync", json!({}))).await;
    tenant.ready("ClientSecret", "blocked").await;
    let new = tenant.delivered("blocked").await;
    assert_ne!(new.key("client-secret"), value.expose_secret());
    tenant.wait_accepted(&new).await;
    tenant.wait_rejected(&new.with_secret(value.expose_secret())).await;
    eventually("what was changed while the operator was stopped is repaired", async || {
        let now = tenant.delivered("blue").await;
        ensure(now.key("token-uri") == credential.key("token-uri"), "not yet")
    })
    .await;
    tenant.wait_accepted(&credential).await;
    // Without those about the last use, which a replica reports when it stops.
    let of_secrets = async || {
        let writes = tenant.writes().await;
        writes.into_iter().filter(|write| write.contains(" secrets ")).collect::<Vec<_>>()
    };
    let before = of_secrets().await;
    stop(replica).await;
    replica.start(&kubeconfig);
    tenant.cluster.ready().await;
    assert_eq!(of_secrets().await, before, "what is read again and right is not written");
}

/// Another install key came in the place of the right one, for example from the backup of another installation. No value is
/// replaced for that: the right key brings all of them back.
#[tokio::test]
async fn with_a_wrong_install_key_no_value_is_replaced_and_the_right_one_brings_them_back() {
    let (tenant, credential) = settled("wrong-key").await;
    let green = tenant.issue("green").await;
    let backup = Backup::of(&tenant, INSTALL_KEY);
    let right = KeySet::new(&tenant.cluster, INSTALL_KEYS).await.signing(ALGORITHM).await;
    let replica = &tenant.cluster.replicas[0];
    stop(replica).await;
    let wrong = json!({"current": STANDARD.encode("WRONG123"), "WRONG123": STANDARD.encode([7; 32])});
    tenant.delete("Secret", OPERATOR_NAMESPACE, INSTALL_KEY).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": INSTALL_KEY}, "data": wrong});
    tenant.kubernetes.create(OPERATOR_NAMESPACE, &secret).await.unwrap();
    tenant.cluster.launch(replica);
    tenant.cluster.ready().await;
    for name in ["blue", "green"] {
        let message = tenant.wait_not_ready("ClientSecret", name, "InstallKeyMissing").await;
        assert!(message.contains(&right) && message.contains(INSTALL_KEY), "{message}");
    }
    tenant.wait_rejected(&credential).await;
    assert_eq!((tenant.delivered("blue").await, tenant.delivered("green").await), (credential.clone(), green.clone()));
    // A new credential is issued under the key that is there, also in the place of a lost one.
    tenant.accepted(&tenant.issue("new").await).await;
    tenant.apply(&client_secret("green", "sync", json!({"rotation": {"trigger": "lost"}}))).await;
    tenant.ready("ClientSecret", "green").await;
    tenant.accepted(&tenant.delivered("green").await).await;

    // No restart: the Secret is followed.
    tenant.delete("Secret", OPERATOR_NAMESPACE, INSTALL_KEY).await;
    backup.restore();
    tenant.ready("ClientSecret", "blue").await;
    tenant.wait_accepted(&credential).await;
    assert_eq!(tenant.delivered("blue").await, credential);
}

/// A key whose deletion was requested counts as deleted, and says what keeps it.
#[tokio::test]
async fn a_key_that_is_being_deleted_is_not_started_with_and_nothing_that_runs_stops() {
    let (tenant, credential) = settled("held-key").await;
    let backup = Backup::of(&tenant, INSTALL_KEY);
    let finalizers = |held: serde_json::Value| json!({"metadata": {"finalizers": held}});
    for name in [INSTALL_KEY, "postern-tls"] {
        let hold = finalizers(json!(["example.com/hold"]));
        tenant.kubernetes.merge("Secret", OPERATOR_NAMESPACE, name, hold).await.unwrap();
        tenant.delete("Secret", OPERATOR_NAMESPACE, name).await;
    }
    tenant.accepted(&credential).await;
    waits_for_keys(&tenant, INSTALL_KEY, "is being deleted, and its finalizers keep it (example.com/hold)").await;
    eventually("the certificate counts as deleted too", async || {
        let log = std::fs::read_to_string(&tenant.cluster.replicas[0].log).unwrap();
        ensure(log.contains("Secret postern-tls is being deleted"), "the log says nothing")
    })
    .await;
    for name in [INSTALL_KEY, "postern-tls"] {
        tenant.kubernetes.merge("Secret", OPERATOR_NAMESPACE, name, finalizers(json!(null))).await.unwrap();
    }
    waits_for_keys(&tenant, INSTALL_KEY, "is missing although credentials exist").await;
    backup.restore();
    tenant.cluster.ready().await;
}

async fn stop(replica: &Replica) {
    replica.process().terminate();
    replica.process().ended().await;
}

async fn settled(name: &str) -> (TestNamespace, Credential) {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster, name, json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    (tenant, credential)
}

/// A Secret as `docs/operations.md` backs it up and restores it.
struct Backup<'t> {
    controlplane: &'t ControlPlane,
    file: PathBuf,
}

impl<'t> Backup<'t> {
    fn of(tenant: &'t TestNamespace, name: &str) -> Self {
        let controlplane = &tenant.cluster.controlplane;
        let arguments = ["get", "secret", name, "--namespace", OPERATOR_NAMESPACE, "--output", "yaml"];
        let file = controlplane.scratch().join(format!("{name}.yaml"));
        std::fs::write(&file, controlplane.run("kubectl", &arguments)).unwrap();
        Self { controlplane, file }
    }

    fn restore(&self) {
        self.controlplane.run("kubectl", &["apply", "--filename", self.file.to_str().unwrap()]);
    }
}

/// Starts the replica again, which then says what is wrong and is not ready.
async fn waits_for_keys(tenant: &TestNamespace, secret: &str, problem: &str) {
    let replica = &tenant.cluster.replicas[0];
    replica.process().terminate();
    replica.process().ended().await;
    tenant.cluster.launch(replica);
    eventually(format_args!("it says that {secret} {problem}"), async || {
        assert_ne!(replica.probe("readyz").await, Ok(StatusCode::OK), "ready without {secret}");
        let events = tenant.list("Event", OPERATOR_NAMESPACE).await;
        let told = events.iter().any(|event| {
            event["reason"] == "KeyUnusable"
                && event["regarding"]["name"] == secret
                && event["note"].as_str().is_some_and(|note| note.contains(problem))
        });
        ensure(told, format_args!("{events:#?}"))
    })
    .await;
    let ready = eventually("it answers", async || replica.probe("readyz").await).await;
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
}
