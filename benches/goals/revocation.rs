//! Time from the answer to a revocation until no replica accepts what was revoked: a token, which a client revokes at one
//! replica, and a secret, which an admin revokes in the API.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, namespace};
use crate::endpoint::{SHAPE, Subject};
use crate::http::{Connection, INTROSPECT, REVOKE, Target};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median, percentile};

/// Every replica knows within this long.
const LIMIT_MS: f64 = 1000.0;
/// Pause between two attempts.
const POLL: Duration = Duration::from_millis(1);
/// A revocation that takes longer has failed.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Issued {
    access_token: String,
}

#[derive(Deserialize)]
struct Introspected {
    active: bool,
}

/// Measures both with two replicas. Secrets come last: nothing can be done with them after that.
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
    tokens(subject, &mut connections).await?;
    secrets(cluster, subject, &mut connections).await
}

/// Each client revokes a token at one replica, and asks the other until that one says that it has ended.
async fn tokens(subject: &Subject, connections: &mut [Connection]) -> Result<()> {
    let [one, other] = connections else { return Err("two replicas are needed".into()) };
    let mut took = Vec::new();
    for (number, body) in subject.bodies().into_iter().enumerate() {
        let (_, issued) = one.token(&Bytes::from(body)).await?;
        let token = serde_json::from_slice::<Issued>(&issued)?.access_token;
        let form = subject.form(number, "token", &token)?;
        if !is_active(other, &form).await? {
            return Err(format!("the token of client {number} is not active before it is revoked").into());
        }
        let (status, _) = one.post(REVOKE, &form).await?;
        if status != StatusCode::OK {
            return Err(format!("the revocation of client {number} is answered with {status}").into());
        }
        let revoked = Instant::now();
        tokio::time::timeout(REVOCATION_TIMEOUT, inactive(other, &form)).await??;
        took.push(revoked.elapsed().as_secs_f64() * 1000.0);
    }
    let what = "From the revocation of a token at one replica to the last acceptance by the other";
    compare(format!("{what}, 99 %"), percentile(&mut took, 99), "ms", Goal::AtMost(LIMIT_MS))?;
    note("the same, median", median(took), "ms")
}

async fn inactive(connection: &mut Connection, form: &Bytes) -> Result<()> {
    while is_active(connection, form).await? {
        sleep(POLL).await;
    }
    Ok(())
}

async fn is_active(connection: &mut Connection, form: &Bytes) -> Result<bool> {
    let (_, told) = connection.post(INTROSPECT, form).await?;
    Ok(serde_json::from_slice::<Introspected>(&told)?.active)
}

/// Revokes one secret after the other, and asks both replicas for a token with each until both refuse.
async fn secrets(cluster: &Cluster, subject: &Subject, connections: &mut [Connection]) -> Result<()> {
    let mut took = Vec::new();
    for (number, body) in subject.bodies().into_iter().enumerate() {
        let body = Bytes::from(body);
        for connection in &mut *connections {
            // Accepted, and remembered as such.
            let (status, _) = connection.token(&body).await?;
            if status != StatusCode::OK {
                return Err(format!("secret-{number} is answered with {status} before it is revoked").into());
            }
        }
        let namespace = namespace(SHAPE.application_of(number) % SHAPE.namespaces);
        cluster.revoke(&namespace, &format!("secret-{number}")).await?;
        let revoked = Instant::now();
        for connection in &mut *connections {
            tokio::time::timeout(REVOCATION_TIMEOUT, refused(connection, &body)).await??;
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
