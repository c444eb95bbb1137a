//! One AccessGroup changes that ten thousand service users hold: how long until the last of them has what it gives, and
//! how long a request waits during that, at a replica with one core.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Shape, namespace};
use crate::endpoint::body;
use crate::http::Connection;
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median, percentile};

/// As many clients as members; some of them have a secret, by which what they are served is seen.
const SHAPE: Shape = Shape { groups: 1, namespaces: 1, users: 10_000, applications: 10_000, secrets: 100 };
/// Each change gives a scope more.
const CHANGES: usize = 5;
/// Limits.
const SECONDS: f64 = 1.0;
const PAUSE_MS: f64 = 10.0;
/// The leader has a dedicated core, apart from the replica that is measured.
const MEASURED_CORE: usize = 0;
const LEADER_CORE: usize = 1;
/// In which epochs of ten thousand users and applications are written.
const SETTLED: Duration = Duration::from_mins(1);

/// Measures the section.
pub async fn measure() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let leader = Replica::new("leading", "https://postern.example.com", true)?;
    let _leading = leader.start(Some(LEADER_CORE))?;
    leader.ready().await?;
    let ready = cluster.all_ready(SHAPE.secrets);
    cluster.prepare(&SHAPE).await?;
    cluster.users(&SHAPE).await?;
    cluster.applications(&SHAPE).await?;
    cluster.secrets(&SHAPE).await?;
    ready.await??;
    sleep(SETTLED).await;
    let replica = Replica::new("measured", "https://postern.example.com", true)?;
    let _measured = replica.start(Some(MEASURED_CORE))?;
    replica.ready().await?;
    let (first, last) = first_and_last(&cluster).await?;
    let (mut took, mut pauses, mut usual) = (Vec::new(), Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let scope = format!("scope-{change}");
        let asking = tokio::spawn(ask(replica.listen, first.clone()));
        sleep(Duration::from_secs(1)).await;
        let permissions = json!([{"audience": "https://billing.example.com", "scopes": ["read", scope]}]);
        let patch = Patch::Merge(json!({"spec": {"permissions": permissions}}));
        cluster.groups().patch("bench-0", &PatchParams::default(), &patch).await?;
        let changed = Instant::now();
        let mut connection = Connection::open(replica.listen, None).await?;
        let wanted = Bytes::from(format!("{last}&scope={scope}"));
        while connection.token(&wanted).await?.0 != StatusCode::OK {
            sleep(Duration::from_millis(1)).await;
        }
        took.push(changed.elapsed().as_secs_f64());
        let until = Instant::now();
        let mut asked = asking.await??;
        pauses
            .push(asked.iter().filter(|(at, _)| *at >= changed && *at <= until).map(|(_, ms)| *ms).fold(0.0, f64::max));
        let mut before: Vec<f64> = asked.drain(..).filter(|(at, _)| *at < changed).map(|(_, ms)| ms).collect();
        usual.push(percentile(&mut before, 100));
        sleep(SETTLED).await;
    }
    compare("a group with 10,000 members changes: served after", median(took), "s", Goal::AtMost(SECONDS))?;
    compare("… longest wait of a request meanwhile", median(pauses), "ms", Goal::AtMost(PAUSE_MS))?;
    note("… longest wait in the second before", median(usual), "ms")
}

/// Asks for one token after the other for three seconds: when each was asked for, and how long it took, in ms.
async fn ask(address: std::net::SocketAddr, body: String) -> Result<Vec<(Instant, f64)>> {
    let mut connection = Connection::open(address, None).await?;
    let (until, body) = (Instant::now() + Duration::from_secs(3), Bytes::from(body));
    let mut asked = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        connection.token(&body).await?;
        asked.push((sent, sent.elapsed().as_secs_f64() * 1000.0));
    }
    Ok(asked)
}

/// Requests of the clients whose service users come first and last: members are looked up in the order of their names.
async fn first_and_last(cluster: &Cluster) -> Result<(String, String)> {
    let mut requests = Vec::new();
    for number in 0..SHAPE.secrets {
        let data = cluster.delivered(&namespace(0), &format!("secret-{number}")).await?.data.unwrap_or_default();
        let text =
            |key: &str| -> Result<String> { Ok(String::from_utf8(data.get(key).ok_or("no such key")?.0.clone())?) };
        let user = format!("user-{}", SHAPE.application_of(number) % SHAPE.users);
        requests.push((user, body(&text("client-id")?, &text("client-secret")?)));
    }
    requests.sort();
    let (first, last) = (requests.first().ok_or("no client")?, requests.last().ok_or("no client")?);
    Ok((first.1.clone(), last.1.clone()))
}
