//! A real nginx with `auth_request` in front of a small API, configured as `examples/nginx.conf` shows.

use std::path::Path;
use std::process::Command;

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dpop::ProofKey;
use crate::harness::http::{self, Answer};
use crate::harness::{
    Process, TestNamespace, application, checkout, client_secret, ensure, eventually, example, free_port, output,
    start_api,
};

const READ: &str = "invoices:read";
/// Headers that the API reads.
const SEEN: [&str; 7] = [
    "authorization",
    "x-postern-subject",
    "x-postern-client-id",
    "x-postern-roles",
    "x-postern-scope",
    "x_postern_subject",
    "x-postern_subject",
];

#[tokio::test]
async fn requests_with_a_secret_or_a_token_reach_the_api_with_the_identity_of_the_client() {
    let scene = Scene::set("nginx").await;
    let credential = scene.tenant.issue("blue").await;
    let token = scene.tenant.token_with(&credential, READ).await;
    let user = scene.tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let app = scene.tenant.get("Application", "sync").await["metadata"]["uid"].clone();
    let everything = "invoices:list invoices:read";
    let form_encoded = credential.form_encoded().authorization();
    for (authorization, scope) in
        [(credential.authorization(), everything), (form_encoded, everything), (format!("Bearer {token}"), READ)]
    {
        for method in [Method::GET, Method::POST] {
            let seen = scene.passes(method.clone(), &authorization).await;
            let expected = json!({
                "method": method.as_str(), "authorization": null,
                "x-postern-subject": user, "x-postern-client-id": app,
                "x-postern-roles": "billing.reader", "x-postern-scope": scope,
                "x_postern_subject": null, "x-postern_subject": null,
            });
            assert_eq!(seen, expected);
        }
    }
}

