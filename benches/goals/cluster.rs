//! The API server: what the bench applies to it, and what it watches there.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use postern::api::conditions::types;
use postern::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::operator::NAMESPACE;
use crate::{Error, Result};

/// Requests that the bench keeps in flight when it applies: about as many as make an API server busy.
pub const IN_FLIGHT: usize = 32;
/// As the goal says.
const RAW_IN_FLIGHT: usize = 16;
/// Enough to take some seconds.
const RAW_SECRETS: usize = 4000;
/// A burst that takes longer than this has failed.
const SETTLED_WITHIN: Duration = Duration::from_mins(10);

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// AccessGroups; each ServiceUser is in two of them, or in the only one.
    pub groups: usize,
    /// Namespaces, each with an equal share of the rest.
    pub namespaces: usize,
    /// ServiceUsers.
    pub users: usize,
    /// Applications.
    pub applications: usize,
    /// ClientSecrets.
    pub secrets: usize,
}

impl Shape {
    /// Number of the Application of a ClientSecret. Those of one Application follow each other, as in a file that is
    /// applied.
    pub fn application_of(&self, secret: usize) -> usize {
        secret * self.applications / self.secrets
    }

    /// Number of one of the Applications in a namespace, in turn.
    pub fn application_in(&self, namespace: usize, turn: usize) -> usize {
        turn % (self.applications / self.namespaces) * self.namespaces + namespace
    }

    /// The Application with this number.
    pub fn application(&self, n: usize) -> Value {
        // A user of the same namespace: users and applications are spread over the namespaces in the same way.
        let user = n % self.users;
        json!({
            "metadata": {"name": format!("application-{n}"), "namespace": namespace(n % self.namespaces)},
            "spec": {
                "displayName": format!("Application {n} of the bench"),
                "serviceUserRef": {"name": format!("user-{user}")},
                "token": {"defaultAudience": "https://billing.example.com"},
            },
        })
    }

    /// The ClientSecret with this number.
    pub fn secret(&self, n: usize) -> Value {
        let application = self.application_of(n);
        json!({
            "metadata": {"name": format!("secret-{n}"), "namespace": namespace(application % self.namespaces)},
            "spec": {"applicationRef": {"name": format!("application-{application}")}, "description": "Production pods."},
        })
    }
}

/// What can be written and read.
pub trait Object: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize {}

impl<K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize> Object for K {}

