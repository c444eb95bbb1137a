//! From the API server's answer to a revocation until no replica accepts the secret any more.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, namespace};
use crate::endpoint::{SHAPE, Subject};
use crate::http::{Connection, Target};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median};

/// Every replica refuses within this long.
const LIMIT_MS: f64 = 1000.0;
/// Pause between two attempts.
const POLL: Duration = Duration::from_millis(1);
/// A revocation that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Revokes one secret after the other, and asks two replicas for a token with each until both refuse.
pub async fn measure(cluster: &Cluster, subject: &Subject) -> Result<()> {
    let names = ["revoking-0", "revoking-1"];
    let replicas = names.map(|name| Replica::new(name, &subject.issuer, false));
    let [first, second] = replicas;
    let replicas = [first?, second?];
    let _running = [replicas[0].start(None)?, replicas[1].start(None)?];
    let mut connections = Vec::new();
    for replica in &replicas {
        replica.ready().await?;
        let target = Target { address: replica.listen, ca: Some(subject.ca.clone()) };
        connections.push(Connection::open(target.address, target.tls()?.as_ref()).await?);
    }
    let mut took = Vec::new();
    for (number, body) in subject.bodies().into_iter().enumerate() {
        let body = Bytes::from(body);
        for connection in &mut connections {
            // Accepted, and remembered as such.
            let (status, _) = connection.token(&body).await?;
            if status != StatusCode::OK {
                return Err(format!("secret-{number} is answered with {status} before it is revoked").into());
            }
        }
        let namespace = namespace(SHAPE.application_of(number) % SHAPE.namespaces);
        cluster.revoke(&namespace, &format!("secret-{number}")).await?;
        let revoked = Instant::now();
        for connection in &mut connections {
            tokio::time::timeout(PATIENCE, refused(connection, &body)).await??;
        }
        took.push(revoked.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    compare("(e) From a revocation to the last acceptance by two replicas, 99 %", p99, "ms", Goal::AtMost(LIMIT_MS))?;
    note("(e) the same, median", median(took), "ms")
}

async fn refused(connection: &mut Connection, body: &Bytes) -> Result<()> {
    while connection.token(body).await?.0 == StatusCode::OK {
        sleep(POLL).await;
    }
    Ok(())
}
