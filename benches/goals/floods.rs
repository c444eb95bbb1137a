//! What an honest client notices of each flood: the 99th percentile of its token requests, idle and beside the flood, and
//! how much memory the replica takes.
//!
//! The replica has the chart's memory and a dedicated core; the flood is a process on the other core.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::attack::{Shape, Target};
use crate::cgroup::{MemoryGroup, anonymous_memory};
use crate::cluster::Cluster;
use crate::endpoint::{self, Subject};
use crate::http::{self, Connection};
use crate::operator::{Process, Replica, pinned};
use crate::report::{Goal, compare, note};
use crate::{Result, percentile};

/// The limit of the chart's container.
const MEMORY_MIB: u64 = 256;
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 3);
/// In which the connections of a flood are made.
const BUILD_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(5);
/// An honest client's pause between two requests: it is to wait for the server, not to load it.
const PAUSE: Duration = Duration::from_millis(5);

/// A flood, for a separate process.
#[derive(Debug, Deserialize, Serialize)]
pub struct Plan {
    target: http::Target,
    client_id: String,
    /// Number of the shape.
    shape: usize,
}

/// Measures the section.
pub async fn measure() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let subject = endpoint::subject(&cluster).await?;
    let group = MemoryGroup::create(&format!("postern-bench-{}", std::process::id()), MEMORY_MIB * 1024 * 1024);
    note("floods: the replica is in a memory cgroup (1: yes)", f64::from(u8::from(group.is_some())), "")?;
    let replica = Replica::new("flooded", &subject.issuer, false)?;
    let limit = format!("{MEMORY_MIB}Mi");
    let process = replica.start_limited(Some(0), &limit, group.as_ref().map(MemoryGroup::path))?;
    replica.ready().await?;
    let target = http::Target { address: replica.listen, ca: Some(subject.ca.clone()) };
    let tls = target.tls()?.ok_or("a certificate")?;
    let (mut idle, _) = honest(&process, &target, &tls, &subject).await?;
    let idle = percentile(&mut idle, 99);
    note("floods: p99 of an honest client, idle", idle, "ms")?;
    let client_id = subject.credentials.first().map(|(id, _)| id.clone()).unwrap_or_default();
    for (number, shape) in Shape::ALL.iter().enumerate() {
        let plan = Plan { target: target.clone(), client_id: client_id.clone(), shape: number };
        let mut command = pinned(1, &std::env::current_exe()?);
        command.arg("flood").arg(serde_json::to_string(&plan)?).stdin(Stdio::null());
        let flood = Process::start(command, "flood.log")?;
        tokio::time::sleep(BUILD_UP).await;
        let (mut beside, memory) = honest(&process, &target, &tls, &subject).await?;
        drop(flood);
        let p99 = percentile(&mut beside, 99);
        compare(format!("floods: p99 beside {shape:?}, of idle"), p99 / idle, "", Goal::AtMost(2.0))?;
        compare(format!("floods: memory beside {shape:?}"), memory, "MiB", Goal::AtMost(256.0))?;
    }
    Ok(())
}

/// The latencies of one client in ms, and the peak memory of the replica in MiB.
async fn honest(
    process: &Process,
    target: &http::Target,
    tls: &TlsConnector,
    subject: &Subject,
) -> Result<(Vec<f64>, f64)> {
    let (body, until) = (subject.body(), Instant::now() + MEASURED);
    let (mut latencies, mut most) = (Vec::new(), 0);
    let mut connection = Connection::open_from(HONEST, target.address, tls).await?;
    while Instant::now() < until {
        let began = Instant::now();
        let (status, _) = ask(&mut connection, &body, target, tls).await?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
        if status != StatusCode::OK {
            return Err(format!("an honest request got {status}").into());
        }
        most = most.max(anonymous_memory(process.pid()).ok_or("the replica has ended")?);
        tokio::time::sleep(PAUSE).await;
    }
    Ok((latencies, f64::from(u32::try_from(most / 1024)?) / 1024.0))
}

/// Sends a request; on a new connection if the old one is closed, as every client does.
async fn ask(
    connection: &mut Connection,
    body: &Bytes,
    target: &http::Target,
    tls: &TlsConnector,
) -> Result<(StatusCode, Bytes)> {
    if let Ok(answer) = connection.token(body).await {
        return Ok(answer);
    }
    *connection = Connection::open_from(HONEST, target.address, tls).await?;
    connection.token(body).await
}

/// The flood itself, which also ends without a signal.
pub fn run(plan: &Plan) -> Result<()> {
    let shape = *Shape::ALL.get(plan.shape).ok_or("no such shape")?;
    let connector = |alpn| -> Result<TlsConnector> { plan.target.tls_with(alpn)?.ok_or("a certificate".into()) };
    let tls = [connector(&b"http/1.1"[..])?, connector(&b"h2"[..])?];
    let client_id = plan.client_id.as_str().into();
    let target = Target { address: plan.target.address, source: STRANGER, client_id, tls };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(target.flood(shape, Instant::now() + BUILD_UP + 2 * MEASURED));
    Ok(())
}
