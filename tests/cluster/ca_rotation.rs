//! The CA of Postern's own certificate is replaced while clients trust the old one, the new one, or both.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, Credential, OPERATOR_NAMESPACE, TestNamespace, ensure, eventually, http};
use crate::interop_clients::{AUDIENCE, Scene, command, installed};

const SECRET: &str = "postern-tls";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

#[tokio::test]
async fn no_client_is_refused_while_the_ca_is_replaced_and_a_removed_ca_is_not_trusted() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "ca", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let old = credential.key("ca.crt").to_owned();
    assert_eq!(old.matches(BEGIN).count(), 1);
    let end = CancellationToken::new();
    let copied = Asking::start(&cluster, &credential, &old, &end);

    rotate(&tenant).await;
    let both = published(&tenant, 2).await;
    let (new, rest) = both.split_at(both.rfind(BEGIN).unwrap());
    assert_eq!(rest, old, "the new one is first, and both processes made one");
    eventually("the credential is delivered with both", async || {
        let ca = tenant.delivered("blue").await.key("ca.crt").to_owned();
        ensure(ca == both, ca)
    })
    .await;
    for replica in &cluster.replicas {
        eventually("the new CA vouches for every replica", async || ask(&credential, &replica.url, new).await).await;
    }
    let found = tenant.kubernetes.get("Secret", OPERATOR_NAMESPACE, SECRET).await;
    assert_eq!(found.pointer("/metadata/annotations/postern.dev~1rotate"), None, "it is done: {found}");
    assert_eq!(entry(&found, "ca.crt"), new);

    end.cancel();
    copied.were_all_answered().await;
    // These block the thread, on which `copied` would wait for longer than the server does.
    let scene =
        Scene { subject: tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone(), tenant, credential };
    for cas in [&old, &both] {
        clients_of_others_get_tokens(&scene, cas);
    }

    let Scene { tenant, credential, .. } = scene;
    let removal = json!({"data": {"previous-ca.crt": null}});
    tenant.kubernetes.merge("Secret", OPERATOR_NAMESPACE, SECRET, removal).await.unwrap();
    assert_eq!(published(&tenant, 1).await, new);
    for replica in &cluster.replicas {
        eventually("the old CA vouches for nobody", async || match ask(&credential, &replica.url, &old).await {
            Ok(()) => Err("it does".to_owned()),
            Err(refusal) => ensure(refusal.contains("UnknownIssuer"), refusal),
        })
        .await;
        ask(&credential, &replica.url, new).await.unwrap();
    }
}

async fn rotate(tenant: &TestNamespace) {
    let request = json!({"metadata": {"annotations": {"postern.dev/rotate": "now"}}});
    tenant.kubernetes.merge("Secret", OPERATOR_NAMESPACE, SECRET, request).await.unwrap();
}

/// The CAs in the ConfigMap, when there are so many.
async fn published(tenant: &TestNamespace, count: usize) -> String {
    eventually(format_args!("{count} CAs are published"), async || {
        let map = tenant.kubernetes.get("ConfigMap", OPERATOR_NAMESPACE, "postern-ca").await;
        let cas = map["data"]["ca.crt"].as_str().unwrap().to_owned();
        if cas.matches(BEGIN).count() == count { Ok(cas) } else { Err(cas) }
    })
    .await
}

fn entry(secret: &Value, key: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
}

/// Asks for a token over a new connection that trusts these CAs alone.
async fn ask(credential: &Credential, url: &str, cas: &str) -> Result<(), String> {
    credential.ask(&http::trusting(cas.as_bytes()), url, &[]).await?.claims().map(drop)
}

/// OpenSSL (Python, Node) and rustls.
fn clients_of_others_get_tokens(scene: &Scene, cas: &str) {
    let folder = installed();
    let python = Path::new(&folder).join("venv/bin/python");
    let script = format!("{folder}/python/requests_oauthlib_client.py");
    let node = format!("{folder}/node/openid_client.js");
    let mut answers = scene.everywhere_trusting(cas, || command(&python, &[&script, "basic"]));
    answers.extend(scene.everywhere_trusting(cas, || command(Path::new("node"), &[&node, "oauth2", "basic"])));
    assert!(answers.iter().all(|claims| claims["aud"] == AUDIENCE), "{answers:?}");
    for answer in scene.everywhere_trusting(cas, || command(&Path::new(&folder).join("oauth2"), &["basic"])) {
        assert_eq!(answer["scope"], "invoices:read");
    }
}

/// A client that copied the CA long ago and connects again for every token.
struct Asking(JoinHandle<Vec<Result<(), String>>>);

impl Asking {
    fn start(cluster: &Arc<Cluster>, credential: &Credential, ca: &str, end: &CancellationToken) -> Self {
        let (cluster, credential, ca, end) = (cluster.clone(), credential.clone(), ca.to_owned(), end.clone());
        Self(tokio::spawn(async move {
            let mut answers = Vec::new();
            while !end.is_cancelled() {
                for replica in &cluster.replicas {
                    answers.push(ask(&credential, &replica.url, &ca).await);
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            answers
        }))
    }

    async fn were_all_answered(self) {
        let answers = self.0.await.unwrap();
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(answers.len() > 10 && refused.is_empty(), "{} of {}: {refused:#?}", refused.len(), answers.len());
    }
}
