//! Strangers flood a replica that has the memory of the chart's container: it survives, and serves everybody else.

#[path = "../../benches/goals/attack.rs"]
mod attack;
#[path = "../../benches/goals/cgroup.rs"]
mod cgroup;

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::harness::http::{self, Connections};
use crate::harness::{Cluster, Credential, Part, Process, TestNamespace, checkout, eventually, free_port, output};
use attack::{Shape, Target};
use cgroup::{MemoryGroup, anonymous_memory};

/// The limit of the chart's container.
const MEMORY: u64 = 256 * 1024 * 1024;
/// In which the connections of a flood are made.
const BUILD_UP: Duration = Duration::from_secs(1);
/// How long other clients are served during it.
const BESIDE: Duration = Duration::from_secs(2);
// Another /24: wrong secrets lock the client for the network of the attacker.
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 3);

/// A serving process in a dedicated memory cgroup, or with a limit by flag where there can be none.
struct Flooded {
    url: String,
    process: Process,
    _group: Option<MemoryGroup>,
}

impl Flooded {
    /// `name` is another one for each test of this process.
    async fn start(name: &str, cluster: &Cluster, credential: &Credential, lockout: &str) -> Self {
        let [listen, metrics, health] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let group = MemoryGroup::create(&format!("postern-{name}-{}", std::process::id()), MEMORY);
        let mut command = Command::new("sh");
        command.args(["-c", r#"[ -z "$0" ] || echo $$ >"$0/cgroup.procs"; exec "$@""#]);
        command.arg(group.as_ref().map_or_else(|| "".as_ref(), MemoryGroup::path));
        command.args([env!("CARGO_BIN_EXE_postern"), "serve", "--issuer", cluster.issuer(), "--listen", &listen]);
        command.args(["--metrics-listen", &metrics, "--health-listen", &health]);
        command.args(["--replica-name", name, "--log-level", "error"]);
        // Without lock-out, the guesses of a flood reach the hashes, as those for many clients from many networks do.
        command.args(["--failed-authentications-per-minute", "0", "--hashes-per-second", "0"]);
        command.args(["--lockout-mode", lockout]);
        if group.is_none() {
            command.args(["--memory-limit", &MEMORY.to_string()]);
        }
        command.env("KUBECONFIG", cluster.kubeconfig_of(Part::Serve, &cluster.controlplane.address()));
        let log = cluster.controlplane.scratch().join("flooded.log");
        let process = Process::start("flooded", &command, &log);
        let flooded = Self { url: format!("https://{listen}"), process, _group: group };
        let connections = cluster.connections();
        eventually("the flooded process issues tokens", async || {
            credential.ask(&connections, &flooded.url, &[]).await?.claims().map(drop)
        })
        .await;
        flooded
    }

    /// What it holds of its memory now, if it is alive.
    fn memory(&self) -> u64 {
        let alive = self.process.exit_status().is_none();
        let memory = alive.then(|| anonymous_memory(self.process.pid())).flatten();
        memory.unwrap_or_else(|| panic!("it has ended: {:?}", self.process.exit_status()))
    }
}

/// How clients of this protocol check its certificate.
fn connector(ca: &[u8], alpn: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca).map(|certificate| certificate.unwrap()));
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Asks for tokens and documents, on a new connection now and then; all of it has to be answered.
async fn served(
    flooded: &Flooded,
    credential: &Credential,
    ca: &[u8],
    shape: impl std::fmt::Debug,
    until: Instant,
) -> u64 {
    let (mut most, mut count) = (flooded.memory(), 0);
    while Instant::now() < until || count == 0 {
        let connections: Connections = http::trusting_from(ca, HONEST.into());
        for _ in 0..5 {
            let answer = credential.ask(&connections, &flooded.url, &[]).await;
            let answer = answer.unwrap_or_else(|error| panic!("{shape:?}: {error}"));
            answer.claims().unwrap_or_else(|refusal| panic!("{shape:?}: refused: {refusal}"));
            most = most.max(flooded.memory());
        }
        let keys = http::get(&connections, &format!("{}/oauth2/jwks", flooded.url)).await;
        assert_eq!(keys.unwrap_or_else(|error| panic!("{shape:?}: {error}")).status, StatusCode::OK, "{shape:?}");
        count += 1;
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_the_memory_of_the_chart_survives_every_flood_and_serves_other_clients() {
    let cluster = Cluster::split(1, 1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "floods", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let flooded = Flooded::start("floods", &cluster, &credential, "Disabled").await;
    for shape in Shape::ALL {
        survives(&flooded, &cluster, &credential, shape).await;
    }
}

/// Floods the replica, which serves the honest client and keeps its memory.
async fn survives(flooded: &Flooded, cluster: &Cluster, credential: &Credential, shape: Shape) {
    let stranger = Target {
        address: flooded.url.trim_start_matches("https://").parse().unwrap(),
        source: STRANGER,
        client_id: credential.key("client-id").into(),
        tls: [connector(cluster.ca(), b"http/1.1"), connector(cluster.ca(), b"h2")],
    };
    let until = Instant::now() + BUILD_UP + BESIDE;
    let flood = tokio::spawn(async move { stranger.flood(shape, until).await });
    tokio::time::sleep(BUILD_UP).await;
    let most = served(flooded, credential, cluster.ca(), shape, until).await;
    assert!(most < MEMORY, "{shape:?}: {most} bytes");
    flood.await.unwrap();
}

/// Sends another wrong secret with each request.
const GUESSES: &str = r#"
local number = 0
request = function()
    number = number + 1
    local body = "grant_type=client_credentials&client_id=CLIENT&client_secret=a+wrong+secret+" .. number
    return wrk.format("POST", "/oauth2/token", {["Content-Type"] = "application/x-www-form-urlencoded"}, body)
end
"#;

/// What h2load, slowhttptest and wrk do with these arguments.
fn third_party(url: &str, guesses: &str, body: &str) -> Vec<(&'static str, Vec<String>)> {
    let seconds = (BUILD_UP + BESIDE).as_secs().to_string();
    let (token, keys) = (format!("{url}/oauth2/token"), format!("{url}/oauth2/jwks"));
    let slow = ["-c", "2000", "-r", "2000", "-i", "1", "-l", &seconds, "-u"];
    let load = ["-t", "1", "-c", "64", "-m", "100", "-D", &seconds];
    let plain = ["-t", "1", "-c", "256", "-d", &seconds];
    let arguments = |parts: &[&[&str]]| parts.concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    vec![
        ("slowhttptest", arguments(&[&["-H"], &slow, &[&token]])),
        ("slowhttptest", arguments(&[&["-B"], &slow, &[&token]])),
        ("slowhttptest", arguments(&[&["-X", "-w", "1", "-y", "64", "-k", "8"], &slow, &[&keys]])),
        ("h2load", arguments(&[&load, &[&keys]])),
        ("h2load", arguments(&[&load, &["-d", body, "-H", "content-type: application/x-www-form-urlencoded", &token]])),
        ("wrk", arguments(&[&plain, &[&keys]])),
        ("wrk", arguments(&[&plain, &["-s", guesses, url]])),
    ]
}

/// The callers of a flood have another address than the honest client. Its time is measured by `hack/bench floods`.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_the_memory_of_the_chart_survives_the_floods_of_third_party_tools() {
    let tools = output(&mut Command::new(checkout().join("hack/fetch-flood-tools")));
    let cluster = Cluster::split(1, 1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "flood-tools", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let flooded = Flooded::start("flood-tools", &cluster, &credential, "Enabled").await;
    let file = |name: &str, text: &str| {
        let path = cluster.controlplane.scratch().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let id = credential.key("client-id");
    let guesses = file("guesses.lua", &GUESSES.replace("CLIENT", id));
    let body = file("guess", &format!("grant_type=client_credentials&client_id={id}&client_secret=a+wrong+secret"));
    for (tool, arguments) in third_party(&flooded.url, &guesses, &body) {
        let mut command = Command::new(format!("{}/{tool}", tools.trim()));
        let log = cluster.controlplane.scratch().join(format!("{tool}.log"));
        let flood = Process::start(tool, command.args(&arguments), &log);
        let until = Instant::now() + BUILD_UP + BESIDE;
        tokio::time::sleep(BUILD_UP).await;
        let most = served(&flooded, &credential, cluster.ca(), (tool, &arguments), until).await;
        assert!(most < MEMORY, "{tool} {arguments:?}: {most} bytes");
        flood.ended().await;
        // A flood that does not reach the replica proves nothing.
        let told = std::fs::read_to_string(&log).unwrap();
        let reached = ["requests in", "succeeded,", "connected:", "Exit status"].iter().any(|sign| told.contains(sign));
        assert!(reached && !told.contains("unable to connect"), "{tool} {arguments:?}: {told}");
    }
    // The owner is not in one of the thousand networks that are locked now.
    survives(&flooded, &cluster, &credential, Shape::ManyNetworks).await;
    tenant.wait_condition("Application", "sync", "Locked", "True", "").await;
}
