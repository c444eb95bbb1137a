//! From the API server's answer to a change of authority until no replica gives the old answer any more: a token with the
//! old authority, or that one of the old authority is active. Without load, and with as much as a core gives.

use std::time::Duration;

use futures::future::try_join_all;
use hyper::body::Bytes;
use kube::api::{DeleteParams, PostParams};
use postern::api::{AccessGroup, Application, ServiceUser};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, groups_of, namespace};
use crate::endpoint::{SHAPE, Subject};
use crate::http::{Connection, INTROSPECT, TOKEN, Target};
use crate::load::Plan;
use crate::operator::{Process, Replica};
use crate::report::{Goal, compare, note};
use crate::{Result, percentile, scratch};

/// Limits for the 99th percentile.
const IDLE_MS: f64 = 100.0;
const LOADED_MS: f64 = 500.0;
/// Swaps that are measured in each mode, and other changes of each kind.
const CHANGES: usize = 100;
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(1);
/// A change that takes longer has failed.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// One generator asks both replicas for tokens in turn.
const LOAD_CORE: usize = 1;
/// Longer than all changes take; it ends with the section.
const LOAD_SECONDS: f64 = 150.0;

#[derive(Deserialize)]
struct Answer {
    access_token: String,
}

struct Scene<'a> {
    cluster: &'a Cluster,
    subject: &'a Subject,
    connections: Vec<Connection>,
}

/// Measures swaps of the service user in both modes, and the other changes under load.
pub async fn measure(cluster: &Cluster, subject: &Subject) -> Result<()> {
    let names = ["changing-0", "changing-1"];
    let [first, second] = names.map(|name| Replica::new(name, &subject.issuer, true));
    let replicas = [first?, second?];
    let processes = [replicas[0].start(None)?, replicas[1].start(None)?];
    let mut connections = Vec::new();
    for replica in &replicas {
        replica.ready().await?;
        connections.push(Connection::open(replica.listen, None).await?);
    }
    let mut scene = Scene { cluster, subject, connections };
    let mut idle = scene.swaps(4).await?;
    compare("from a swap to the last old answer, idle, 99 %", percentile(&mut idle, 99), "ms", Goal::AtMost(IDLE_MS))?;
    note("from a swap to the last old answer, idle, median", percentile(&mut idle, 50), "ms")?;

    let load = start_load(&replicas, &processes)?;
    sleep(Duration::from_secs(1)).await;
    let mut loaded = scene.swaps(8).await?;
    let limit = Goal::AtMost(LOADED_MS);
    compare("from a swap to the last old answer, under load, 99 %", percentile(&mut loaded, 99), "ms", limit)?;
    note("from a swap to the last old answer, under load, median", percentile(&mut loaded, 50), "ms")?;
    for kind in ["the service user leaves a group", "it is suspended", "its group is deleted"] {
        let (mut active, mut told) = scene.endings(kind).await?.into_iter().unzip::<f64, f64, Vec<_>, Vec<_>>();
        let what = format!("a token is active for the last time when {kind}");
        compare(format!("{what}, 99 %"), percentile(&mut active, 99), "ms", limit)?;
        note(format!("{what}, median"), percentile(&mut active, 50), "ms")?;
        note("it is said to be inactive, 99 %", percentile(&mut told, 99), "ms")?;
        note("it is said to be inactive, median", percentile(&mut told, 50), "ms")?;
    }
    drop(load);
    Ok(())
}

/// A generator for each replica, both on one core.
fn start_load(replicas: &[Replica; 2], processes: &[Process; 2]) -> Result<Vec<Process>> {
    let start = |(replica, process): (&Replica, &Process)| {
        let target = Target { address: replica.listen, ca: None };
        let bodies = scratch()?.join("bodies");
        let plan = Plan {
            target,
            path: TOKEN.to_owned(),
            pid: process.pid(),
            bodies,
            proofs_for: None,
            seconds: LOAD_SECONDS,
        };
        plan.start(LOAD_CORE, &format!("load-{}.log", replica.name))
    };
    replicas.iter().zip(processes).map(start).collect()
}

