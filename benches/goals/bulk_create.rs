//! Ten thousand ClientSecrets at once: how long until all are Ready, and the memory of the replicas that hold them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use postern::api::Application;
use rcgen::KeyPair;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use hyper::StatusCode;
use hyper::body::Bytes;

use crate::apiserver_baseline::{self, Credential};
use crate::cluster::{Cluster, Shape, namespace};
use crate::http::{Connection, Target};
use crate::operator::{NAMESPACE, Process, Replica};
use crate::report::{Goal, compare, note};
use crate::{Result, endpoint, machine, percentile, variable};

/// Two writes for each of 10,000 ClientSecrets, and three times as long as they take at the rate of raw creates.
const WRITES: f64 = 20_000.0;
const GOAL_FACTOR: f64 = 3.0;
/// Resident memory with 10,000 credentials.
const MEMORY_MIB: f64 = 60.0;
/// How much longer tokens may take while ten thousand secrets rotate than when nothing does.
const BUSY_RATIO: f64 = 2.0;
/// How long nothing is measured.
const IDLE: Duration = Duration::from_secs(10);
/// Replicas are settled when they use less than this much of a core for this long. Not nothing: the leader
/// writes an event for each credential, at a low rate for minutes.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_CORES: f64 = 0.1;
const SETTLED_WITHIN: Duration = Duration::from_mins(2);

/// What is applied.
pub struct Burst {
    name: &'static str,
    shape: Shape,
    /// Whether users and applications are applied in the same burst, or are there and settled before it.
    everything: bool,
}

/// The case that the goal is about: a platform with 500 applications that have 20 secrets each.
pub const DEEP: Burst = Burst {
    name: "500 Applications × 20",
    shape: Shape { groups: 5, namespaces: 20, users: 500, applications: 500, secrets: 10_000 },
    everything: false,
};

/// The hardest case: as many applications as secrets, and all of them in the same burst, as when a cluster is restored.
pub const WIDE: Burst = Burst {
    name: "10,000 Applications × 1, all at once",
    shape: Shape { groups: 5, namespaces: 20, users: 500, applications: 10_000, secrets: 10_000 },
    everything: true,
};

