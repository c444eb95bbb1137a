//! A real Apache with mod_oauth2 in front of a small API, configured as `examples/resource-servers/apache.conf` shows.

use std::path::Path;
use std::process::Command;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::http;
use crate::harness::{
    Credential, Process, TestNamespace, access_group, application, checkout, ensure, eventually, example, free_port,
    output, service_user, start_api,
};

const READ: &str = "invoices:read";
/// Headers that the API reads.
const SEEN: [&str; 5] = ["authorization", "x-postern-sub", "x-postern-client_id", "x-postern-scope", "x-postern-roles"];

#[tokio::test]
async fn introspected_and_verified_tokens_pass_and_the_api_receives_the_identity_of_the_client() {
    let scene = Scene::set("apache").await;
    let token = scene.token().await;
    let user = scene.tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let app = scene.tenant.get("Application", "sync").await["metadata"]["uid"].clone();
    let expected = json!({
        "method": "GET", "authorization": null, "x-postern-sub": user, "x-postern-client_id": app,
        "x-postern-scope": READ, "x-postern-roles": r#"["billing.reader"]"#,
    });
    for path in ["invoices", "reports"] {
        assert_eq!(scene.passes(path, &token).await, expected, "{path}");
    }
    let opaque = scene.opaque_token().await;
    assert_eq!(scene.passes("invoices", &opaque).await, expected);
    assert_eq!(scene.status("reports", &opaque).await, 401, "nobody can verify it offline");
}

#[tokio::test]
async fn a_token_that_its_client_revokes_is_refused_where_it_is_introspected() {
    let scene = Scene::set("apache-revoked").await;
    for token in [scene.token().await, scene.opaque_token().await] {
        scene.passes("invoices", &token).await;
        // At another replica than the one that Apache asks.
        let url = format!("{}/oauth2/revoke", scene.tenant.cluster.replicas[0].url);
        let (status, answer) = scene.credential.post(&scene.tenant.connections, &url, &[("token", &token)]).await;
        assert_eq!(status, 200, "{answer}");
        eventually("Apache refuses the token", async || {
            let status = scene.status("invoices", &token).await;
            ensure(status == 401, status)
        })
        .await;
        if !token.starts_with("pat_") {
            scene.passes("reports", &token).await;
        }
    }
}

#[tokio::test]
async fn nothing_else_passes() {
    let scene = Scene::set("apache-refuses").await;
    let token = scene.token().await;
    let (head, signature) = token.rsplit_once('.').expect("a JWT");
    let altered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for path in ["invoices", "reports"] {
        for bad in ["", "x", "pat_x", "a.b.c", &altered] {
            assert_eq!(scene.status(path, bad).await, 401, "{path} {bad}");
        }
    }
    for path in ["invoices", "reports"] {
        for forged in ["X_Postern_Sub", "x_postern_sub", "X-Postern_Sub", "X_Postern-Client-Id"] {
            let answer = scene.ask_as(path, &token, forged).await;
            // Refused before or after Apache knows who asks.
            let is_refused = matches!(answer.status.as_u16(), 401 | 403);
            assert!(is_refused, "{path}: an API may take {forged} for the header of the proxy: {}", answer.status);
        }
        assert_eq!(scene.ask_as(path, &token, "X_Request_Id").await.status, 200, "{path}: any other name");
    }
    let elsewhere = scene.token_for("https://ledger.example.com").await;
    for path in ["invoices", "reports"] {
        assert_eq!(scene.status(path, &elsewhere).await, 401, "{path}: for another API");
    }
}

#[tokio::test]
async fn nothing_passes_when_apache_does_not_trust_the_certificate_of_postern() {
    let tenant = TestNamespace::new("apache-ca").await;
    let another_ca = tenant.cluster.controlplane.ca();
    let scene = Scene::before(tenant, &another_ca).await;
    let token = scene.token().await;
    for path in ["invoices", "reports"] {
        assert_eq!(scene.status(path, &token).await, 401, "{path}");
    }
}

/// Apache, and the API behind it.
struct Scene {
    tenant: TestNamespace,
    /// Of the client that calls the API.
    credential: Credential,
    url: String,
    _apache: Process,
    folder: TempDir,
}

impl Scene {
    async fn set(name: &str) -> Self {
        let tenant = TestNamespace::new(name).await;
        let ca = tenant.cluster.ca_file();
        Self::before(tenant, &ca).await
    }

