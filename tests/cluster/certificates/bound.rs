//! X5: tokens that are bound to a certificate, with a client and an API that others wrote.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Scene;
use super::issued::Pair;
use crate::apache::start_apache;
use crate::harness::{
    Credential, Process, application, client_secret, ensure, eventually, example, free_port, output, start_api,
};
use crate::interop_clients::{AUDIENCE, command, installed};

/// `x5t#S256` of a certificate.
pub(super) fn x5t(pair: &Pair) -> String {
    let der = pem::parse(&pair.certificate).expect("PEM");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, der.contents()))
}

/// An Application with a secret, whose tokens are bound like this.
async fn constrain(scene: &Scene, constraint: &str) {
    let token = json!({"token": {"senderConstraint": constraint}});
    scene.tenant.apply(&application("payment", "sync", token)).await;
}

/// openid-client binds its tokens to its certificate, and neither userinfo nor Apache accept them over another connection.
pub(super) async fn x5_openid_client_binds_tokens_that_apache_refuses_over_another_connection(scene: &Scene) {
    let tenant = &scene.tenant;
    constrain(scene, "None").await;
    tenant.apply(&client_secret("payment", "payment", json!({}))).await;
    tenant.ready("ClientSecret", "payment").await;
    let credential = tenant.delivered("payment").await;
    let api = tenant.api().await;
    tenant.accepted(&api).await;
    let unbound = tenant.token_with(&credential, "invoices:read").await;
    tenant.wait_active(&api, &unbound, true).await;
    constrain(scene, "MutualTLS").await;
    tenant.wait_active(&api, &unbound, false).await;
    // A replica that requests no certificates issues no token.
    tenant.answers_everywhere(&credential, &[], "400 invalid_request").await;

    let apache = Apache::start(scene, &api).await;
    let answer = eventually("tokens of the replica are bound", async || {
        let answer = openid_client(scene, &credential, &apache.url);
        ensure(answer["unbound"] != "a token", &answer)?;
        Ok(answer)
    })
    .await;
    let expected = x5t(&scene.certificate);
    assert_eq!((&answer["supported"], &answer["type"]), (&json!(true), &json!("bearer")), "{answer}");
    assert!(answer["unbound"].as_str().is_some_and(|why| why.contains("senderConstraint")), "{answer}");
    assert_eq!(answer["claims"]["cnf"], json!({"x5t#S256": expected}), "{answer}");
    let refused = json!({"own": 200, "other": 401, "none": 401});
    assert_eq!((&answer["user"], &answer["api"]), (&refused, &refused), "{answer}: {}", apache.log());
    let token = answer["token"].as_str().expect("a token");
    for seen in tenant.introspected(&api, token).await {
        assert_eq!(seen["cnf"], json!({"x5t#S256": expected}), "{seen}");
    }
}

fn openid_client(scene: &Scene, credential: &Credential, api: &str) -> Value {
    let script = format!("{}/node/certificate_bound.js", installed());
    let pair = |pair: &Pair| json!({"certificate": pair.certificate, "key": pair.key});
    let certificates = json!([pair(&scene.certificate), pair(&Pair::self_signed("other"))]);
    let mut client = command(Path::new("node"), &[script.as_str()]);
    client.env("CLIENT_ID", credential.key("client-id")).env("CLIENT_SECRET", credential.key("client-secret"));
    client.env("ISSUER_URI", credential.key("issuer-uri")).env("REPLICA", &scene.replica.url);
    client.env("AUDIENCE", AUDIENCE).env("API", api).env("CERTIFICATES", certificates.to_string());
    client.env("NODE_EXTRA_CA_CERTS", scene.trusted());
    serde_json::from_str(&output(&mut client)).expect("JSON")
}

/// Apache in front of an API, as `examples/resource-servers/apache-certificate.conf` shows it.
struct Apache {
    /// Of the API.
    url: String,
    folder: TempDir,
    _process: Process,
}

impl Apache {
    async fn start(scene: &Scene, api: &Credential) -> Self {
        let [cert, key] = scene.server_certificate();
        // Apache compares the certificate's names, not its addresses.
        let replica = scene.replica.url.replace("127.0.0.1", "localhost");
        let (address, inner) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let changes = [
            ("https://postern.postern-system.svc/oauth2/", format!("{replica}/oauth2/")),
            ("https://postern.postern-system.svc", scene.tenant.cluster.issuer().to_owned()),
            ("Listen 8443", format!("Listen {address}")),
            ("*:8443", address.clone()),
            ("127.0.0.1:8082", inner),
            ("http://127.0.0.1:8081", start_api(&["x-postern-sub"]).await),
            ("/etc/oauth-ca/ca.crt", scene.server_ca.display().to_string()),
            ("/etc/tls/tls.crt", cert.display().to_string()),
            ("/etc/tls/tls.key", key.display().to_string()),
        ];
        let config = example("resource-servers/apache-certificate.conf", &changes);
        let folder = tempfile::tempdir().expect("a folder");
        let process = start_apache(folder.path(), &config, api);
        let apache = Self { url: format!("https://{address}/payments"), folder, _process: process };
        eventually("Apache listens", async || {
            tokio::net::TcpStream::connect(&address).await.map_err(|error| format!("{error}: {}", apache.log()))
        })
        .await;
        apache
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
