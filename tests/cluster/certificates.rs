//! Clients that authenticate with a certificate, over the real sockets, and behind nginx. Most certificates have the form
//! that cert-manager gives them; those of `cert_manager.rs` are issued by it.

mod bound;
mod cert_manager;
mod issued;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Cluster, Credential, Process, Replica, TestNamespace, application, client_secret, ensure, eventually, free_port,
    output, start_api,
};
use crate::interop_clients::{AUDIENCE, command, installed};
use crate::nginx::start_nginx;
use issued::{Ca, Pair};

const DNS: &str = "invoice-sync.billing.svc";

// The programs wait for the API, which this process serves.
#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openid_client_authenticate_with_a_certificate_and_a_replaced_ca_ends_that() {
    let scene = Scene::new("certificate", &[]).await;
    scene.accepts(&scene.mtls, &scene.certificate).await;
    assert_eq!(scene.curl(&scene.mtls, None, &[])["error"], "invalid_client");
    assert_eq!(scene.curl(&scene.mtls, Some(&Pair::self_signed(DNS)), &[])["error"], "invalid_client");

    let script = format!("{}/node/openid_client.js", installed());
    for kind in ["oauth2", "oidc"] {
        let mut client = command(Path::new("node"), &[script.as_str(), kind, "certificate"]);
        client.env("CLIENT_ID", &scene.client_id).env("AUDIENCE", AUDIENCE).env("REPLICA", &scene.replica.url);
        client.env("ISSUER_URI", scene.addresses.key("issuer-uri")).env("NODE_EXTRA_CA_CERTS", &scene.server_ca);
        client.env("CERTIFICATE", &scene.certificate.certificate).env("PRIVATE_KEY", &scene.certificate.key);
        let claims: Value = serde_json::from_str(&output(&mut client)).expect("JSON");
        assert_eq!((&claims["client_id"], &claims["scope"]), (&json!(scene.client_id), &json!("invoices:read")));
    }

    bound::x5_openid_client_binds_tokens_that_apache_refuses_over_another_connection(&scene).await;

    let another = Ca::new();
    std::fs::write(scene.client_ca(), &another.pem).expect("write the CA");
    scene.accepts(&scene.mtls, &another.issue(DNS)).await;
    assert_eq!(scene.curl(&scene.mtls, Some(&scene.certificate), &[])["error"], "invalid_client");
}

#[tokio::test]
async fn an_entry_that_identifies_no_certificate_is_reported_and_a_removed_entry_ends_its_tokens() {
    let scene = Scene::new("certificate-entries", &[]).await;
    let answer = scene.accepts(&scene.mtls, &scene.certificate).await;
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    let api = scene.tenant.api().await;
    scene.tenant.wait_active(&api, &token, true).await;
    scene.tenant.wait_condition("Application", "sync", "CertificatesResolved", "True", "Resolved").await;

    scene.register(&json!([{"sanDns": "other.billing.svc"}, {"subjectDn": "nonsense=a"}])).await;
    scene.tenant.wait_active(&api, &token, false).await;
    let (type_, reason) = ("CertificatesResolved", "CertificateUnusable");
    let condition = scene.tenant.wait_condition("Application", "sync", type_, "False", reason).await;
    let message = condition["message"].as_str().expect("a message");
    assert!(message.starts_with("spec.auth.certificates[1].subjectDn is not a distinguished name"), "{message}");
    eventually("the certificate is refused", async || {
        let answer = scene.curl(&scene.mtls, Some(&scene.certificate), &[]);
        ensure(answer["error"] == "invalid_client", answer)
    })
    .await;
}

// The programs wait for the API, which this process serves.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_the_certificate_of_its_client_and_nobody_else_does() {
    let scene = Scene::new("certificate-nginx", &["--client-cert-header", "ssl-client-cert"]).await;
    let (nginx, folder) = scene.nginx().await;
    let answer = scene.accepts(&nginx.url, &scene.certificate).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(scene.curl(&nginx.url, Some(&Pair::self_signed(DNS)), &[])["error"], "invalid_client");

    // nginx replaces the header of its client, and Postern reads it from no other address.
    let header = format!("ssl-client-cert: {}", escaped(&scene.certificate.certificate));
    assert_eq!(scene.curl(&nginx.url, None, &["--header", &header])["error"], "invalid_client");
    let from_another = ["--header", &header, "--interface", "127.0.0.2"];
    assert_eq!(scene.curl(&scene.replica.url, None, &from_another)["error"], "invalid_client");

    scene.constrain().await;
    x5_nginx_asks_about_bound_tokens_with_the_certificate_of_its_client(&scene, &nginx).await;
    drop((nginx.process, folder));
}