    /// Apache trusts whom this CA vouches for.
    async fn before(tenant: TestNamespace, ca: &Path) -> Self {
        tenant.create_defaults().await;
        let credential = tenant.issue("blue").await;
        let api = tenant.api().await;
        tenant.accepted(&api).await;
        // Not the issuer: every replica decides. Apache compares the certificate's names, not its addresses.
        let replica = tenant.cluster.replicas[1].url.replace("127.0.0.1", "localhost");
        let (address, inner) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let changes = [
            ("https://postern.postern-system.svc/oauth2/", format!("{replica}/oauth2/")),
            ("https://postern.postern-system.svc", tenant.cluster.issuer().to_owned()),
            ("Listen 8080", format!("Listen {address}")),
            ("*:8080", address.clone()),
            ("127.0.0.1:8082", inner),
            ("http://127.0.0.1:8081", start_api(&SEEN).await),
            ("/etc/oauth-ca/ca.crt", ca.display().to_string()),
        ];
        let config = example("resource-servers/apache.conf", &changes);
        let folder = tempfile::tempdir().expect("a folder");
        let apache = start_apache(folder.path(), &config, &api);
        let scene = Self { tenant, credential, url: format!("http://{address}"), _apache: apache, folder };
        eventually("Apache answers", async || {
            let log = || std::fs::read_to_string(scene.folder.path().join("log")).unwrap_or_default();
            http::get(&http::trusting(b""), &scene.url).await.map_err(|error| format!("{error}: {}", log()))
        })
        .await;
        scene
    }

    /// A JWT.
    async fn token(&self) -> String {
        self.tenant.token_with(&self.credential, READ).await
    }

    async fn opaque_token(&self) -> String {
        self.tenant.apply(&application("sync", "sync", json!({"token": {"format": "Opaque"}}))).await;
        eventually("tokens are opaque", async || {
            let (replica, form) = (&self.tenant.cluster.replicas[0].url, [("scope", READ)]);
            let answer = self.credential.ask(&self.tenant.connections, replica, &form).await?;
            let token = answer.body["access_token"].as_str().unwrap_or_default().to_owned();
            if token.starts_with("pat_") { Ok(token) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    /// A token of the same client for another audience.
    async fn token_for(&self, audience: &str) -> String {
        let group = self.tenant.unique_name("elsewhere");
        let permissions = json!([{"audience": audience, "scopes": [READ]}]);
        self.tenant.apply(&access_group(&group, json!({"permissions": permissions}))).await;
        self.tenant.apply(&service_user("sync", &[&group])).await;
        eventually("the client may do something there", async || {
            let form = [("resource", audience)];
            let answers = self.tenant.ask_everywhere(&self.credential, &form).await;
            let granted = answers.iter().map(|answer| answer.claims().map(|_| answer.token()));
            let granted: Result<Vec<_>, _> = granted.collect();
            granted.map(|tokens| tokens[0].to_owned())
        })
        .await
    }

    async fn ask(&self, path: &str, token: &str) -> http::Answer {
        self.ask_as(path, token, "x-postern-sub").await
    }

    /// Asks with a forged header of this name.
    async fn ask_as(&self, path: &str, token: &str, forged: &str) -> http::Answer {
        let request = Request::get(format!("{}/{path}", self.url)).header(forged, "forged");
        let request = match token {
            "" => request,
            token => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        };
        let request = request.body(Body::empty()).expect("a request");
        http::send(&http::trusting(b""), request).await.expect("an answer")
    }

    async fn status(&self, path: &str, token: &str) -> u16 {
        self.ask(path, token).await.status.as_u16()
    }

    /// What the API saw of a request that reached it.
    async fn passes(&self, path: &str, token: &str) -> Value {
        let answer = self.ask(path, token).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        serde_json::from_slice(&answer.body).expect("what the API saw")
    }
}

/// Runs Apache with this configuration, in one process, and everything it writes in `folder`. It
/// refuses to answer requests as root and becomes `nobody`; others stay who they are.
pub fn start_apache(folder: &Path, config: &str, api: &Credential) -> Process {
    let modules =
        ["mpm_event", "authn_core", "authz_core", "headers", "oauth2", "proxy", "proxy_http", "setenvif", "ssl"];
    let modules = modules.map(|name| format!("LoadModule {name}_module modules/mod_{name}.so\n")).concat();
    let main = format!(
        "{modules}User nobody\nGroup nogroup\nServerName localhost\nErrorLog /dev/stderr\n\
         DefaultRuntimeDir {folder}\nPidFile {folder}/pid\n{config}",
        folder = folder.display()
    );
    let file = folder.join("apache.conf");
    std::fs::write(&file, main).expect("write the configuration");
    let program = output(&mut Command::new(checkout().join("hack/fetch-apache")));
    let mut command = Command::new(program.trim());
    command.args(["-X", "-f"]).arg(file).env("no_proxy", "*");
    command.env("CLIENT_ID", api.key("client-id")).env("CLIENT_SECRET", api.key("client-secret"));
    Process::start("apache", &command, &folder.join("log"))
}
