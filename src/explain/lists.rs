//! Takes the objects of each client out of lists: what the reverse index of the operator answers.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Resource, ResourceExt};

use super::snapshot::{Groups, Snapshot};
use crate::api::precedence::oldest_first;
use crate::api::terminating::is_terminating;
use crate::api::{Application, ClientSecret, NamespaceFacts, ServiceUser};

/// The objects that were read.
pub(super) struct Lists {
    pub(super) applications: Vec<Application>,
    pub(super) users: Vec<ServiceUser>,
    pub(super) secrets: Vec<ClientSecret>,
    pub(super) namespaces: BTreeMap<String, NamespaceFacts>,
    /// `None`: the caller may not read AccessGroups.
    pub(super) groups: Option<Groups>,
}

/// Namespace and name of an object.
type NamespacedName<'a> = (&'a str, &'a str);

/// The lists, by what each object refers to.
pub(super) struct Index<'a> {
    lists: &'a Lists,
    claimants: Claimants<'a>,
    subjects: BTreeSet<&'a str>,
    users: BTreeMap<NamespacedName<'a>, &'a ServiceUser>,
    secrets: BTreeMap<NamespacedName<'a>, Vec<&'a ClientSecret>>,
}

/// Client id → Applications that claim it, oldest first.
pub(super) type Claimants<'a> = BTreeMap<&'a str, Vec<&'a Application>>;

/// The claimants of each client id.
pub(super) fn claimants(applications: &[Application]) -> Claimants<'_> {
    grouped(applications, |application| application.spec.claimed_client_id(&application.metadata))
}

impl<'a> Index<'a> {
    pub(super) fn new(lists: &'a Lists) -> Self {
        let live = |user: &&ServiceUser| !is_terminating(&user.metadata);
        let secrets = lists.secrets.iter().filter(|secret| !is_terminating(&secret.metadata));
        Self {
            lists,
            claimants: claimants(&lists.applications),
            subjects: lists.users.iter().filter_map(|user| user.metadata.uid.as_deref()).collect(),
            users: lists.users.iter().filter(live).map(|user| (namespaced_name(user), user)).collect(),
            secrets: grouped(secrets, |secret| (namespaced_name(secret).0, secret.spec.application_ref.name.as_str())),
        }
    }

    /// The objects of the client.
    pub(super) fn client(&self, application: &Application) -> Snapshot {
        let spec = &application.spec;
        let (namespace, name) = namespaced_name(application);
        let claimants = self.claimants.get(spec.claimed_client_id(&application.metadata));
        let secrets = self.secrets.get(&(namespace, name)).into_iter().flatten();
        Snapshot {
            application: application.clone(),
            claimants: claimants.into_iter().flatten().map(|claimant| owned(namespaced_name(*claimant))).collect(),
            is_subject: spec.client_id.as_deref().is_some_and(|chosen| self.subjects.contains(chosen)),
            user: self.users.get(&(namespace, spec.service_user_ref.name.as_str())).map(|user| (*user).clone()),
            namespace: self.lists.namespaces.get(namespace).cloned().unwrap_or_default(),
            groups: self.lists.groups.clone(),
            secrets: secrets.map(|secret| (*secret).clone()).collect(),
            admitted_methods: None,
            notes: Vec::new(),
        }
    }
}

/// The objects with the same key, oldest first.
fn grouped<'a, K: Resource, N: Ord>(
    objects: impl IntoIterator<Item = &'a K>,
    key: impl Fn(&'a K) -> N,
) -> BTreeMap<N, Vec<&'a K>> {
    let mut grouped: BTreeMap<N, Vec<&K>> = BTreeMap::new();
    for object in objects {
        grouped.entry(key(object)).or_default().push(object);
    }
    for objects in grouped.values_mut() {
        oldest_first(objects);
    }
    grouped
}

fn namespaced_name<K: ResourceExt>(object: &K) -> NamespacedName<'_> {
    let metadata = object.meta();
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn owned((namespace, name): NamespacedName<'_>) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}