/// An admin's connection to the API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// The one that `KUBECONFIG` names.
    pub async fn connect() -> Result<Self> {
        Ok(Self { client: Client::try_default().await? })
    }

    /// Creates what a shape stands on: namespaces, and groups that admit all of them.
    pub async fn prepare(&self, shape: &Shape) -> Result<()> {
        self.create_all(
            Api::all,
            (0..shape.namespaces).map(|n| json!({"metadata": {"name": namespace(n)}})).map(object::<Namespace>),
        )
        .await?;
        let groups = (0..shape.groups).map(|group| {
            object(json!({
                "metadata": {"name": format!("bench-{group}")},
                "spec": {
                    "role": format!("billing.role-{group}"),
                    "location": "/emea/billing",
                    "namespaces": {"selector": {}},
                    "permissions": [
                        {"audience": "https://billing.example.com", "scopes": [format!("invoices:read-{group}"), format!("invoices:list-{group}")]},
                        {"audience": "https://ledger.example.com", "scopes": [format!("entries:read-{group}")]},
                    ],
                },
            }))
        });
        self.create_all(Api::<AccessGroup>::all, groups).await
    }

    /// Creates the ServiceUsers.
    pub async fn users(&self, shape: &Shape) -> Result<()> {
        let users = (0..shape.users).map(|n| {
            object::<ServiceUser>(json!({
                "metadata": {"name": format!("user-{n}"), "namespace": namespace(n % shape.namespaces)},
                "spec": {
                    "location": "/emea/billing",
                    "groups": groups_of(shape, n),
                },
            }))
        });
        self.create_all_namespaced(users).await
    }

    /// Creates the Applications.
    pub async fn applications(&self, shape: &Shape) -> Result<()> {
        let applications = (0..shape.applications).map(|n| object::<Application>(shape.application(n)));
        self.create_all_namespaced(applications).await
    }

    /// Creates the ClientSecrets.
    pub async fn secrets(&self, shape: &Shape) -> Result<()> {
        let secrets = (0..shape.secrets).map(|n| object::<ClientSecret>(shape.secret(n)));
        self.create_all_namespaced(secrets).await
    }

    /// The client of the admin.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Starts to watch; the handle gives the instant at which `number` ClientSecrets were Ready.
    pub fn all_ready(&self, number: usize) -> JoinHandle<Result<Instant>> {
        self.wait_for(number, |secret: &ClientSecret| {
            let conditions = secret.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == types::READY && condition.status == "True")
        })
    }

    /// The same for Applications.
    pub fn applications_ready(&self, number: usize) -> JoinHandle<Result<Instant>> {
        self.wait_for(number, |application: &Application| {
            let conditions = application.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == types::READY && condition.status == "True")
        })
    }

    /// The same for what `is_ready` decides.
    pub fn wait_for<K>(
        &self,
        number: usize,
        is_ready: impl Fn(&K) -> bool + Send + 'static,
    ) -> JoinHandle<Result<Instant>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let watching = watcher::watcher(Api::<K>::all(self.client.clone()), watcher::Config::default());
        let waiting = async move {
            let mut watching = std::pin::pin!(watching);
            let mut ready = HashSet::new();
            while ready.len() < number {
                // An error is followed by a new list, as when a young API server has forgotten its first revisions.
                let event = watching.next().await.ok_or("the watch has ended")?;
                if let Ok(Event::Apply(object) | Event::InitApply(object)) = event
                    && is_ready(&object)
                {
                    ready.insert(object.uid());
                }
            }
            Ok(Instant::now())
        };
        tokio::spawn(async move {
            let done = tokio::time::timeout(SETTLED_WITHIN, waiting).await;
            done.map_err(|_| Error::from(format!("not all are Ready after {SETTLED_WITHIN:?}")))?
        })
    }

    /// Secrets of 500 bytes that this API server creates in a second, 16 in flight. `series` keeps the names apart.
    pub async fn raw_rate(&self, series: &str) -> Result<f64> {
        let secrets = (0..RAW_SECRETS).map(|n| {
            object::<Secret>(json!({
                "metadata": {"name": format!("raw-{series}-{n}"), "namespace": "default"},
                "stringData": {"value": "x".repeat(500)},
            }))
        });
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "default");
        let secrets = secrets.collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        self.in_flight(RAW_IN_FLIGHT, secrets, |_| api.clone()).await?;
        Ok(f64::from(u32::try_from(RAW_SECRETS)?) / started.elapsed().as_secs_f64())
    }

    /// Revokes a ClientSecret.
    pub async fn revoke(&self, namespace: &str, name: &str) -> Result<()> {
        self.change::<ClientSecret>(namespace, name, &json!({"revoke": true})).await
    }

    /// Changes fields of the spec of an object.
    pub async fn change<K>(&self, namespace: &str, name: &str, spec: &Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let change = Patch::Merge(json!({"spec": spec}));
        Ok(api.patch(name, &PatchParams::default(), &change).await.map(drop)?)
    }

    /// Creates a ServiceAccount, and returns a token of it for this audience.
    pub async fn account_token(&self, namespace: &str, name: &str, audience: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        accounts.create(&PostParams::default(), &object(json!({"metadata": {"name": name}}))?).await?;
        let request: TokenRequest = object(json!({"spec": {"audiences": [audience]}}))?;
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(answer.status.ok_or("the API server returned no token")?.token)
    }

    /// The AccessGroups.
    pub fn groups(&self) -> Api<AccessGroup> {
        Api::all(self.client.clone())
    }

    /// UID of a ServiceUser.
    pub async fn subject(&self, namespace: &str, name: &str) -> Result<String> {
        let api: Api<ServiceUser> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.get(name).await?.uid().unwrap_or_default())
    }

    /// Has every ClientSecret rotated at its next reconciliation.
    pub async fn trigger_rotations(&self, shape: &Shape) -> Result<()> {
        let changes = (0..shape.secrets).map(|n| async move {
            let namespace = namespace(shape.application_of(n) % shape.namespaces);
            self.change::<ClientSecret>(&namespace, &format!("secret-{n}"), &json!({"rotation": {"trigger": "now"}}))
                .await
        });
        futures::stream::iter(changes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await
    }

    /// The instant at which so many ClientSecrets have a new value delivered.
    pub fn all_rotated(&self, number: usize) -> JoinHandle<Result<Instant>> {
        self.wait_for(number, |secret: &ClientSecret| {
            let status = secret.status.as_ref();
            status.is_some_and(|status| status.observed_trigger.as_deref() == Some("now") && status.versions.len() > 1)
        })
    }

    /// The data of a delivered Secret.
    pub async fn delivered(&self, namespace: &str, name: &str) -> Result<Secret> {
        Ok(Api::namespaced(self.client.clone(), namespace).get(name).await?)
    }

    /// The CA of the certificate that the operator made for itself.
    pub async fn operator_ca(&self) -> Result<String> {
        let published: ConfigMap = Api::namespaced(self.client.clone(), NAMESPACE).get("postern-ca").await?;
        published.data.and_then(|mut data| data.remove("ca.crt")).ok_or_else(|| "postern-ca has no ca.crt".into())
    }

    /// The replica that holds the lease.
    pub async fn leader(&self) -> Result<Option<String>> {
        let lease: Option<Lease> = Api::namespaced(self.client.clone(), NAMESPACE).get_opt("postern").await?;
        Ok(lease.and_then(|lease| lease.spec?.holder_identity))
    }

    async fn create_all_namespaced<K>(&self, objects: impl Iterator<Item = Result<K>>) -> Result<()>
    where
        K: Object<Scope = NamespaceResourceScope>,
    {
        let objects = objects.collect::<Result<Vec<_>>>()?;
        self.in_flight(IN_FLIGHT, objects, |object: &K| {
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
        })
        .await
    }

    async fn create_all<K>(
        &self,
        api: impl Fn(Client) -> Api<K>,
        objects: impl Iterator<Item = Result<K>>,
    ) -> Result<()>
    where
        K: Object<Scope = ClusterResourceScope>,
    {
        let objects = objects.collect::<Result<Vec<_>>>()?;
        self.in_flight(IN_FLIGHT, objects, |_| api(self.client.clone())).await
    }

    async fn in_flight<K>(&self, number: usize, objects: Vec<K>, api: impl Fn(&K) -> Api<K>) -> Result<()>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let creations = objects.iter().map(|object| {
            let api = api(object);
            async move { api.create(&PostParams::default(), object).await.map(drop) }
        });
        Ok(futures::stream::iter(creations).buffer_unordered(number).try_collect::<()>().await?)
    }
}

/// The groups of a ServiceUser.
pub fn groups_of(shape: &Shape, user: usize) -> Vec<String> {
    let numbers = [user, user + 1].into_iter().take(shape.groups);
    numbers.map(|number| format!("bench-{}", number % shape.groups)).collect()
}

/// Name of a namespace.
pub fn namespace(number: usize) -> String {
    format!("bench-{number}")
}

/// An object as it is spelled in JSON.
pub fn object<K: DeserializeOwned>(json: Value) -> Result<K> {
    Ok(serde_json::from_value(json)?)
}
