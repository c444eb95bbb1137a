//! The objects of all clients: one list of each kind, for any number of clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::list::{ListResult, is_forbidden};
use super::{ExplainError, OTHER_OR_VIEW, Reader};
use crate::api::{Application, NamespaceFacts};
use crate::explain::lists::{Index, Lists};
use crate::explain::snapshot::CallerFacts;

impl Reader {
    /// The clients of all namespaces; with `only`, those of that namespace.
    pub(in crate::explain) async fn callers(&mut self, only: Option<&str>) -> Result<CallerFacts, ExplainError> {
        let mut lists = Lists {
            applications: self.all_or_here().await?,
            users: self.all_or_here().await?,
            secrets: self.all_or_here().await?,
            groups: self.groups().await?,
            namespaces: BTreeMap::new(),
        };
        // The client uses `only` as its namespace.
        let here = self.client.default_namespace().to_owned();
        let is_asked = |application: &&Application| {
            (!self.partial && only.is_none()) || application.namespace().as_deref() == Some(here.as_str())
        };
        let asked: Vec<Application> = lists.applications.iter().filter(is_asked).cloned().collect();
        lists.namespaces = self.namespaces(asked.iter().filter_map(ResourceExt::namespace).collect()).await?;
        self.notes.extend(self.partial.then(|| unseen(&here, only)));
        let index = Index::new(&lists);
        Ok(CallerFacts {
            clients: asked.iter().map(|application| index.client(application)).collect(),
            groups: lists.groups.clone(),
            notes: std::mem::take(&mut self.notes),
        })
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
            "{reading}: only the condition Ready shows whether an older Application of another namespace claims a client \
             id."
        ),
        None => format!(
            "{reading}: only those of {here} were read, and callers of other namespaces are missing. Choose another \
             namespace with --namespace (-n)."
        ),
    }
}