#[tokio::test]
async fn other_requests_are_refused_and_never_reach_the_api() {
    let scene = Scene::set("nginx-refuses").await;
    let credential = scene.tenant.issue("blue").await;
    let wrong = credential.with_secret("pst_mistyped");
    let (status, challenges) = scene.rejected("").await;
    assert!(status == 401 && challenges.iter().any(|it| it.contains(r#"realm="postern""#)), "{challenges:?}");
    let (status, challenges) = scene.rejected(&wrong.authorization()).await;
    assert!(status == 401 && challenges.iter().any(|it| it.starts_with("Basic ")), "{challenges:?}");
    let (status, challenges) = scene.rejected("Bearer nonsense").await;
    assert!(status == 401 && challenges.iter().any(|it| it.contains("invalid_token")), "{challenges:?}");
    let token = scene.tenant.token_with(&credential, "invoices:list").await;
    assert_eq!(scene.rejected(&format!("Bearer {token}")).await.0, 403, "another scope than is required");
}

#[tokio::test]
async fn a_secret_passes_only_if_it_is_for_apis_and_a_token_until_its_client_is_suspended() {
    let scene = Scene::set("nginx-uses").await;
    let tenant = &scene.tenant;
    for (name, uses) in [("direct", json!(["Direct"])), ("token", json!(["Token"]))] {
        tenant.apply(&client_secret(name, "sync", json!({"usages": uses}))).await;
        tenant.ready("ClientSecret", name).await;
    }
    let (direct, for_tokens) = (tenant.delivered("direct").await, tenant.delivered("token").await);
    scene.passes(Method::GET, &direct.authorization()).await;
    assert_eq!(scene.rejected(&for_tokens.authorization()).await.0, 403);
    tenant.answers_everywhere(&direct, &[], "400 unauthorized_client").await;

    let token = format!("Bearer {}", scene.tenant.token_with(&for_tokens, READ).await);
    scene.passes(Method::GET, &token).await;
    tenant.apply(&application("sync", "sync", json!({"suspend": true}))).await;
    eventually("the token that is out is refused", async || {
        let answer = scene.ask("127.0.0.1", Method::GET, &token).await;
        ensure(answer.status == 401, answer.status)
    })
    .await;
}

#[tokio::test]
async fn a_secret_passes_only_from_its_networks_by_the_address_that_nginx_forwards() {
    let scene = Scene::set("nginx-networks").await;
    let tenant = &scene.tenant;
    tenant.apply(&client_secret("blue", "sync", json!({"networks": ["127.0.0.2/32"]}))).await;
    tenant.ready("ClientSecret", "blue").await;
    let credential = tenant.delivered("blue").await;
    for (address, status) in [("127.0.0.2", 200), ("127.0.0.3", 401), ("127.0.0.1", 401)] {
        let answer = scene.decided(address, Method::GET, &credential.authorization()).await;
        assert_eq!(answer.status, status, "{address}");
    }
    tenant.wait_rejected(&credential).await;
}

#[tokio::test]
async fn nothing_passes_when_nginx_does_not_trust_the_certificate_of_postern() {
    let tenant = TestNamespace::new("nginx-ca").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let another_ca = tenant.cluster.controlplane.ca();
    let scene = Scene::before(tenant, &another_ca).await;
    let answer = scene.ask("127.0.0.1", Method::GET, &credential.authorization()).await;
    assert_eq!(answer.status, 500, "{:?}", answer.body);
}

#[tokio::test]
async fn x4_a_bound_token_passes_with_a_proof_for_the_request_that_nginx_received() {
    let scene = Scene::set("nginx-dpop").await;
    let credential = scene.tenant.issue("blue").await;
    scene.tenant.accepted(&credential).await;
    let key = ProofKey::new();
    let token = key.token(&scene.tenant, &credential, READ).await;
    let proof = |method: &str, url: &str| key.proof(method, url, Some(&token));
    let ask = async |proof: String| {
        let request = Request::get(format!("{}?page=2", scene.url))
            .header(header::AUTHORIZATION, format!("DPoP {token}"))
            .header("dpop", proof)
            // What a thief would need to use a proof for another request.
            .header("x-forwarded-method", "DELETE")
            .header("x-forwarded-uri", "/other")
            .body(Body::empty());
        let connections = http::plain_from("127.0.0.1".parse().expect("an address"));
        http::send(&connections, request.expect("a request")).await.expect("an answer").status.as_u16()
    };
    eventually("the replica behind nginx decides", async || {
        let status = ask(proof("GET", &scene.url)).await;
        ensure(status == 200, status)
    })
    .await;
    let other = scene.url.replace("/invoices", "/other");
    for (proof, expected) in [
        (proof("DELETE", &scene.url), 401),
        (proof("GET", &other), 401),
        (proof("GET", &format!("{}/auth", scene.tenant.cluster.issuer())), 401),
        (proof("GET", &scene.url), 200),
    ] {
        assert_eq!(ask(proof).await, expected);
    }
    assert_eq!(scene.rejected(&format!("Bearer {token}")).await.0, 401);
}

/// nginx, and the API behind it.
struct Scene {
    tenant: TestNamespace,
    url: String,
    _nginx: Process,
    _folder: TempDir,
}

impl Scene {
    async fn set(name: &str) -> Self {
        let tenant = TestNamespace::new(name).await;
        tenant.create_defaults().await;
        let ca = tenant.cluster.ca_file();
        Self::before(tenant, &ca).await
    }

    /// nginx trusts whom this CA vouches for.
    async fn before(tenant: TestNamespace, ca: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        // Not the issuer: every replica decides.
        let replica = tenant.cluster.replicas[1].url.strip_prefix("https://").expect("https");
        let api = start_api(&SEEN).await;
        let changes = [
            ("server postern.postern-system.svc:443;", format!("server {replica};")),
            ("listen 8080;", format!("listen {address};")),
            ("proxy_pass http://127.0.0.1:8081;", format!("proxy_pass {api};")),
            ("/etc/oauth-ca/ca.crt", ca.display().to_string()),
            ("proxy_ssl_name postern.postern-system.svc;", "proxy_ssl_name localhost;".to_owned()),
        ];
        let config = example("nginx.conf", &changes);
        let folder = tempfile::tempdir().expect("a folder");
        let nginx = start_nginx(folder.path(), &config);
        let url = format!("http://{address}/invoices");
        eventually("nginx answers", async || {
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            http::get(&http::trusting(b""), &url).await.map_err(|error| format!("{error}: {}", log()))
        })
        .await;
        Self { tenant, url, _nginx: nginx, _folder: folder }
    }

    /// Asks for the invoices from this address, and claims to come from another.
    async fn ask(&self, address: &str, method: Method, authorization: &str) -> Answer {
        let request = Request::builder().method(method).uri(&self.url).header("x-postern-subject", "forged");
        let request = request.header("x_postern_subject", "forged").header("x-postern_subject", "forged");
        let request = match authorization {
            "" => request,
            authorization => request.header(header::AUTHORIZATION, authorization),
        };
        let request = request.header("x-postern-roles", "forged").header("x-forwarded-for", "127.0.0.2");
        let connections = http::plain_from(address.parse().expect("an address"));
        http::send(&connections, request.body(Body::empty()).expect("a request")).await.expect("an answer")
    }

    /// Asks until the replica decides. A replica that is behind answers 503, and nginx makes 500 of it.
    async fn decided(&self, address: &str, method: Method, authorization: &str) -> Answer {
        eventually("the replica behind nginx decides", async || {
            let answer = self.ask(address, method.clone(), authorization).await;
            if answer.status == 500 { Err(format!("{:?}", answer.body)) } else { Ok(answer) }
        })
        .await
    }

    /// What the API saw of a request that reached it.
    async fn passes(&self, method: Method, authorization: &str) -> Value {
        let answer = self.decided("127.0.0.1", method, authorization).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).expect("what the API saw")
    }

    /// Status and challenges of an answer that is not the API's.
    async fn rejected(&self, authorization: &str) -> (u16, Vec<String>) {
        let answer = self.decided("127.0.0.1", Method::GET, authorization).await;
        assert!(serde_json::from_slice::<Value>(&answer.body).is_err(), "the API answered {:?}", answer.body);
        let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges = challenges.map(|challenge| challenge.to_str().expect("text").to_owned());
        (answer.status.as_u16(), challenges.collect())
    }
}

/// Runs nginx with this in its `http` block and everything it writes in `folder`. One process: a master that is killed
/// would leave its workers behind.
pub(crate) fn start_nginx(folder: &Path, config: &str) -> Process {
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {what};"));
    let main = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {} include api.conf; }}\n",
        temporary.join(" ")
    );
    std::fs::write(folder.join("nginx.conf"), main).expect("write the configuration");
    std::fs::write(folder.join("api.conf"), config).expect("write the configuration");
    let program = output(&mut Command::new(checkout().join("hack/fetch-nginx")));
    let mut command = Command::new(program.trim());
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
    Process::start("nginx", &command, &folder.join("log"))
}
