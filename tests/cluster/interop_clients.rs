//! Clients and verifiers that others wrote, over the real socket, at every replica.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::{Credential, TestNamespace, checkout, output};

pub(crate) const AUDIENCE: &str = "https://billing.example.com";

#[tokio::test]
async fn requests_oauthlib_gets_a_token_and_pyjwt_verifies_it() {
    python("requests_oauthlib_client.py").await;
}

#[tokio::test]
async fn authlib_gets_a_token_and_pyjwt_verifies_it() {
    python("authlib_client.py").await;
}

#[tokio::test]
async fn openid_client_discovers_the_endpoint_and_oauth4webapi_verifies_the_token() {
    let scene = Scene::set("node").await;
    let folder = installed();
    for arguments in [["oauth2", "basic"], ["oauth2", "post"], ["oidc", "basic"], ["oidc", "post"]] {
        let script = format!("{folder}/node/openid_client.js");
        scene.verified(|| command(Path::new("node"), &[script.as_str(), arguments[0], arguments[1]]));
    }
}

#[tokio::test]
async fn the_rust_crate_oauth2_gets_a_token() {
    let scene = Scene::set("rust").await;
    let program = Path::new(&installed()).join("oauth2");
    for method in ["basic", "post"] {
        for answer in scene.everywhere(|| command(&program, &[method])) {
            assert_eq!(answer, json!({"scope": "invoices:read", "expires_in": 900}));
        }
    }
}

#[tokio::test]
async fn curl_gets_a_token_with_the_files_that_a_pod_mounts() {
    let scene = Scene::set("curl").await;
    let credential = &scene.credential;
    let ca = ca_file(credential.key("ca.crt"));
    for replica in &scene.tenant.cluster.replicas {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--noproxy", "*", "--silent", "--fail-with-body", "--cacert"])
            .arg(ca.path())
            .arg("--user")
            .arg(format!("{}:{}", credential.key("client-id"), credential.key("client-secret")))
            .args(["--data", "grant_type=client_credentials", "--data", "scope=invoices:read"])
            .arg(format!("{}/oauth2/token", replica.url));
        let answer: Value = serde_json::from_str(&output(&mut curl)).expect("JSON");
        assert_eq!((&answer["token_type"], &answer["scope"]), (&json!("Bearer"), &json!("invoices:read")));
        assert_eq!(answer["expires_in"], 900);
    }
}

async fn python(script: &str) {
    let scene = Scene::set("python").await;
    let folder = installed();
    let python = Path::new(&folder).join("venv/bin/python");
    let script = format!("{folder}/python/{script}");
    for method in ["basic", "post"] {
        scene.verified(|| command(&python, &[script.as_str(), method]));
    }
}

/// The folder in which the clients are installed.
pub(crate) fn installed() -> String {
    output(&mut Command::new(checkout().join("hack/install-oauth-clients"))).trim().to_owned()
}

pub(crate) fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A client and its credential.
pub(crate) struct Scene {
    pub(crate) tenant: TestNamespace,
    pub(crate) credential: Credential,
    pub(crate) subject: Value,
}

impl Scene {
    pub(crate) async fn set(name: &str) -> Self {
        let tenant = TestNamespace::new(name).await;
        tenant.create_defaults().await;
        let credential = tenant.issue("blue").await;
        let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
        Self { tenant, credential, subject }
    }

    /// Runs a client against every replica; it prints the claims that it verified.
    pub(crate) fn verified(&self, client: impl Fn() -> Command) {
        for claims in self.everywhere(client) {
            assert_eq!(claims["sub"], self.subject, "{claims}");
            assert_eq!((&claims["scope"], &claims["aud"]), (&json!("invoices:read"), &json!(AUDIENCE)));
        }
    }

    /// Runs a client against every replica, and returns what it prints.
    pub(crate) fn everywhere(&self, client: impl Fn() -> Command) -> Vec<Value> {
        self.everywhere_trusting(self.credential.key("ca.crt"), client)
    }

    /// The same, of a client that trusts these CAs.
    pub(crate) fn everywhere_trusting(&self, cas: &str, client: impl Fn() -> Command) -> Vec<Value> {
        run_everywhere(&self.tenant, &self.credential, cas, || {
            let mut client = client();
            client.env("CLIENT_ID", self.credential.key("client-id"));
            client.env("CLIENT_SECRET", self.credential.key("client-secret"));
            client
        })
    }
}

/// Runs a client that trusts these CAs against every replica, with the addresses in a delivered Secret. Returns what it
/// prints.
pub(crate) fn run_everywhere(
    tenant: &TestNamespace,
    addresses: &Credential,
    cas: &str,
    client: impl Fn() -> Command,
) -> Vec<Value> {
    let ca_file = ca_file(cas);
    let answers = tenant.cluster.replicas.iter().map(|replica| {
        let mut client = client();
        for key in ["token-uri", "issuer-uri", "jwks-uri"] {
            client.env(key.replace('-', "_").to_uppercase(), addresses.key(key));
        }
        for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            client.env(variable, ca_file.path());
        }
        client.env("REPLICA", &replica.url).env("AUDIENCE", AUDIENCE);
        serde_json::from_str(&output(&mut client)).expect("JSON")
    });
    answers.collect()
}

/// The CA as a pod mounts it.
fn ca_file(cas: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), cas).expect("write the CA");
    file
}
