//! A certificate of one's own, exchanged while the endpoint serves.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Cluster, Credential, OPERATOR_NAMESPACE, Replica, TestNamespace, ensure, eventually, http};

/// The Secret with the certificate that Postern makes.
const SECRET: &str = "postern-tls";

const DOCUMENTATION: &str = "https://docs.example.com/machines";

#[tokio::test]
async fn exchanged_files_are_served_without_a_restart_and_a_mismatched_pair_is_not() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "tls", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;

    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let [first, second] = [pair(), pair()];
    std::fs::write(&cert, &first.0).unwrap();
    std::fs::write(&key, &first.1).unwrap();
    let log = cluster.controlplane.scratch().join("own-certificate.log");
    let arguments = [("--tls-cert-file", &cert), ("--tls-key-file", &key)];
    let arguments = arguments.map(|(flag, file)| [flag, file.to_str().unwrap()]);
    let arguments = [&arguments.concat()[..], &["--service-documentation", DOCUMENTATION]].concat();
    let replica = Replica::new("own-certificate", Some(cluster.issuer()), log.clone()).with(&arguments);
    cluster.launch(&replica);
    replica.ready().await;
    serves(&credential, &replica, &first.0).await;
    let metadata = format!("{}/.well-known/oauth-authorization-server", replica.url);
    let metadata = http::get(&http::trusting(first.0.as_bytes()), &metadata).await.unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.body).unwrap();
    assert_eq!(metadata["service_documentation"], DOCUMENTATION, "what else was said at its start holds too");

    // Half of an exchange: the key of the first does not belong to the second.
    std::fs::write(&cert, &second.0).unwrap();
    says(&log, "the key does not belong to the certificate").await;
    serves(&credential, &replica, &first.0).await;
    std::fs::write(&key, &second.1).unwrap();
    eventually("the new pair is served", async || ask(&credential, &replica, &second.0).await).await;
    assert!(ask(&credential, &replica, &first.0).await.is_err(), "the old certificate is still served");
}

#[tokio::test]
async fn delivered_secrets_follow_the_file_with_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let cluster = Cluster::dedicated_with(1, &["--ca-file", file.to_str().unwrap()]);
    let [first, second] = [pair().0, pair().0];
    std::fs::write(&file, &first).unwrap();
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "ca-file", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    assert_eq!(credential.key("ca.crt"), first);
    let value = credential.key("client-secret");

    std::fs::write(&file, &second).unwrap();
    let delivers = async |ca: &str| {
        eventually("the Secret has the CA of the file", async || {
            let now = tenant.delivered("blue").await;
            assert_eq!(now.key("client-secret"), value);
            let has = if now.names().contains(&"ca.crt") { now.key("ca.crt") } else { "" };
            ensure(has == ca, has)
        })
        .await;
    };
    delivers(&second).await;
    let events = tenant.list("Event", &tenant.namespace).await;
    assert!(events.iter().all(|event| event["reason"] != "Repaired"), "nobody else changed it: {events:#?}");
}

#[tokio::test]
async fn a_certificate_with_a_wildcard_is_made_once() {
    let cluster = Cluster::dedicated_with(1, &["--tls-san", "*.example.com,api.example.com"]);
    cluster.start().await;
    let kubernetes = cluster.kubernetes().await;
    let made = kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;
    let replica = &cluster.replicas[0];
    replica.process().terminate();
    replica.process().ended().await;
    cluster.start().await;
    let found = kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;
    assert_eq!(found["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn another_name_gets_another_certificate_of_the_same_ca() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "renewed", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let made = tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;

    let log = cluster.controlplane.scratch().join("renamed.log");
    let renamed = Replica::new("renamed", Some(cluster.issuer()), log).with(&["--tls-san", "renamed.example.com"]);
    cluster.launch(&renamed);
    renamed.ready().await;
    let found = tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;
    assert_eq!(found["data"]["ca.crt"], made["data"]["ca.crt"]);
    assert_ne!(found["data"]["tls.crt"], made["data"]["tls.crt"]);
    // Who trusts the CA notices nothing.
    let answer = credential.ask(&tenant.connections, &renamed.url, &[]).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_damaged_generated_certificate_is_named_in_the_log_and_the_replica_waits() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let kubernetes = cluster.kubernetes().await;
    let made = kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;
    let replica = &cluster.replicas[0];
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (entry, text, cause) in [
        ("tls.crt", "nonsense", "no usable `tls.crt`"),
        ("tls.key", other.as_str(), "the key does not belong to the certificate"),
    ] {
        replica.process().terminate();
        replica.process().ended().await;
        let damage = json!({"stringData": {entry: text}});
        kubernetes.merge("Secret", OPERATOR_NAMESPACE, SECRET, damage).await.unwrap();
        let process = cluster.launch(replica);
        says(&replica.log, cause).await;
        let log = std::fs::read_to_string(&replica.log).unwrap();
        let line = log.lines().find(|line| line.contains(cause)).unwrap();
        assert!(line.contains("Secret postern-tls") && line.contains("delete it"), "{line}");
        assert_eq!(process.exit_status(), None, "it waits");
        let backup = json!({"data": {entry: made["data"][entry]}});
        kubernetes.merge("Secret", OPERATOR_NAMESPACE, SECRET, backup).await.unwrap();
        replica.ready().await;
    }

    // A CA that cannot sign any more does not prevent that its certificate is served.
    replica.process().terminate();
    replica.process().ended().await;
    let damage =
        json!({"metadata": {"annotations": {"postern.dev/rotate": "now"}}, "stringData": {"ca.key": other.as_str()}});
    kubernetes.merge("Secret", OPERATOR_NAMESPACE, SECRET, damage).await.unwrap();
    kubernetes.delete("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await;
    cluster.launch(replica);
    says(&replica.log, "the key is not the one of the CA's certificate").await;
    replica.ready().await;
    eventually("its CA is published", async || {
        let found = kubernetes.find("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await;
        ensure(found.is_some(), "it is not")
    })
    .await;
}

/// A certificate of 127.0.0.1 that vouches for itself, and its key, in PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn serves(credential: &Credential, replica: &Replica, certificate: &str) {
    ask(credential, replica, certificate).await.unwrap();
}

/// Asks for a token over a new connection that trusts this certificate only.
async fn ask(credential: &Credential, replica: &Replica, certificate: &str) -> Result<(), String> {
    let answer = credential.ask(&http::trusting(certificate.as_bytes()), &replica.url, &[]).await?;
    answer.claims().map(drop)
}

async fn says(log: &Path, text: &str) {
    eventually(format_args!("the log says: {text}"), async || {
        let log = std::fs::read_to_string(log).unwrap();
        if log.contains(text) { Ok(()) } else { Err(format!("{} bytes of other things", log.len())) }
    })
    .await;
}
