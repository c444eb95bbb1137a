//! What 10,000 credentials cost the API server alone: the three requests for each, made by the bench while
//! no operator runs and no client watches. What a burst takes beyond that is Postern's own.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams, ValidationDirective};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use postern::api::ClientSecret;
use postern::api::names::FIELD_MANAGER;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Result;
use crate::cluster::{Cluster, IN_FLIGHT, object};
use crate::report::note;

/// Enough to take ten seconds or more.
const CREDENTIALS: u32 = 4_000;

/// One credential as generator and operator wrote it, to be written again under other names.
pub struct Credential {
    client: Client,
    name: String,
    /// The ClientSecret with its status.
    owner: Value,
    delivered: Value,
}

impl Credential {
    /// Reads one that is Ready and has had no other value.
    pub async fn read(namespace: &str, name: &str) -> Result<Self> {
        let client = Client::try_default().await?;
        let owner = Api::<ClientSecret>::namespaced(client.clone(), namespace).get(name).await?;
        let delivered = Api::<Secret>::namespaced(client.clone(), namespace).get(name).await?;
        let delivered = json!({
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": delivered.metadata.labels,
                "annotations": delivered.metadata.annotations,
                "ownerReferences": delivered.metadata.owner_references,
            },
            "type": delivered.type_,
            "data": delivered.data,
        });
        let owner = json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": owner.spec,
            "status": owner.status,
        });
        Ok(Self { client, name: name.to_owned(), owner, delivered })
    }

    /// Creates the ClientSecret and its Secret, and applies the status, with the parameters that the operator uses.
    async fn write_again(&self, name: &str) -> Result<()> {
        let declared: ClientSecret = self.renamed(&self.owner, name)?;
        let namespace = declared.namespace().unwrap_or_default();
        let owners = Api::<ClientSecret>::namespaced(self.client.clone(), &namespace);
        let owner = owners.create(&PostParams::default(), &declared).await?;

        let mut delivered: Secret = self.renamed(&self.delivered, name)?;
        for reference in delivered.metadata.owner_references.iter_mut().flatten() {
            reference.uid = owner.uid().unwrap_or_default();
        }
        let manager = Some(FIELD_MANAGER.to_owned());
        let with = PostParams { field_manager: manager.clone(), ..PostParams::default() };
        Api::<Secret>::namespaced(self.client.clone(), &namespace).create(&with, &delivered).await?;

        let (force, field_validation) = (true, Some(ValidationDirective::Ignore));
        let with = PatchParams { field_manager: manager, force, field_validation, ..PatchParams::default() };
        let status = json!({
            "apiVersion": ClientSecret::api_version(&()),
            "kind": ClientSecret::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "uid": owner.uid(), "resourceVersion": owner.resource_version()},
            "status": declared.status,
        });
        Ok(owners.patch_status(name, &with, &Patch::Apply(status)).await.map(drop)?)
    }

    /// With the new name wherever the old one stands: in the metadata, the owner reference and the status.
    fn renamed<K: DeserializeOwned>(&self, json: &Value, name: &str) -> Result<K> {
        object(serde_json::from_str(&json.to_string().replace(&self.name, name))?)
    }
}

/// Measures how long `number` of them take, and how that compares with the time that is `allowed` at some W.
pub async fn measure(
    cluster: &Cluster,
    credential: &Credential,
    number: f64,
    allowed: impl Fn(f64) -> f64,
) -> Result<()> {
    let before = cluster.raw_rate("floor-before").await?;
    let names: Vec<String> = (0..CREDENTIALS).map(|n| format!("floor-{n}")).collect();
    let started = Instant::now();
    let writes = names.iter().map(|name| credential.write_again(name));
    futures::stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
    let took = started.elapsed().as_secs_f64() * number / f64::from(CREDENTIALS);
    let rate = f64::midpoint(before, cluster.raw_rate("floor-after").await?);
    note("(b) without an operator: all written after", took, "s")?;
    note("(b) without an operator: W", rate, "/s")?;
    note("(b) without an operator: of what the goal allows", took / allowed(rate), "")
}
