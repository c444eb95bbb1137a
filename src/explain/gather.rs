//! All reads, with the permissions of the caller. Lists where possible: both the user roles and the operator's role
//! have that verb, so this works from a workstation and in the operator's pod.

mod callers;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};

use super::access_group::{Checked, Right};
use super::claims::{ClientId, ClientName};
use super::error::ExplainError;
use super::lists::{Index, Lists, claimants};
use super::snapshot::{Groups, Snapshot, TokenFacts, full_name};
use crate::api::names::GROUP;
use crate::api::terminating::is_terminating;
use crate::api::{AccessGroup, Application, NamespaceFacts, ReplicaState, ServiceUser};
use list::{ListResult, is_forbidden};

/// The ReplicaStates. None: the caller may not read them, because the operator's namespace always has one.
pub(super) struct Replicas(Vec<ReplicaState>);

impl Replicas {
    /// The ids of the revoked tokens; `None`: not known.
    fn revoked(&self) -> Option<BTreeSet<String>> {
        let revoked = self.0.iter().flat_map(|state| &state.spec.revoked);
        (!self.0.is_empty()).then(|| revoked.map(|revoked| revoked.id.clone()).collect())
    }

    /// The methods that the settings of every replica admit; `None`: not known.
    fn admitted_methods(&self) -> Option<BTreeSet<String>> {
        let methods = self.0.iter().filter_map(|state| state.spec.auth_methods.as_ref());
        methods.map(|methods| methods.iter().cloned().collect()).reduce(|one: BTreeSet<_>, other| &one & &other)
    }
}

