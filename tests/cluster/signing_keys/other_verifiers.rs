//! Verifiers that others wrote, each with a cached key set, while keys rotate.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::scene;
use crate::apache::start_apache;
use crate::harness::{Cluster, Credential, Process, example, free_port, http, start_api};
use crate::harness::{TestNamespace, eventually};
use crate::interop_clients::{AUDIENCE, command, installed};

/// As long as the key set says that it may be cached, in seconds.
const MAX_AGE: &str = "2";

#[tokio::test(flavor = "multi_thread")]
async fn k3_jose_pyjwt_mod_oauth2_and_kube_apiserver_notice_no_rotation() {
    let (cluster, tenant, keys) = scene("verifiers").await;
    let credential = tenant.issue("blue").await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut verifiers = Vec::new();
    for (number, replica) in cluster.replicas.iter().enumerate() {
        verifiers.extend(programs(&cluster, &replica.url, &folder.path().join(number.to_string())));
    }
    let apache = Apache::start(&tenant, &folder.path().join("apache")).await;
    let mut accepted = 0;
    let mut refused = Vec::new();
    for rotation in 0..3 {
        let before = keys.signing("ES256").await;
        keys.rotate(&format!("rotation-{rotation}")).await;
        let over = async {
            keys.next_signs("ES256", &before).await;
            keys.settled().await;
        };
        let verifying = async {
            loop {
                for replica in &cluster.replicas {
                    let form = [("scope", "invoices:read")];
                    let answer = credential.ask(&tenant.connections, &replica.url, &form).await.expect("an answer");
                    let token = answer.token();
                    let mut told: Vec<(&str, String)> =
                        verifiers.iter_mut().map(|verifier| (verifier.name, verifier.ask(token))).collect();
                    told.push(("mod_oauth2", apache.ask(token).await));
                    accepted += told.iter().filter(|(_, told)| told == "ok").count();
                    refused.extend(told.into_iter().filter(|(_, told)| told != "ok"));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            () = over => {}
            () = verifying => {}
        }
    }
    assert!(refused.is_empty() && accepted > 500, "{} of {accepted}: {refused:#?}", refused.len());
    let forged = "a.b.c";
    assert!(verifiers.iter_mut().all(|verifier| verifier.ask(forged) != "ok"), "they accept anything");
    assert_ne!(apache.ask(forged).await, "ok");
}

/// jose, PyJWT and the authenticator of kube-apiserver with the keys of this replica.
fn programs(cluster: &Cluster, replica: &str, folder: &Path) -> Vec<Verifier> {
    std::fs::create_dir(folder).expect("a folder");
    let clients = installed();
    let ca = cluster.ca_file();
    let with = |mut command: Command| {
        for variable in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            command.env(variable, &ca);
        }
        command.env("JWKS_URI", format!("{replica}/oauth2/jwks")).env("ISSUER_URI", cluster.issuer());
        command.env("AUDIENCE", AUDIENCE).env("MAX_AGE", MAX_AGE).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    let discovery = format!("{replica}/.well-known/openid-configuration");
    let changes = [
        ("https://postern.example.com", format!("{}\n      discoveryURL: {discovery}", cluster.issuer())),
        ("https://kubernetes.example.com", AUDIENCE.to_owned()),
        (
            r#""-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n""#,
            json!(String::from_utf8_lossy(cluster.ca())).to_string(),
        ),
    ];
    let config = folder.join("authentication.yaml");
    std::fs::write(&config, example("resource-servers/kube-apiserver.yaml", &changes)).expect("write a file");
    let mut kubernetes = command(&Path::new(&clients).join("kube-authenticator"), &[]);
    kubernetes.env("AUTHENTICATION_CONFIG", config);
    let python = Path::new(&clients).join("venv/bin/python");
    let script = |name: &str| format!("{clients}/{name}");
    vec![
        Verifier::start("jose", with(command(Path::new("node"), &[&script("node/cached_keys.js")]))),
        Verifier::start("PyJWT", with(command(&python, &[&script("python/cached_keys.py")]))),
        Verifier::start("kube-apiserver", with(kubernetes)),
    ]
}

/// A program that answers each line with a line.
struct Verifier {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Verifier {
    fn start(name: &'static str, mut command: Command) -> Self {
        let mut process = command.spawn().expect("start a verifier");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self { name, process, input, output }
    }

    fn ask(&mut self, token: &str) -> String {
        writeln!(self.input, "{token}").expect("it reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it answers");
        answer.trim().to_owned()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Apache with mod_oauth2, which verifies offline.
struct Apache {
    url: String,
    _process: Process,
}

impl Apache {
    async fn start(tenant: &TestNamespace, folder: &Path) -> Self {
        std::fs::create_dir(folder).expect("a folder");
        let replica = tenant.cluster.replicas[1].url.replace("127.0.0.1", "localhost");
        let (address, inner) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let api: Credential = tenant.api().await;
        let changes = [
            ("https://postern.postern-system.svc/oauth2/", format!("{replica}/oauth2/")),
            ("https://postern.postern-system.svc", tenant.cluster.issuer().to_owned()),
            ("jwks_uri.expiry=300", format!("jwks_uri.expiry={MAX_AGE}")),
            ("Listen 8080", format!("Listen {address}")),
            ("*:8080", address.clone()),
            ("127.0.0.1:8082", inner),
            ("http://127.0.0.1:8081", start_api(&[]).await),
            ("/etc/oauth-ca/ca.crt", tenant.cluster.ca_file().display().to_string()),
        ];
        let process = start_apache(folder, &example("resource-servers/apache.conf", &changes), &api);
        let apache = Self { url: format!("http://{address}/reports"), _process: process };
        eventually("Apache answers", async || {
            http::get(&http::trusting(b""), &apache.url).await.map_err(|error| format!("{error}: {}", folder.display()))
        })
        .await;
        apache
    }

    async fn ask(&self, token: &str) -> String {
        let request = Request::get(&self.url).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = http::send(&http::trusting(b""), request.body(Body::empty()).expect("a request")).await;
        match answer.expect("an answer").status.as_u16() {
            200 => "ok".to_owned(),
            status => status.to_string(),
        }
    }
}
