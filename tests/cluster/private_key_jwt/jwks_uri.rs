//! Clients that publish their keys at a URL (`spec.auth.jwksUri`), with a key server that the operator allows.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

mod issuers;

use super::{Client, key_pair};
use crate::harness::{Cluster, TestNamespace, application, ensure, eventually};
use crate::interop_clients::{command, installed};

/// A server of key sets.
struct KeyServer {
    address: SocketAddr,
    /// The CA of its certificate (PEM).
    ca: String,
    /// The document; `None`: the server is down.
    keys: Arc<Mutex<Option<Value>>>,
}

impl KeyServer {
    async fn start() -> Self {
        let (ca, config) = certificate();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let keys = Arc::<Mutex<Option<Value>>>::default();
        let served = Arc::clone(&keys);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(keys) = served.lock().expect("the keys").clone() else { continue };
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let _request = stream.read(&mut [0; 4096]).await?;
                    let body = keys.to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await?;
                    stream.shutdown().await
                });
            }
        });
        Self { address, ca, keys }
    }

    /// Publishes keys, also as those of its issuer: the server has one response for every path.
    fn publish(&self, keys: &[&Value]) {
        self.publish_as(&self.issuer(), keys);
    }

    fn publish_as(&self, issuer: &str, keys: &[&Value]) {
        let document = json!({"issuer": issuer, "jwks_uri": self.url(), "keys": keys});
        *self.keys.lock().expect("the keys") = Some(document);
    }

    fn stop(&self) {
        *self.keys.lock().expect("the keys") = None;
    }

    fn issuer(&self) -> String {
        format!("https://{}", self.address)
    }

    fn url(&self) -> String {
        format!("https://{}/jwks.json", self.address)
    }
}

fn certificate() -> (String, Arc<ServerConfig>) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&ca_key).expect("a CA").pem();
    let key = KeyPair::generate().expect("a key");
    let names = CertificateParams::new([Ipv4Addr::LOCALHOST.to_string()]).expect("a name");
    let leaf = names.signed_by(&key, &Issuer::new(authority, ca_key)).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS versions").with_no_client_auth();
    (ca, Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).expect("a pair")))
}

#[tokio::test]
async fn a9_clients_authenticate_with_keys_at_a_url_whose_server_may_be_down_at_the_start() {
    let server = KeyServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.crt");
    std::fs::write(&ca_file, &server.ca).expect("the CA");
    let host = server.address.to_string();
    let hosts = format!("--outbound-hosts={host}");
    let ca_file = format!("--outbound-ca-file={}", ca_file.display());
    let cluster = Cluster::dedicated_with(1, &[&hosts, &ca_file, "--outbound-private-networks=127.0.0.0/8"]);
    cluster.start().await;
    let mut client = Client::of(TestNamespace::on(cluster.clone(), "jwks-uri", json!({})).await).await;

    apply(&client, &server.url()).await;
    let message = client.tenant.wait_not_ready("Application", "sync", "KeySetUnavailable").await;
    let expected =
        format!("spec.auth.jwksUri: no keys from {host}: no connection with a trusted certificate of the host.");
    assert!(message.starts_with(&expected) && message.contains("Assertions of the client are refused"), "{message}");
    let replica = client.tenant.cluster.replicas[0].url.clone();
    eventually("the replica does not refuse keys that it has not seen", async || {
        let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
        ensure(status == 503, answer)
    })
    .await;

    server.publish(&[&client.jwk]);
    client.tenant.ready("Application", "sync").await;
    client.tenant.wait_condition("Application", "sync", "KeysResolved", "True", "Resolved").await;
    let script = format!("{}/node/openid_client.js", installed());
    client.verified(|| command(Path::new("node"), &[script.as_str(), "oauth2", "key"])).await;
    let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    let api = client.tenant.api().await;
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    client.tenant.wait_active(&api, &token, true).await;

    // The client signs with a new key, which the replica does not know, and removes the old one.
    let (pair, jwk) = key_pair("two");
    server.publish(&[&jwk]);
    client.sign_with(&pair, &jwk);
    let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
    assert!([401, 503].contains(&status), "the request does not wait for the keys: {status} {answer}");
    client.accepted().await;
    client.tenant.wait_active(&api, &token, false).await;

    apply(&client, "https://keys.example.com/jwks.json").await;
    let message = client.tenant.wait_not_ready("Application", "sync", "KeySetUnavailable").await;
    assert!(message.contains("Ask the operator to add keys.example.com to --outbound-hosts."), "{message}");
    eventually("the keys of the earlier URL are refused", async || {
        let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
        ensure(status == 401, answer)
    })
    .await;

    issuers::clients_authenticate_with_tokens_of_an_issuer(&client, &server, &replica).await;
}

async fn apply(client: &Client, url: &str) {
    let auth = json!({"methods": ["private_key_jwt"], "jwksUri": url});
    client.tenant.apply(&application("sync", "sync", json!({"auth": auth}))).await;
}
