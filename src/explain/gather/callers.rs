//! The objects of all clients: one list of each kind, for any number of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::list::{ListResult, is_forbidden};
use super::{ExplainError, OTHER_OR_VIEW, Reader, is_deleting};
use crate::api::precedence::Seniority;
use crate::api::{Application, ClientSecret, NamespaceFacts, ServiceUser};
use crate::explain::snapshot::{CallerFacts, Snapshot, full_name};

/// Namespace and name of an object.
type NamespacedName = (String, String);

impl Reader {
    /// The clients of all namespaces; with `only`, those of that namespace.
    pub(in crate::explain) async fn callers(&mut self, only: Option<&str>) -> Result<CallerFacts, ExplainError> {
        let applications: Vec<Application> = self.all_or_here().await?;
        let users: Vec<ServiceUser> = self.all_or_here().await?;
        let secrets: Vec<ClientSecret> = self.all_or_here().await?;
        let groups = self.groups().await?;
        // The client uses `only` as its namespace.
        let here = self.client.default_namespace().to_owned();
        let in_sight = |application: &&Application| {
            (!self.partial && only.is_none()) || application.namespace().as_deref() == Some(here.as_str())
        };
        let asked: Vec<&Application> = applications.iter().filter(in_sight).collect();
        let namespaces =
            self.namespaces(asked.iter().filter_map(|application| application.namespace()).collect()).await?;
        self.notes.extend(self.partial.then(|| unseen(&here, only)));
        let subjects: BTreeSet<&str> = users.iter().filter_map(|user| user.metadata.uid.as_deref()).collect();
        let mut of_application = by_application(&secrets);
        let by_id = by_client_id(&applications);
        let users: BTreeMap<NamespacedName, &ServiceUser> =
            users.iter().filter(|user| !is_deleting(*user)).map(|user| (key(user, user.name_any()), user)).collect();
        let clients = asked.into_iter().map(|application| {
            let spec = &application.spec;
            let claimants = by_id.get(spec.claimed_client_id(&application.metadata));
            Snapshot {
                claimants: claimants.into_iter().flatten().map(|claimant| full_name(*claimant)).collect(),
                is_subject: spec.client_id.as_deref().is_some_and(|chosen| subjects.contains(chosen)),
                user: users.get(&key(application, spec.service_user_ref.name.clone())).map(|user| (*user).clone()),
                namespace: namespaces.get(&application.namespace().unwrap_or_default()).cloned().unwrap_or_default(),
                groups: groups.clone(),
                secrets: of_application.remove(&key(application, application.name_any())).unwrap_or_default(),
                application: application.clone(),
                notes: Vec::new(),
            }
        });
        Ok(CallerFacts { clients: clients.collect(), groups: groups.clone(), notes: std::mem::take(&mut self.notes) })
    }

    /// The objects of all namespaces, or of the client's namespace if the caller may not list all.
    async fn all_or_here<K>(&mut self) -> Result<Vec<K>, ExplainError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        if let ListResult::Objects(all) = self.list(Api::all(self.client.clone()), "").await? {
            return Ok(all);
        }
        self.partial = true;
        let here = self.client.default_namespace().to_owned();
        self.namespaced(&here, "", OTHER_OR_VIEW).await
    }

    /// The known facts of each of these namespaces.
    async fn namespaces(&mut self, names: BTreeSet<String>) -> Result<BTreeMap<String, NamespaceFacts>, ExplainError> {
        let api = Api::<Namespace>::all(self.client.clone());
        match api.list_metadata(&ListParams::default()).await {
            Ok(all) => Ok(all.items.iter().map(|one| (one.name_any(), NamespaceFacts::new(&one.metadata))).collect()),
            Err(error) if is_forbidden(&error) => {
                let mut found = BTreeMap::new();
                for name in names {
                    let namespace = self.namespace(&name).await?;
                    found.insert(name, namespace);
                }
                Ok(found)
            }
            Err(error) => Err(ExplainError::Api { resource: "namespaces".to_owned(), source: Box::new(error) }),
        }
    }
}

/// What is not visible outside of namespace `here`.
fn unseen(here: &str, only: Option<&str>) -> String {
    let reading = "You may not list Applications, ServiceUsers and ClientSecrets in all namespaces";
    match only {
        Some(_) => format!(
            "{reading}: that an older Application of another namespace claims a client id shows in the condition Ready \
             alone."
        ),
        None => format!(
            "{reading}: only those of {here} were looked at, and callers of other namespaces are missing. Choose another \
             namespace with --namespace (-n)."
        ),
    }
}

fn key<K: ResourceExt>(beside: &K, name: String) -> NamespacedName {
    (beside.namespace().unwrap_or_default(), name)
}

/// ClientSecrets of each Application, the oldest first.
fn by_application(secrets: &[ClientSecret]) -> BTreeMap<NamespacedName, Vec<ClientSecret>> {
    let mut grouped: BTreeMap<NamespacedName, Vec<ClientSecret>> = BTreeMap::new();
    for secret in secrets.iter().filter(|secret| !is_deleting(*secret)) {
        grouped.entry(key(secret, secret.spec.application_ref.name.clone())).or_default().push(secret.clone());
    }
    for secrets in grouped.values_mut() {
        secrets.sort_by_key(|secret| Seniority::of(&secret.metadata));
    }
    grouped
}

/// Applications that claim each client id, the oldest first.
fn by_client_id(applications: &[Application]) -> BTreeMap<&str, Vec<&Application>> {
    let mut claims: BTreeMap<&str, Vec<&Application>> = BTreeMap::new();
    for application in applications {
        claims.entry(application.spec.claimed_client_id(&application.metadata)).or_default().push(application);
    }
    for claimants in claims.values_mut() {
        claimants.sort_by_key(|application| Seniority::of(&application.metadata));
    }
    claims
}