/// Reads objects, and records what could not be read.
pub(super) struct Reader {
    client: Client,
    /// Applications of other namespaces could not be read.
    partial: bool,
    notes: Vec<String>,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self { client, partial: false, notes: Vec::new() }
    }

    /// The objects of a client; `None`: no Application has that id or name.
    pub(super) async fn client(
        &mut self,
        named: &ClientName,
        replicas: &Replicas,
    ) -> Result<Option<Snapshot>, ExplainError> {
        let applications = self.applications(named).await?;
        let application = find(&applications, named, self.client.default_namespace())?.cloned();
        let Some(application) = application else { return Ok(None) };
        let namespace = application.namespace().unwrap_or_default();
        let users = self.users(&namespace, &application).await?;
        let of_application = format!("spec.applicationRef.name={}", application.name_any());
        let lists = Lists {
            namespaces: BTreeMap::from([(namespace.clone(), self.namespace(&namespace).await?)]),
            groups: Some(Groups::default()),
            secrets: self.namespaced(&namespace, &of_application, VIEW).await?,
            users,
            applications,
        };
        let mut client = Index::new(&lists).client(&application);
        if client.user.as_ref().is_some_and(|user| user.spec.groups.iter().flatten().next().is_some()) {
            client.groups = self.groups().await?;
        }
        client.admitted_methods = replicas.admitted_methods();
        client.notes = std::mem::take(&mut self.notes);
        Ok(Some(client))
    }

    /// Why there is no client to explain.
    pub(super) fn not_found(&self, named: &ClientName) -> ExplainError {
        match named {
            ClientName::Id(_) => ExplainError::NoClient,
            ClientName::IdOrName(_) => {
                ExplainError::NoClientOrName { namespace: self.client.default_namespace().to_owned() }
            }
            ClientName::Application { namespace, name } => {
                ExplainError::NoApplication { name: name.clone(), namespace: namespace.clone() }
            }
        }
    }

    /// The AccessGroup with this name.
    pub(super) async fn access_group(&mut self, name: &str) -> Result<Option<AccessGroup>, ExplainError> {
        match self.list::<AccessGroup>(Api::all(self.client.clone()), &named(name)).await? {
            ListResult::Objects(groups) => Ok(groups.into_iter().next()),
            ListResult::Forbidden => Err(ExplainError::Forbidden {
                resource: AccessGroup::plural(&()).into_owned(),
                place: "the cluster".to_owned(),
                remedy: "ask for the chart's ClusterRole accessgroup-reader",
            }),
        }
    }

    /// Which of these permissions the caller has, according to the API server.
    pub(super) async fn check(&self, rights: Vec<Right>) -> Result<Vec<Checked>, ExplainError> {
        let reviews = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let mut checked = Vec::new();
        for right in rights {
            let attributes = ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(right.resource.to_owned()),
                verb: Some(right.verb.to_owned()),
                name: Some(right.name.clone()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            let answer = reviews.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(|source| ExplainError::Review(Box::new(source)))?;
            checked.push(Checked { right, granted: answer.status.is_some_and(|status| status.allowed) });
        }
        Ok(checked)
    }

    /// What the replicas report in the operator's namespace.
    pub(super) async fn replicas(&mut self, namespace: &str) -> Result<Replicas, ExplainError> {
        match self.list::<ReplicaState>(Api::namespaced(self.client.clone(), namespace), "").await? {
            ListResult::Objects(states) => Ok(Replicas(states)),
            ListResult::Forbidden => Ok(Replicas(Vec::new())),
        }
    }

    /// The objects that a token refers to.
    pub(super) async fn token(&mut self, client_id: ClientId, replicas: &Replicas) -> Result<TokenFacts, ExplainError> {
        let revoked = replicas.revoked();
        let client = self.client(&ClientName::Id(client_id), replicas).await?;
        if client.is_none() && self.partial {
            // The object may exist, but the caller may not read it.
            return Err(ExplainError::NoClient);
        }
        Ok(TokenFacts { client, revoked })
    }

    /// Every Application that the caller may read: other claimants of the client id matter.
    async fn applications(&mut self, named: &ClientName) -> Result<Vec<Application>, ExplainError> {
        if let ListResult::Objects(all) = self.list(Api::all(self.client.clone()), "").await? {
            return Ok(all);
        }
        let (namespace, remedy) = match named {
            ClientName::Application { namespace, .. } => (namespace.clone(), OTHER_OR_VIEW),
            ClientName::Id(_) | ClientName::IdOrName(_) => (
                self.client.default_namespace().to_owned(),
                "nor in all namespaces; name the Application as NAMESPACE/NAME, or choose its namespace with --namespace (-n)",
            ),
        };
        self.partial = true;
        self.notes.push(format!(
            "You may not list Applications in all namespaces: only those of {namespace} were read. Only the condition \
             Ready shows whether an older one of another namespace claims the client id."
        ));
        self.namespaced(&namespace, "", remedy).await
    }

    /// The service user of the Application. If the Application chooses its client id, all service users that the caller
    /// may list: the client id may be the UID of one.
    async fn users(&mut self, namespace: &str, application: &Application) -> Result<Vec<ServiceUser>, ExplainError> {
        if application.spec.client_id.is_none() {
            return self.namespaced(namespace, &named(&application.spec.service_user_ref.name), VIEW).await;
        }
        match self.list(Api::all(self.client.clone()), "").await? {
            ListResult::Objects(all) => Ok(all),
            ListResult::Forbidden => self.namespaced(namespace, "", VIEW).await,
        }
    }

    /// All active groups, by name; `None`: the caller may not read them.
    async fn groups(&mut self) -> Result<Option<Groups>, ExplainError> {
        Ok(match self.list::<AccessGroup>(Api::all(self.client.clone()), "").await? {
            ListResult::Objects(groups) => {
                let active = groups.into_iter().filter(|group| !is_terminating(&group.metadata));
                Some(Arc::new(active.map(|group| (group.name_any(), group)).collect()))
            }
            ListResult::Forbidden => {
                self.notes.push(
                    "You may not read AccessGroups: what the groups permit is shown from status. The chart's ClusterRole \
                     accessgroup-reader grants this right."
                        .to_owned(),
                );
                None
            }
        })
    }

    /// Labels and location of the namespace. A caller with permissions only in a namespace may get it, but not list it.
    async fn namespace(&mut self, name: &str) -> Result<NamespaceFacts, ExplainError> {
        let api = Api::<Namespace>::all(self.client.clone());
        let listed = api.list_metadata(&ListParams::default().fields(&named(name))).await.map(|list| list.items);
        let found = match listed {
            Err(error) if is_forbidden(&error) => api.get_metadata_opt(name).await.map(Vec::from_iter),
            listed => listed,
        };
        match found {
            Ok(namespaces) => Ok(namespaces.first().map_or_else(
                || NamespaceFacts { name: name.to_owned(), ..NamespaceFacts::default() },
                |namespace| NamespaceFacts::new(namespace.meta()),
            )),
            Err(error) if is_forbidden(&error) => {
                self.notes.push(format!(
                    "You may not read Namespace {name}: its labels and its location are not known, so a group that \
                     admits it by labels, or needs its location, is shown as one that grants nothing."
                ));
                Ok(NamespaceFacts { name: name.to_owned(), ..NamespaceFacts::default() })
            }
            Err(error) => Err(ExplainError::Api { resource: "namespaces".to_owned(), source: Box::new(error) }),
        }
    }
}

const VIEW: &str = "ask for the role view there";
const OTHER_OR_VIEW: &str = "ask for the role view there, or choose another namespace with --namespace (-n)";

/// The named Application. A name without a namespace is searched in `namespace`.
fn find<'a>(
    applications: &'a [Application],
    named: &ClientName,
    namespace: &str,
) -> Result<Option<&'a Application>, ExplainError> {
    let claimants = claimants(applications);
    let by_id = |id: &str| claimants.get(id).and_then(|claimants| claimants.first()).copied();
    let by_name = |namespace: &str, name: &str| {
        let mut found = applications.iter();
        found.find(|found| found.namespace().as_deref() == Some(namespace) && found.name_any() == name)
    };
    match named {
        ClientName::Id(id) => Ok(by_id(id.as_str())),
        ClientName::Application { namespace, name } => Ok(by_name(namespace, name)),
        ClientName::IdOrName(text) => match (by_id(text), by_name(namespace, text)) {
            (Some(by_id), Some(by_name)) if !std::ptr::eq(by_id, by_name) => Err(ExplainError::AmbiguousClient {
                text: text.clone(),
                by_id: full_name(by_id),
                by_name: full_name(by_name),
            }),
            (by_id, by_name) => Ok(by_id.or(by_name)),
        },
    }
}

fn named(name: &str) -> String {
    format!("metadata.name={name}")
}
