//! One tenant floods, in each of several ways. How long another tenant then waits for a new credential, and for the
//! answer to a leak.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use postern::api::ClientSecret;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Shape, namespace};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::tenant_floods::{Flood, client_secret};
use crate::{Result, percentile};

/// The namespace of the tenant that is measured; the others flood, one after the other.
const QUIET: usize = Flood::ALL.len();
const TENANTS: usize = QUIET + 1;
/// A service user for each tenant, and ten applications of each.
const SHAPE: Shape = Shape { groups: 1, namespaces: TENANTS, users: TENANTS, applications: 10 * TENANTS, secrets: 0 };
/// Credentials that are measured each time.
const CREDENTIALS: usize = 100;
/// Limit for the 99th percentile.
const LIMIT_MS: f64 = 2_000.0;
/// Long enough for the first wave of a flood to reach the operator.
const UNDER_WAY: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
const READY_TIMEOUT: Duration = Duration::from_mins(2);

/// Measures the section.
pub async fn measure() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let replica = Replica::new("tenants", "https://postern.example.com", true)?;
    let _running = replica.start(None)?;
    replica.ready().await?;
    cluster.prepare(&SHAPE).await?;
    cluster.users(&SHAPE).await?;
    cluster.applications(&SHAPE).await?;
    let client = Client::try_default().await?;
    let quiet = namespace(QUIET);
    let alone = credentials(&client, &quiet, "alone").await?;
    report("alone", alone)?;
    for (tenant, flood) in Flood::ALL.into_iter().enumerate() {
        let scene = flood.prepare(&cluster, &SHAPE, tenant).await?;
        let flooding = tokio::spawn(scene.clone().run());
        sleep(UNDER_WAY).await;
        let flooded = credentials(&client, &quiet, flood.name()).await;
        // A flood that has ended without abort has failed, and nothing was measured.
        if flooding.is_finished() {
            return flooding.await?;
        }
        flooding.abort();
        report(&format!("while another tenant floods with {}", flood.name()), flooded?)?;
        scene.clean_up().await?;
    }
    Ok(())
}

fn report(when: &str, (mut new, mut leaked): (Vec<f64>, Vec<f64>)) -> Result<()> {
    for (what, took) in [("new credential", &mut new), ("value after a leak", &mut leaked)] {
        compare(format!("{what} {when}, 99 %"), percentile(took, 99), "ms", Goal::AtMost(LIMIT_MS))?;
        note(format!("{what} {when}, median"), percentile(took, 50), "ms")?;
    }
    Ok(())
}

/// Milliseconds until new credentials are ready, and until deleted Secrets are there again with new values.
async fn credentials(client: &Client, namespace: &str, series: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let secrets: Api<ClientSecret> = Api::namespaced(client.clone(), namespace);
    let delivered: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (mut new, mut leaked) = (Vec::new(), Vec::new());
    for number in 0..CREDENTIALS {
        let name = format!("{series}-{number}");
        let secret = client_secret(&name, SHAPE.application_in(QUIET, number), json!({}))?;
        secrets.create(&PostParams::default(), &secret).await?;
        let began = Instant::now();
        let is_ready = |secret: &ClientSecret| {
            let conditions = secret.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        until(&secrets, &name, is_ready).await?;
        new.push(began.elapsed().as_secs_f64() * 1000.0);
        let before = delivered.get(&name).await?.uid();
        delivered.delete(&name, &DeleteParams::default()).await?;
        let began = Instant::now();
        until(&delivered, &name, |secret: &Secret| secret.uid() != before).await?;
        leaked.push(began.elapsed().as_secs_f64() * 1000.0);
        secrets.delete(&name, &DeleteParams::default()).await?;
    }
    Ok((new, leaked))
}

async fn until<K>(api: &Api<K>, name: &str, is_so: impl Fn(&K) -> bool) -> Result<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let asking = async {
        while !api.get_opt(name).await?.is_some_and(|object| is_so(&object)) {
            sleep(POLL).await;
        }
        Result::Ok(())
    };
    tokio::time::timeout(READY_TIMEOUT, asking).await?
}
