//! What a tenant with `edit` in one namespace can do to keep the operator busy: each flood of `tenants`.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use postern::api::{ClientSecret, ServiceUser};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::Result;
use crate::cluster::{Cluster, IN_FLIGHT, Object, Shape, namespace, object};

/// Less than all the work for one change takes.
const CHANGE_EVERY: Duration = Duration::from_secs(5);
/// One more change of the service user than the operator answers with a write each.
const TOGGLE_EVERY: Duration = Duration::from_millis(250);
const DEPLOYMENTS: usize = 5;
const REFUSING: &str = "bench-no-secrets";

/// A way to flood.
#[derive(Clone, Copy, Debug)]
pub enum Flood {
    /// A Secret that 200 ClientSecrets import is changed again and again: a hash each.
    Imports,
    /// 100 ClientSecrets wait for restarts that never end, and a further rotation is requested again and again.
    Rollouts,
    /// Of 100 ClientSecrets the API server refuses the Secret; each change of them is another attempt.
    RefusedWrites,
    /// The service user of 100 ClientSecrets is suspended and resumed again and again.
    Suspensions,
}

impl Flood {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Imports, Self::Rollouts, Self::RefusedWrites, Self::Suspensions];

    /// As figures and names of objects say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imports => "imports",
            Self::Rollouts => "rollouts",
            Self::RefusedWrites => "refusals",
            Self::Suspensions => "suspensions",
        }
    }

    fn client_secrets(self) -> usize {
        if matches!(self, Self::Imports) { 200 } else { 100 }
    }

    fn spec(self, wave: usize) -> Value {
        match self {
            Self::Imports => json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}}),
            Self::Rollouts => {
                let workload = |number: usize| json!({"kind": "Deployment", "name": format!("never-{number}")});
                let rollout: Vec<Value> = (0..DEPLOYMENTS).map(workload).collect();
                json!({"rotation": {"trigger": format!("wave-{wave}"), "overlap": "1h", "rollout": rollout}})
            }
            Self::RefusedWrites => json!({"description": format!("wave {wave}")}),
            Self::Suspensions => json!({}),
        }
    }

    /// Creates what the flood needs in the namespace of `tenant`.
    pub async fn prepare(self, cluster: &Cluster, shape: &Shape, tenant: usize) -> Result<Scene> {
        let scene = Scene { flood: self, client: Client::try_default().await?, namespace: namespace(tenant), tenant };
        match self {
            Self::Imports => drop(scene.api().create(&PostParams::default(), &object::<Secret>(legacy(0))?).await?),
            Self::Rollouts => scene.deployments().await?,
            Self::RefusedWrites => scene.refuse_secrets().await?,
            Self::Suspensions => {}
        }
        let secrets: Result<Vec<ClientSecret>> = (0..self.client_secrets())
            .map(|number| client_secret(&format!("flood-{number}"), shape.application_in(tenant, number), self.spec(0)))
            .collect();
        let ready = (!matches!(self, Self::RefusedWrites)).then(|| cluster.all_ready(self.client_secrets()));
        let creations = secrets?.into_iter().map(|secret| {
            let api = scene.api::<ClientSecret>();
            async move { api.create(&PostParams::default(), &secret).await.map(drop) }
        });
        futures::stream::iter(creations).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        if let Some(ready) = ready {
            ready.await??;
        }
        Ok(scene)
    }
}

/// A namespace with what a flood needs.
#[derive(Clone)]
pub struct Scene {
    flood: Flood,
    client: Client,
    namespace: String,
    tenant: usize,
}

impl Scene {
    /// Floods until it is aborted; returns only an error.
    pub async fn run(self) -> Result<()> {
        for wave in 1_usize.. {
            match self.flood {
                Flood::Imports => self.change::<Secret>("legacy", legacy(wave)).await?,
                Flood::Rollouts | Flood::RefusedWrites => self.change_all(wave).await?,
                Flood::Suspensions => {
                    let change = json!({"spec": {"suspend": wave % 2 == 1}});
                    self.change::<ServiceUser>(&format!("user-{}", self.tenant), change).await?;
                }
            }
            sleep(if matches!(self.flood, Flood::Suspensions) { TOGGLE_EVERY } else { CHANGE_EVERY }).await;
        }
        Ok(())
    }

    /// Removes what would still be worked on while the next flood is measured.
    pub async fn clean_up(&self) -> Result<()> {
        let all = (&DeleteParams::default(), &ListParams::default());
        self.api::<ClientSecret>().delete_collection(all.0, all.1).await?;
        if matches!(self.flood, Flood::RefusedWrites) {
            let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
            bindings.delete(REFUSING, all.0).await?;
        }
        Ok(())
    }

    async fn change_all(&self, wave: usize) -> Result<()> {
        let changes = (0..self.flood.client_secrets()).map(|number| async move {
            self.change::<ClientSecret>(&format!("flood-{number}"), json!({"spec": self.flood.spec(wave)})).await
        });
        futures::stream::iter(changes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await
    }

    /// Deployments whose pods never start: there is no node.
    async fn deployments(&self) -> Result<()> {
        for number in 0..DEPLOYMENTS {
            let name = format!("never-{number}");
            let labels = json!({"app": name});
            let template =
                json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
            let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
            let deployment: Deployment = object(json!({"metadata": {"name": name}, "spec": spec}))?;
            self.api().create(&PostParams::default(), &deployment).await?;
        }
        Ok(())
    }

    /// From now on there is no new Secret in the namespace.
    async fn refuse_secrets(&self) -> Result<()> {
        let rule =
            json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]});
        let policy: ValidatingAdmissionPolicy = object(json!({
            "metadata": {"name": REFUSING},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "false", "message": "no Secrets here"}],
            },
        }))?;
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let binding: ValidatingAdmissionPolicyBinding = object(json!({
            "metadata": {"name": REFUSING},
            "spec": {
                "policyName": REFUSING, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": here},
            },
        }))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &policy).await?;
        Api::all(self.client.clone()).create(&PostParams::default(), &binding).await?;
        // It is in force a moment later.
        while self.is_taken().await? {
            sleep(TOGGLE_EVERY).await;
        }
        Ok(())
    }

    /// Whether the API server would take a new Secret.
    async fn is_taken(&self) -> Result<bool> {
        let secret: Secret = object(json!({"metadata": {"name": "tried"}}))?;
        let tried = PostParams { dry_run: true, ..PostParams::default() };
        match self.api().create(&tried, &secret).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(refusal)) if refusal.message.contains("no Secrets here") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn change<K>(&self, name: &str, change: Value) -> Result<()>
    where
        K: Object<Scope = NamespaceResourceScope>,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await?;
        Ok(())
    }

    fn api<K: Object<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The ClientSecret of a tenant; `spec` without the reference to its application.
pub fn client_secret(name: &str, application: usize, spec: Value) -> Result<ClientSecret> {
    let kind = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": {"name": name}});
    let reference = json!({"applicationRef": {"name": format!("application-{application}")}});
    let mut spec: Map<String, Value> = object(spec)?;
    spec.extend(object::<Map<String, Value>>(reference)?);
    let mut whole: Map<String, Value> = object(kind)?;
    whole.insert("spec".to_owned(), Value::Object(spec));
    object(Value::Object(whole))
}

fn legacy(wave: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}},
        "stringData": {"password": format!("a value of some length, the one of wave {wave}")},
    })
}