impl Burst {
    /// What is there after it.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Seconds that the goal allows on an API server that makes so many raw Secrets a second.
fn allowed(rate: f64) -> f64 {
    GOAL_FACTOR * WRITES / rate
}

/// Measures one burst on an empty control plane.
pub async fn measure(burst: &Burst) -> Result<()> {
    let Burst { name, shape, everything } = burst;
    let cluster = Cluster::connect().await?;
    let names = ["replica-0", "replica-1"];
    let [first, second] = names.map(|name| Replica::new(name, "https://postern.example.com", false));
    let replicas = [first?, second?];
    let processes = [replicas[0].start(None)?, replicas[1].start(None)?];
    for replica in &replicas {
        replica.ready().await?;
    }
    let empty = machine::memory_mib(processes[0].pid())?.0;
    cluster.prepare(shape).await?;
    if !everything {
        let ready = cluster.applications_ready(shape.applications);
        cluster.users(shape).await?;
        cluster.applications(shape).await?;
        ready.await??;
        settle(&processes).await?;
    }
    let before = cluster.raw_rate("before").await?;
    let ready = cluster.all_ready(shape.secrets);
    let audit = AuditLog::from_now()?;
    let started = Instant::now();
    if *everything {
        cluster.users(shape).await?;
        cluster.applications(shape).await?;
    }
    cluster.secrets(shape).await?;
    let applied = started.elapsed().as_secs_f64();
    let took = (ready.await?? - started).as_secs_f64();
    settle(&processes).await?;
    let settled = started.elapsed().as_secs_f64() - QUIET.as_secs_f64();
    let after = cluster.raw_rate("after").await?;

    let rate = f64::midpoint(before, after);
    compare(format!("(b) {name}: all Ready after"), took, "s", Goal::AtMost(allowed(rate)))?;
    note(format!("(b) {name}: W, raw creates before"), before, "/s")?;
    note(format!("(b) {name}: W, raw creates after"), after, "/s")?;
    note(format!("(b) {name}: the generator had applied all after"), applied, "s")?;
    note(format!("(b) {name}: settled after"), settled, "s")?;
    for (request, number) in audit.requests_of_the_operator()? {
        note(format!("(b) {name}: operator: {request}"), number, "")?;
    }
    note(format!("(c) {name}: memory of a replica without objects"), empty, "MiB")?;
    memory(burst, &cluster, &replicas, processes, empty).await
}

async fn memory(
    Burst { name, shape, everything }: &Burst,
    cluster: &Cluster,
    replicas: &[Replica; 2],
    processes: [Process; 2],
    empty: f64,
) -> Result<()> {
    let holder = cluster.leader().await?;
    let leads = |replica: &&Replica| Some(&replica.name) == holder.as_ref();
    for (replica, process) in replicas.iter().zip(&processes) {
        let (now, highest) = machine::memory_mib(process.pid())?;
        let role = if leads(&replica) { "leader" } else { "standby" };
        let what = format!("(c) {name}: memory of the {role}");
        if role == "leader" {
            compare(&what, now, "MiB", Goal::AtMost(MEMORY_MIB))?;
        } else {
            note(&what, now, "MiB")?;
            let clients = f64::from(u32::try_from(shape.applications)?);
            if *everything {
                note("10,000 clients: memory of one that has one secret", (now - empty) * 1024.0 / clients, "KiB")?;
            }
        }
        note(format!("{what}, at its highest"), highest, "MiB")?;
        note(format!("(b) {name}: processor time of the {role}"), machine::cpu_seconds(process.pid())?, "s")?;
    }
    // The same replica once more: it gets the lease at once, reads everything and reconciles everything.
    drop(processes);
    let leader = replicas.iter().find(leads).ok_or("nobody holds the lease")?;
    let started = Instant::now();
    let process = [leader.start(None)?];
    leader.ready().await?;
    note(format!("(d) {name}: ready after a restart"), started.elapsed().as_secs_f64(), "s")?;
    settle(&process).await?;
    let (now, highest) = machine::memory_mib(process[0].pid())?;
    compare(format!("(c) {name}: memory of the leader after a restart"), now, "MiB", Goal::AtMost(MEMORY_MIB))?;
    note(format!("(c) {name}: memory of the leader after a restart, at its highest"), highest, "MiB")?;
    if *everything {
        return memory_of_keys(cluster, shape, (leader, process), now).await;
    }
    drop(process);
    let credential = Credential::read(&namespace(0), "secret-0").await?;
    rotations(cluster, shape, leader).await?;
    apiserver_baseline::measure(cluster, &credential, WRITES / 2.0, allowed).await
}

/// What a public key in an Application takes in the memory of a replica; `before`: its memory without the keys, in MiB.
async fn memory_of_keys(
    cluster: &Cluster,
    shape: &Shape,
    (leader, process): (&Replica, [Process; 1]),
    before: f64,
) -> Result<()> {
    for number in 0..shape.applications {
        let key = EncodingKey::from_ec_der(&KeyPair::generate()?.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        jwk.common.key_id = Some(format!("key-{number}"));
        let auth = json!({"methods": ["client_secret_basic", "private_key_jwt"], "jwks": {"keys": [jwk]}});
        let (namespace, name) = (namespace(number % shape.namespaces), format!("application-{number}"));
        cluster.change::<Application>(&namespace, &name, &json!({"auth": auth})).await?;
    }
    settle(&process).await?;
    // Started again, like the one without the keys.
    drop(process);
    let process = [leader.start(None)?];
    leader.ready().await?;
    settle(&process).await?;
    let grown = machine::memory_mib(process[0].pid())?.0 - before;
    let kib = grown * 1024.0 / f64::from(u32::try_from(shape.applications)?);
    compare("(f) 10,000 clients: memory of an inline key", kib, "KiB", Goal::AtMost(2.0))
}

/// Ten thousand rotations that are due when the operator starts, and what they do to tokens.
async fn rotations(cluster: &Cluster, shape: &Shape, leader: &Replica) -> Result<()> {
    let secret = cluster.delivered(&namespace(0), "secret-0").await?;
    let field = |name: &str| secret.data.as_ref().and_then(|data| data.get(name)).map(|value| value.0.clone());
    let text = |name: &str| -> Result<String> { Ok(String::from_utf8(field(name).ok_or("no such key")?)?) };
    let body = Bytes::from(endpoint::body(&text("client-id")?, &text("client-secret")?));
    let target = Target { address: leader.listen, ca: Some(cluster.operator_ca().await?) };
    cluster.trigger_rotations(shape).await?;
    let rotated = cluster.all_rotated(shape.secrets);
    let running = [leader.start(None)?];
    leader.ready().await?;
    let started = Instant::now();
    let mut connection = Connection::open(target.address, target.tls()?.as_ref()).await?;
    let mut busy = latencies(&mut connection, &body, || rotated.is_finished()).await?;
    let took = (rotated.await?? - started).as_secs_f64();
    settle(&running).await?;
    let until = Instant::now() + IDLE;
    let mut idle = latencies(&mut connection, &body, || Instant::now() >= until).await?;
    let (busy, idle) = (percentile(&mut busy, 99), percentile(&mut idle, 99));
    note("10,000 rotations due at once: all delivered after", took, "s")?;
    compare("10,000 rotations: latency of tokens meanwhile / idle, 99 %", busy / idle, "", Goal::AtMost(BUSY_RATIO))?;
    note("10,000 rotations: latency of tokens meanwhile, 99 %", busy, "ms")?;
    note("10,000 rotations: latency of tokens when idle, 99 %", idle, "ms")
}

/// Latencies in ms of requests for tokens, some two hundred a second, until `over`.
pub async fn latencies(connection: &mut Connection, body: &Bytes, over: impl Fn() -> bool) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while !over() {
        let sent = Instant::now();
        let (status, _) = connection.token(body).await?;
        latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
        if status != StatusCode::OK {
            return Err(format!("a token was refused with {status}").into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(latencies)
}

/// Returns when the processes have been quiet for a while.
pub async fn settle(processes: &[Process]) -> Result<()> {
    let used = || processes.iter().map(|process| machine::cpu_seconds(process.pid())).sum::<Result<f64>>();
    let deadline = Instant::now() + SETTLED_WITHIN;
    while Instant::now() < deadline {
        let before = used()?;
        sleep(QUIET).await;
        if used()? - before < QUIET.as_secs_f64() * QUIET_CORES {
            return Ok(());
        }
    }
    Err(format!("the operator is not settled after {SETTLED_WITHIN:?}").into())
}

/// What the API server was asked from some instant on.
struct AuditLog(File);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditLine {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    resource: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl AuditLog {
    fn from_now() -> Result<Self> {
        let mut file = File::open(variable("POSTERN_AUDIT_LOG")?)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// What the operator asked, by verb, resource and how it was answered, and how often.
    fn requests_of_the_operator(self) -> Result<BTreeMap<String, f64>> {
        let mut requests = BTreeMap::new();
        let account = format!("system:serviceaccount:{NAMESPACE}:");
        for line in BufReader::new(self.0).lines() {
            let line: AuditLine = serde_json::from_str(&line?)?;
            if !line.user.username.starts_with(&account) {
                continue;
            }
            let Some(object) = line.object_ref else { continue };
            let subresource = object.subresource.map(|name| format!("/{name}")).unwrap_or_default();
            let code = line.response_status.map_or(0, |status| status.code);
            let code = if code < 300 { String::new() } else { format!(" → {code}") };
            *requests.entry(format!("{} {}{subresource}{code}", line.verb, object.resource)).or_default() += 1.0;
        }
        Ok(requests)
    }
}
