//! The generator: keep-alive connections, each with one request in flight, for a fixed time.
//!
//! It is a separate process so that it can have a dedicated core, apart from the server that it measures.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::http::{Connection, Target};
use crate::operator::{Process, pinned};
use crate::proof::ProofKey;
use crate::{Result, machine};

/// Enough to keep one core of a server busy without a queue that makes latency meaningless.
const CONNECTIONS: usize = 16;
/// In which connections are made, secrets are hashed for the first time and the allocator finds its size.
const WARM_UP: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, Deserialize, Serialize)]
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// The path that is posted to.
    pub path: String,
    /// Its process, whose processor time is read.
    pub pid: u32,
    /// File with the bodies of the requests (JSON list); they are taken in turn.
    pub bodies: std::path::PathBuf,
    /// The URL for which each request has a DPoP proof; `None`: no proofs.
    pub proofs_for: Option<String>,
    /// How long to measure.
    pub seconds: f64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Answers other than 200.
    pub refused: u64,
    /// Processor time of the server per second of the measurement: below 1 its core was not its own.
    pub server_cpu: f64,
    /// Latency in µs: median and 99 %.
    pub latency_us: (f64, f64),
}

impl Outcome {
    /// Tokens per second of the server's processor time.
    pub fn per_cpu_second(&self) -> f64 {
        self.tokens_per_second / self.server_cpu
    }
}

impl Plan {
    /// Carries it out in a separate process on `core`.
    pub fn execute(&self, core: usize) -> Result<Outcome> {
        let mut command = pinned(core, &std::env::current_exe()?);
        command.arg("load").arg(serde_json::to_string(self)?).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("the generator ended with {}", output.status).into());
        }
        let outcome: Outcome = serde_json::from_slice(&output.stdout)?;
        if outcome.refused > 0 {
            return Err(format!("{} requests were refused: {}", outcome.refused, self.target.address).into());
        }
        Ok(outcome)
    }
}

impl Plan {
    /// Starts to carry it out, for nothing but the load.
    pub fn start(&self, core: usize, log: &str) -> Result<Process> {
        let mut command = pinned(core, &std::env::current_exe()?);
        command.arg("load").arg(serde_json::to_string(self)?);
        Process::start(command, log)
    }
}

/// The process itself.
pub fn run(plan: &Plan) -> Result<()> {
    let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(generate(plan))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn generate(plan: &Plan) -> Result<Outcome> {
    let bodies: Vec<String> = serde_json::from_slice(&std::fs::read(&plan.bodies)?)?;
    let bodies: Arc<[Bytes]> = bodies.into_iter().map(Bytes::from).collect();
    let tls = plan.target.tls()?;
    let proofs = match &plan.proofs_for {
        Some(url) => Some((ProofKey::generate()?, url.clone())),
        None => None,
    };
    let proofs = Arc::new(proofs);
    let from = Instant::now() + WARM_UP;
    let until = from + Duration::from_secs_f64(plan.seconds);
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (tls, address, bodies, path) = (tls.clone(), plan.target.address, bodies.clone(), plan.path.clone());
        let proofs = Arc::clone(&proofs);
        connections.spawn(async move {
            let connection = Connection::open(address, tls.as_ref()).await?;
            one_after_another(connection, &path, (&bodies, proofs.as_ref().as_ref()), number, from, until).await
        });
    }
    sleep_until(from).await;
    let (cpu_before, begun) = (machine::cpu_seconds(plan.pid)?, Instant::now());
    sleep_until(until).await;
    let (cpu_after, elapsed) = (machine::cpu_seconds(plan.pid)?, begun.elapsed().as_secs_f64());
    let (mut latencies, mut refused) = (Vec::new(), 0);
    while let Some(done) = connections.join_next().await {
        let (of_one, refused_of_one) = done??;
        latencies.extend(of_one);
        refused += refused_of_one;
    }
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).map_or(f64::NAN, |us| f64::from(*us));
    Ok(Outcome {
        tokens_per_second: f64::from(u32::try_from(latencies.len())?) / plan.seconds,
        refused,
        server_cpu: (cpu_after - cpu_before) / elapsed,
        latency_us: (at(50), at(99)),
    })
}

/// The latencies, in µs, of the requests that ended in the time that counts, and the number of those refused.
async fn one_after_another(
    mut connection: Connection,
    path: &str,
    (bodies, proofs): (&[Bytes], Option<&(ProofKey, String)>),
    first: usize,
    from: Instant,
    until: Instant,
) -> Result<(Vec<u32>, u64)> {
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for body in bodies.iter().cycle().skip(first * bodies.len() / CONNECTIONS) {
        let proof = proofs.map(|(key, url)| key.proof(url)).transpose()?;
        let sent = Instant::now();
        let (status, _) = connection.post_with(path, body, proof.as_deref()).await?;
        let now = Instant::now();
        if now >= until {
            break;
        }
        if status != StatusCode::OK {
            refused += 1;
        } else if now >= from {
            latencies.push(u32::try_from((now - sent).as_micros())?);
        }
    }
    Ok((latencies, refused))
}
