//! What the rotation of the install key does to tokens while 10,000 verifiers move, and how long a dropped signing key is
//! accepted.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use postern::api::ClientSecret;
use postern::api::key_records::{KeyRecords, KeyState};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::bulk_create::{DEEP, latencies, settle};
use crate::cluster::{Cluster, namespace};
use crate::http::{Connection, INTROSPECT, Target};
use crate::operator::{NAMESPACE, Process, Replica};
use crate::report::{Goal, compare, note};
use crate::{Result, endpoint, percentile};

const ISSUER: &str = "https://postern.example.com";
const INSTALL_KEY: &str = "postern-install-key";
const SIGNING_KEYS: &str = "postern-signing-keys";
/// How much longer tokens may take while verifiers move than when nothing does.
const BUSY_RATIO: f64 = 2.0;
/// How long nothing is measured.
const IDLE: Duration = Duration::from_secs(10);
/// Signing keys that are dropped.
const DROPS: usize = 12;
/// No replica accepts a dropped key for longer.
const LIMIT_MS: f64 = 1000.0;
const POLL: Duration = Duration::from_millis(1);
/// A next key can be ready after this time.
const KEY_READY_WITHIN: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct Issued {
    access_token: String,
}

/// Measures both with two replicas.
pub async fn measure() -> Result<()> {
    let shape = DEEP.shape();
    let cluster = Cluster::connect().await?;
    let [first, second] = ["keys-0", "keys-1"].map(|name| Replica::new(name, ISSUER, false));
    let replicas = [first?, second?];
    let start = |replica: &Replica| replica.start_with(None, &["--jwks-max-age", "1s"]);
    let running = [start(&replicas[0])?, start(&replicas[1])?];
    for replica in &replicas {
        replica.ready().await?;
    }
    cluster.prepare(shape).await?;
    let ready = cluster.all_ready(shape.secrets);
    cluster.users(shape).await?;
    cluster.applications(shape).await?;
    cluster.secrets(shape).await?;
    ready.await??;
    let secret = cluster.delivered(&namespace(0), "secret-0").await?.data.unwrap_or_default();
    let text =
        |name: &str| -> Result<String> { Ok(String::from_utf8(secret.get(name).ok_or("no such key")?.0.clone())?) };
    let body = Bytes::from(endpoint::body(&text("client-id")?, &text("client-secret")?));
    let ca = cluster.operator_ca().await?;
    let mut connections = Vec::new();
    for replica in &replicas {
        let target = Target { address: replica.listen, ca: Some(ca.clone()) };
        connections.push(Connection::open(target.address, target.tls()?.as_ref()).await?);
    }
    let keys = Keys(Api::namespaced(cluster.client(), NAMESPACE));
    let first = connections.first_mut().ok_or("no connection")?;
    verifiers(&cluster, &keys, &running, shape.secrets, first, &body).await?;
    drops(&keys, &mut connections, &body).await
}

/// Rotates the install key.
async fn verifiers(
    cluster: &Cluster,
    keys: &Keys,
    running: &[Process],
    number: usize,
    connection: &mut Connection,
    body: &Bytes,
) -> Result<()> {
    settle(running).await?;
    let until = Instant::now() + IDLE;
    let mut idle = latencies(connection, body, || Instant::now() >= until).await?;
    let old = keys.in_state(INSTALL_KEY, KeyState::Active).await?.ok_or("no active install key")?;
    let moved = cluster.wait_for(number, move |secret: &ClientSecret| {
        let newest = secret.status.as_ref().and_then(|status| status.versions.first());
        let verifier = newest.and_then(|newest| newest.verification.verifier.as_deref());
        verifier.is_some_and(|verifier| verifier.split('.').nth(1) != Some(old.as_str()))
    });
    keys.annotate(INSTALL_KEY, "rotate", "now").await?;
    let started = Instant::now();
    let mut busy = latencies(connection, body, || moved.is_finished()).await?;
    let took = (moved.await?? - started).as_secs_f64();
    let (busy, idle) = (percentile(&mut busy, 99), percentile(&mut idle, 99));
    note("10,000 verifiers: under another install key after", took, "s")?;
    compare("10,000 verifiers: latency of tokens meanwhile / idle, 99 %", busy / idle, "", Goal::AtMost(BUSY_RATIO))?;
    note("10,000 verifiers: latency of tokens meanwhile, 99 %", busy, "ms")?;
    note("10,000 verifiers: latency of tokens when idle, 99 %", idle, "ms")
}

/// Drops the key that signs, again and again, and asks both replicas for a token of it until both refuse.
async fn drops(keys: &Keys, connections: &mut [Connection], body: &Bytes) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..DROPS {
        keys.next_is_ready().await?;
        let (status, issued) = connections.first_mut().ok_or("no connection")?.token(body).await?;
        if status != StatusCode::OK {
            return Err(format!("a token was refused with {status}").into());
        }
        let token = serde_json::from_slice::<Issued>(&issued)?.access_token;
        let mut form = form_urlencoded::Serializer::new(String::from_utf8(body.to_vec())?);
        let form = Bytes::from(form.append_pair("token", &token).finish());
        let active = keys.in_state(SIGNING_KEYS, KeyState::Active).await?.ok_or("no active signing key")?;
        keys.annotate(SIGNING_KEYS, "drop", &active).await?;
        let answered = Instant::now();
        for connection in &mut *connections {
            while connection.post(INTROSPECT, &form).await?.1.as_ref() != br#"{"active":false}"# {
                sleep(POLL).await;
            }
        }
        took.push(answered.elapsed().as_secs_f64() * 1000.0);
    }
    let worst = percentile(&mut took, 99);
    compare("a dropped signing key: accepted for, 99 %", worst, "ms", Goal::AtMost(LIMIT_MS))?;
    note("a dropped signing key: accepted for, median", percentile(&mut took, 50), "ms")
}

/// The Secrets with the keys of the operator.
struct Keys(Api<Secret>);

impl Keys {
    async fn records(&self, name: &str) -> Result<KeyRecords> {
        let data = self.0.get(name).await?.data.unwrap_or_default();
        Ok(serde_json::from_slice(&data.get("records.json").ok_or("no records")?.0)?)
    }

    /// A key of ES256, or of a Secret with one algorithm.
    async fn in_state(&self, name: &str, state: KeyState) -> Result<Option<String>> {
        let records = self.records(name).await?;
        let algorithm = if name == SIGNING_KEYS { "ES256" } else { postern::crypto::install_key::ALGORITHM };
        Ok(records.in_state(algorithm, state).next().map(|key| key.id.clone()))
    }

    async fn annotate(&self, name: &str, annotation: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {format!("postern.dev/{annotation}"): value}}});
        self.0.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Waits until a key can take the place of the one that signs.
    async fn next_is_ready(&self) -> Result<()> {
        let deadline = Instant::now() + KEY_READY_WITHIN;
        while Instant::now() < deadline {
            let records = self.records(SIGNING_KEYS).await?;
            if records.in_state("ES256", KeyState::Next).any(|key| key.ready_at.is_some()) {
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
        Err(format!("no next key is ready after {KEY_READY_WITHIN:?}").into())
    }
}
