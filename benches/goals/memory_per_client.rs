//! A hundred thousand clients: what each of them takes in the memory of a replica.
//!
//! To reconcile so many would take this control plane the better part of an hour. So the bench writes what the controller
//! would have written, status and Secret, and holds the lease; the replica is the real one, and reads all of it.

use std::fs::read_to_string;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use postern::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, FIELD_MANAGER, ISSUED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL,
    SECRET_TYPE, VERSION_ANNOTATION,
};
use postern::api::{Application, ClientSecret};
use postern::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bulk_create::settle;
use crate::cluster::{Cluster, IN_FLIGHT, Object, Shape, namespace, object};
use crate::operator::{NAMESPACE, Replica};
use crate::report::{Goal, compare, note};
use crate::{Result, machine, scratch};

/// Each has its secret; twenty share a service user.
const SHAPE: Shape = Shape { groups: 5, namespaces: 200, users: 5_000, applications: 100_000, secrets: 100_000 };
/// What a client may take, with all that belongs to it.
const CLIENT_KIB: f64 = 4.0;
/// Longer than the section takes.
const LEASE_SECONDS: i32 = 24 * 60 * 60;
/// Reading everything takes most of a minute.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// Measures the section.
pub async fn measure() -> Result<()> {
    let client = Client::try_default().await?;
    let cluster = Cluster::connect().await?;
    let replica = Replica::new("replica-0", "https://postern.example.com", false)?;
    // The first start makes the keys, and shows what a replica takes without objects.
    let process = [replica.start(None)?];
    replica.ready().await?;
    settle(&process).await?;
    let empty = machine::memory_mib(process[0].pid())?.0;
    drop(process);
    hold_lease(&client).await?;
    cluster.prepare(&SHAPE).await?;
    cluster.users(&SHAPE).await?;
    let clients = (0..SHAPE.applications).map(|number| create(&client, number));
    futures::stream::iter(clients).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;

    let started = Instant::now();
    let process = [replica.start(None)?];
    replica.ready_within(READY_WITHIN).await?;
    let ready = started.elapsed().as_secs_f64();
    settle(&process).await?;
    let (now, highest) = machine::memory_mib(process[0].pid())?;
    let number = SHAPE.applications;
    if !read_to_string(scratch()?.join("replica-0.log"))?.contains(&format!(r#""clients":{number}"#)) {
        return Err(format!("the replica does not serve {number} clients, see its log").into());
    }
    let kib = (now - empty) * 1024.0 / f64::from(u32::try_from(number)?);
    compare("100,000 clients: memory of one that has one secret", kib, "KiB", Goal::AtMost(CLIENT_KIB))?;
    note("100,000 clients: memory of a replica", now, "MiB")?;
    note("100,000 clients: memory of a replica, at its highest", highest, "MiB")?;
    note("100,000 clients: memory of a replica without objects", empty, "MiB")?;
    note("100,000 clients: ready after", ready, "s")
}

/// Makes the replica one that only serves.
async fn hold_lease(client: &Client) -> Result<()> {
    let lease = json!({"spec": {
        "holderIdentity": "bench",
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": format!("{:.6}", SystemClock.now()),
    }});
    let api: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    Ok(api.patch("postern", &PatchParams::default(), &Patch::Merge(lease)).await.map(drop)?)
}

/// Creates one client with all that belongs to it, as the controller would leave it.
async fn create(client: &Client, number: usize) -> Result<()> {
    let namespace = namespace(number % SHAPE.namespaces);
    let now = SystemClock.now();
    let application = create_with_status::<Application>(client, &namespace, SHAPE.application(number), |uid| {
        status_of_application(uid, number, now)
    })
    .await?;
    let id = format!("{number:08}");
    let secret = create_with_status::<ClientSecret>(client, &namespace, SHAPE.secret(number), |_| {
        status_of_secret(&id, number, now)
    })
    .await?;
    let delivered: Secret = object(json!({
        "metadata": {
            "name": secret.name_any(),
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: CREDENTIAL},
            "annotations": {
                VERSION_ANNOTATION: id,
                ISSUED_ANNOTATION: now,
                CONTENT_ANNOTATION: "d51f4c2e7a934b0db8a2c1f06e95d37a",
            },
            "ownerReferences": [secret.controller_owner_ref(&())],
        },
        "type": SECRET_TYPE,
        "stringData": {"client-id": application.uid(), "client-secret": format!("pst_{id}_{:060}", number)},
    }))?;
    let with = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    Ok(Api::<Secret>::namespaced(client.clone(), &namespace).create(&with, &delivered).await.map(drop)?)
}

async fn create_with_status<K>(
    client: &Client,
    namespace: &str,
    new: Value,
    status: impl FnOnce(&str) -> Value,
) -> Result<K>
where
    K: Object<Scope = NamespaceResourceScope>,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let created = api.create(&PostParams::default(), &object(new)?).await?;
    let status = Patch::Merge(json!({"status": status(&created.uid().unwrap_or_default())}));
    Ok(api.patch_status(&created.name_any(), &PatchParams::default(), &status).await?)
}

fn status_of_application(uid: &str, number: usize, now: Timestamp) -> Value {
    let user = format!("ServiceUser user-{} exists and is enabled.", number % SHAPE.users);
    json!({
        "observedGeneration": 1,
        "clientId": uid,
        "subject": uid,
        "epoch": 1,
        "authority": format!("{number:032x}"),
        "permissions": [
            {"audience": "https://billing.example.com", "scopes": ["invoices:list-0", "invoices:list-1", "invoices:read-0", "invoices:read-1"]},
            {"audience": "https://ledger.example.com", "scopes": ["entries:read-0", "entries:read-1"]},
        ],
        "roles": ["billing.role-0", "billing.role-1"],
        "secrets": {"active": 1, "limit": 20, "summary": "1/1", "total": 1},
        "conditions": [
            condition("Ready", true, "Accepted", "Enabled.", now),
            condition("ServiceUserResolved", true, "Resolved", &user, now),
            condition("Propagated", true, "Served", "Every replica serves epoch 1.", now),
        ],
    })
}

fn status_of_secret(id: &str, number: usize, now: Timestamp) -> Value {
    let delivered = format!("The credential is in Secret secret-{number} and authenticates.");
    json!({
        "observedGeneration": 1,
        "binding": {"name": format!("secret-{number}")},
        "hint": format!("pst_{}", id.get(..4).unwrap_or_default()),
        "expiresAt": now + jiff::SignedDuration::from_hours(365 * 24),
        "versions": [{
            "id": id,
            "state": "Active",
            "createdAt": now,
            "verifier": format!("g1.kWpiUsnE.{number:064x}"),
        }],
        "conditions": [
            condition("Ready", true, "Issued", &delivered, now),
            condition("Expiring", false, "NotExpiring", "It does not expire soon.", now),
            condition("Rotating", false, "NotRotating", "No rotation in progress.", now),
        ],
    })
}

fn condition(type_: &str, status: bool, reason: &str, message: &str, now: Timestamp) -> Value {
    json!({
        "type": type_,
        "status": if status { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": now,
    })
}