impl Scene<'_> {
    /// Lets each application act for the user `by` places on, and asks both replicas until both answer with that one.
    async fn swaps(&mut self, by: usize) -> Result<Vec<f64>> {
        let mut took = Vec::new();
        for number in 0..CHANGES {
            let (namespace, user) = (namespace(number % SHAPE.namespaces), (number + by) % SHAPE.users);
            let new = self.cluster.subject(&namespace, &format!("user-{user}")).await?;
            let body = self.body(number)?;
            for connection in &mut self.connections {
                token(connection, &body).await?;
            }
            let spec = json!({"serviceUserRef": {"name": format!("user-{user}")}});
            self.cluster.change::<Application>(&namespace, &format!("application-{number}"), &spec).await?;
            let changed = Instant::now();
            for connection in &mut self.connections {
                let swapped = async {
                    while claims(&token(connection, &body).await?)?.get("sub") != Some(&json!(new)) {
                        sleep(POLL).await;
                    }
                    Result::Ok(())
                };
                tokio::time::timeout(CHANGE_TIMEOUT, swapped).await??;
            }
            took.push(changed.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(took)
    }

    /// Ends tokens, and asks both replicas until both refuse them. How long they were active, and how long it took
    /// until they were said to be inactive, in ms: between the two a replica may make sure that it is not behind.
    async fn endings(&mut self, kind: &str) -> Result<Vec<(f64, f64)>> {
        let mut took = Vec::new();
        for change in 0..CHANGES {
            let user = change % SHAPE.users;
            // The application that acts for this user now.
            let (number, namespace) = ((user + SHAPE.users - 8) % SHAPE.users, namespace(user % SHAPE.namespaces));
            let (name, group) = (format!("user-{user}"), format!("ending-{change}"));
            if kind == "its group is deleted" {
                self.add_group(&namespace, &name, user, &group).await?;
            }
            let body = self.body(number)?;
            // Of both, so that both know the state before.
            let mut issued = String::new();
            for connection in &mut self.connections {
                issued = token(connection, &body).await?;
            }
            let form = self.subject.form(number, "token", &issued)?;
            // A replica that has just received the previous change reports that only after it has caught up.
            for connection in &mut self.connections {
                tokio::time::timeout(CHANGE_TIMEOUT, said(connection, &form, true)).await??;
            }
            match kind {
                "the service user leaves a group" => {
                    self.cluster
                        .change::<ServiceUser>(&namespace, &name, &json!({"groups": groups_of(&SHAPE, user).get(..1)}))
                        .await?;
                }
                "it is suspended" => {
                    self.cluster.change::<ServiceUser>(&namespace, &name, &json!({"suspend": true})).await?;
                }
                _ => drop(self.cluster.groups().delete(&group, &DeleteParams::default()).await?),
            }
            let changed = Instant::now();
            let asked = self.connections.iter_mut().map(|connection| said(connection, &form, false));
            let active = tokio::time::timeout(CHANGE_TIMEOUT, try_join_all(asked)).await??.into_iter().flatten().max();
            let ms = |time: Instant| (time - changed).as_secs_f64() * 1000.0;
            took.push((active.map_or(0.0, ms), ms(Instant::now())));
            let back = json!({"groups": groups_of(&SHAPE, user), "suspend": null});
            self.cluster.change::<ServiceUser>(&namespace, &name, &back).await?;
        }
        Ok(took)
    }

    async fn add_group(&self, namespace: &str, name: &str, user: usize, group: &str) -> Result<()> {
        let new: AccessGroup = serde_json::from_value(json!({
            "metadata": {"name": group},
            "spec": {
                "role": "billing.ending", "location": "/emea/billing", "namespaces": {"selector": {}},
                "permissions": [{"audience": "https://billing.example.com", "scopes": ["ending"]}],
            },
        }))?;
        self.cluster.groups().create(&PostParams::default(), &new).await?;
        let groups = [groups_of(&SHAPE, user), vec![group.to_owned()]].concat();
        self.cluster.change::<ServiceUser>(namespace, name, &json!({"groups": groups})).await?;
        // Both replicas have it after the pause; the bench measures its removal.
        sleep(Duration::from_millis(300)).await;
        Ok(())
    }

    fn body(&self, number: usize) -> Result<Bytes> {
        self.subject.bodies().into_iter().nth(number).map(Bytes::from).ok_or_else(|| "no such client".into())
    }
}

/// Asks until the token is said to be active, or not, and returns when the last answer came that said otherwise. That it
/// is not active because the client itself is refused counts too.
async fn said(connection: &mut Connection, form: &Bytes, active: bool) -> Result<Option<Instant>> {
    let mut otherwise = None;
    loop {
        let (_, answer) = connection.post(INTROSPECT, form).await?;
        if String::from_utf8_lossy(&answer).contains("\"active\":true") == active {
            return Ok(otherwise);
        }
        otherwise = Some(Instant::now());
        sleep(POLL).await;
    }
}

async fn token(connection: &mut Connection, body: &Bytes) -> Result<String> {
    let (status, answer) = connection.token(body).await?;
    if status != hyper::StatusCode::OK {
        return Err(format!("a token is answered with {status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(serde_json::from_slice::<Answer>(&answer)?.access_token)
}

fn claims(token: &str) -> Result<Value> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).ok_or("not a JWT")?;
    Ok(serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims)?)?)
}
