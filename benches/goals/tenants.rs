//! One tenant floods: a Secret that two hundred ClientSecrets import is changed again and again. How long another tenant
//! waits meanwhile for a new credential, and for the answer to a leak.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use postern::api::ClientSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Shape, namespace};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, percentile};

/// A service user for each tenant, and ten applications of each.
const SHAPE: Shape = Shape { groups: 1, namespaces: 2, users: 2, applications: 20, secrets: 0 };
const IMPORTERS: usize = 200;
/// Credentials of the other tenant that are measured.
const CREDENTIALS: usize = 100;
/// Limit for the 99th percentile.
const LIMIT_MS: f64 = 2_000.0;
/// Less than all the hashes for one change take.
const CHANGE_EVERY: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(2);

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
    let (flood, quiet) = (namespace(0), namespace(1));
    let idle = credentials(&client, &quiet, "idle").await?;
    report("alone", idle)?;
    let source: Api<Secret> = Api::namespaced(client.clone(), &flood);
    source.create(&PostParams::default(), &object(legacy(0))?).await?;
    let importers: Api<ClientSecret> = Api::namespaced(client.clone(), &flood);
    for number in 0..IMPORTERS {
        let spec = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
        let application = number % (SHAPE.applications / 2) * 2;
        importers.create(&PostParams::default(), &secret(&format!("importer-{number}"), application, &spec)?).await?;
    }
    let flooding = tokio::spawn(async move {
        for number in 1_usize.. {
            let patch = Patch::Merge(legacy(number));
            let _ = source.patch("legacy", &PatchParams::default(), &patch).await;
            sleep(CHANGE_EVERY).await;
        }
    });
    sleep(CHANGE_EVERY).await;
    let flooded = credentials(&client, &quiet, "flooded").await;
    flooding.abort();
    report("while another tenant floods", flooded?)
}

fn report(when: &str, (mut new, mut leaked): (Vec<f64>, Vec<f64>)) -> Result<()> {
    for (what, took) in [("a new credential", &mut new), ("a new value after a leak", &mut leaked)] {
        compare(format!("{what} {when}, 99 %"), percentile(took, 99), "ms", Goal::AtMost(LIMIT_MS))?;
        note(format!("{what} {when}, median"), percentile(took, 50), "ms")?;
    }
    Ok(())
}

/// Milliseconds until new credentials are ready, and until deleted Secrets are there again with new values.
async fn credentials(client: &Client, namespace: &str, name: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    let secrets: Api<ClientSecret> = Api::namespaced(client.clone(), namespace);
    let delivered: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (mut new, mut leaked) = (Vec::new(), Vec::new());
    for number in 0..CREDENTIALS {
        let name = format!("{name}-{number}");
        let application = number % (SHAPE.applications / 2) * 2 + 1;
        secrets.create(&PostParams::default(), &secret(&name, application, &json!({}))?).await?;
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
    tokio::time::timeout(PATIENCE, asking).await?
}

fn legacy(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
        "stringData": {"password": format!("a value of some length, the one with number {number}")},
    })
}

fn secret(name: &str, application: usize, spec: &Value) -> Result<ClientSecret> {
    let mut spec = spec.clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("applicationRef".to_owned(), json!({"name": format!("application-{application}")}));
    }
    let kind = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": {"name": name}});
    let mut whole = kind;
    if let Some(whole) = whole.as_object_mut() {
        whole.insert("spec".to_owned(), spec);
    }
    object(whole)
}

fn object<K: DeserializeOwned>(object: Value) -> Result<K> {
    Ok(serde_json::from_value(object)?)
}