/// The API behind nginx gets a request only if its connection has the certificate to which the token is bound.
async fn x5_nginx_asks_about_bound_tokens_with_the_certificate_of_its_client(scene: &Scene, nginx: &Proxy) {
    let answer = eventually("tokens are bound", async || {
        let answer = scene.curl(&nginx.url, Some(&scene.certificate), &[]);
        let claims = answer["access_token"].as_str().and_then(|token| token.split('.').nth(1));
        let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        ensure(claims["cnf"] == json!({"x5t#S256": bound::x5t(&scene.certificate)}), &answer)?;
        Ok(answer)
    })
    .await;
    let authorization = format!("Authorization: Bearer {}", answer["access_token"].as_str().expect("a token"));
    let call = |certificate: Option<&Pair>, more: &[&str]| {
        let arguments = [&["--header", &*authorization, "--write-out", "%{http_code}"], more].concat();
        let mut curl = scene.curl_with(certificate, &arguments);
        output(curl.arg(format!("{}/invoices", nginx.url)))
    };
    let passed = call(Some(&scene.certificate), &[]);
    assert!(passed.ends_with("200") && passed.contains(r#""x-postern-subject":""#), "{passed}");
    let header = format!("ssl-client-cert: {}", escaped(&scene.certificate.certificate));
    for refused in [call(None, &[]), call(Some(&Pair::self_signed(DNS)), &[]), call(None, &["--header", &header])] {
        assert!(refused.ends_with("401"), "{refused}");
    }
}

/// A replica that requests certificates, and a client that is registered for one.
struct Scene {
    tenant: TestNamespace,
    replica: Replica,
    /// `https://127.0.0.1:PORT` of the listener that requests certificates.
    mtls: String,
    server_ca: PathBuf,
    folder: TempDir,
    certificate: Pair,
    addresses: Credential,
    client_id: String,
}

/// nginx in front of the replica.
struct Proxy {
    url: String,
    process: Process,
}

impl Scene {
    async fn new(name: &str, arguments: &[&str]) -> Self {
        let cluster: Arc<Cluster> = Cluster::dedicated(1);
        cluster.start().await;
        let tenant = TestNamespace::on(cluster.clone(), name, json!({})).await;
        tenant.create_defaults().await;
        tenant.apply(&application("addresses", "sync", json!({}))).await;
        tenant.apply(&client_secret("addresses", "addresses", json!({}))).await;
        tenant.ready("ClientSecret", "addresses").await;
        let addresses = tenant.delivered("addresses").await;

        let (ca, folder) = (Ca::new(), tempfile::tempdir().expect("a folder"));
        let client_ca = folder.path().join("client-ca.crt");
        std::fs::write(&client_ca, &ca.pem).expect("write the CA");
        let listen = format!("127.0.0.1:{}", free_port());
        let mtls = format!("https://{listen}");
        let client_ca = client_ca.to_str().expect("a path in UTF-8");
        let own = ["--mtls-listen", &listen, "--mtls-url", &mtls, "--mtls-client-ca-file", client_ca];
        let log = cluster.controlplane.scratch().join(format!("{name}.log"));
        let replica = Replica::new(name, Some(cluster.issuer()), log).with(&[&own[..], arguments].concat());
        cluster.launch(&replica);
        replica.ready().await;

        let (server_ca, certificate) = (cluster.ca_file(), ca.issue(DNS));
        let client_id = String::new();
        let mut scene = Self { tenant, replica, mtls, server_ca, folder, certificate, addresses, client_id };
        scene.register(&json!([{"sanDns": DNS}])).await;
        scene.tenant.ready("Application", "sync").await;
        let status = scene.tenant.get("Application", "sync").await["status"].take();
        status["clientId"].as_str().expect("a client id").clone_into(&mut scene.client_id);
        scene
    }

    async fn register(&self, certificates: &Value) {
        let auth = json!({"methods": ["tls_client_auth"], "certificates": certificates});
        self.tenant.apply(&application("sync", "sync", json!({"auth": auth}))).await;
    }

    /// From now on, tokens are bound to certificates.
    async fn constrain(&self) {
        let auth = json!({"methods": ["tls_client_auth"], "certificates": [{"sanDns": DNS}]});
        let spec = json!({"auth": auth, "token": {"senderConstraint": "MutualTLS"}});
        self.tenant.apply(&application("sync", "sync", spec)).await;
    }

    fn client_ca(&self) -> PathBuf {
        self.folder.path().join("client-ca.crt")
    }

    /// The token that this certificate is exchanged for.
    async fn accepts(&self, url: &str, certificate: &Pair) -> Value {
        eventually("the certificate is accepted", async || {
            let answer = self.curl(url, Some(certificate), &[]);
            if answer["access_token"].is_string() { Ok(answer) } else { Err(answer.to_string()) }
        })
        .await
    }

    /// The answer to a token request by curl with this certificate.
    fn curl(&self, url: &str, certificate: Option<&Pair>, arguments: &[&str]) -> Value {
        let mut curl = self.curl_with(certificate, arguments);
        curl.arg("--data").arg(format!("grant_type=client_credentials&client_id={}", self.client_id));
        curl.arg(format!("{url}/oauth2/token"));
        let answer = output(&mut curl);
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    }

    /// curl with this certificate.
    fn curl_with(&self, certificate: Option<&Pair>, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error"]).args(arguments);
        // nginx has just been started.
        curl.args(["--retry", "20", "--retry-delay", "1", "--retry-connrefused"]);
        curl.arg("--cacert").arg(self.trusted());
        if let Some(pair) = certificate {
            let [cert, key] = ["client.crt", "client.key"].map(|name| self.folder.path().join(name));
            std::fs::write(&cert, &pair.certificate).expect("write the certificate");
            std::fs::write(&key, &pair.key).expect("write the key");
            curl.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        curl
    }

    /// A file with the CAs of Postern and of the servers of the test.
    fn trusted(&self) -> PathBuf {
        let trusted = self.folder.path().join("trusted.crt");
        let server = std::fs::read_to_string(self.folder.path().join("tls.crt")).unwrap_or_default();
        let postern = std::fs::read_to_string(&self.server_ca).expect("the CA of Postern");
        std::fs::write(&trusted, format!("{postern}\n{server}")).expect("write the CAs");
        trusted
    }

    /// The certificate and the key of a server of the test.
    fn server_certificate(&self) -> [PathBuf; 2] {
        let pair = Pair::self_signed("127.0.0.1");
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| self.folder.path().join(name));
        std::fs::write(&cert, &pair.certificate).expect("write the certificate");
        std::fs::write(&key, &pair.key).expect("write the key");
        [cert, key]
    }

    /// nginx as docs/authentication.md and docs/certificate-bound-tokens.md show it, in front of the main listener of the
    /// replica, and of an API.
    async fn nginx(&self) -> (Proxy, TempDir) {
        let [cert, key] = self.server_certificate();
        let listen = format!("127.0.0.1:{}", free_port());
        let config = format!(
            "server {{
                listen {listen} ssl;
                ssl_certificate {cert};
                ssl_certificate_key {key};
                ssl_verify_client optional_no_ca;
                location / {{
                    proxy_pass {replica};
                    proxy_ssl_trusted_certificate {ca};
                    proxy_ssl_verify on;
                    proxy_ssl_name localhost;
                    proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
                    proxy_set_header X-Forwarded-For $remote_addr;
                }}
                location /invoices {{
                    auth_request /_postern;
                    auth_request_set $subject $upstream_http_x_postern_subject;
                    proxy_set_header X-Postern-Subject $subject;
                    proxy_pass {api};
                }}
                location = /_postern {{
                    internal;
                    proxy_pass {replica}/auth?anyone=true;
                    proxy_ssl_trusted_certificate {ca};
                    proxy_ssl_verify on;
                    proxy_ssl_name localhost;
                    proxy_pass_request_body off;
                    proxy_set_header Content-Length \"\";
                    proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
                    proxy_set_header X-Forwarded-For $remote_addr;
                }}
            }}",
            cert = cert.display(),
            key = key.display(),
            replica = self.replica.url,
            api = start_api(&["x-postern-subject"]).await,
            ca = self.server_ca.display(),
        );
        let folder = tempfile::tempdir().expect("a folder");
        let process = start_nginx(folder.path(), &config);
        (Proxy { url: format!("https://{listen}"), process }, folder)
    }
}

/// PEM as nginx escapes it.
fn escaped(pem: &str) -> String {
    percent_encoding::utf8_percent_encode(pem, percent_encoding::NON_ALPHANUMERIC).to_string()
}
