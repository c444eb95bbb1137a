//! Maps one change to everything whose meaning it may alter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};

use super::reverse_index::{Claimant, Relations};
use super::{Change, DeliveredSecret, ObjectRef, ObjectRefs, is_deleting};
use crate::api::{AccessGroup, Application, ClientSecret, ReplicaState, ServiceUser};

/// The watched kinds.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// AccessGroups.
    AccessGroup,
    /// ServiceUsers.
    ServiceUser,
    /// Applications.
    Application,
    /// ClientSecrets.
    ClientSecret,
    /// Namespaces.
    Namespace,
    /// Delivered Secrets.
    Secret,
    /// Secrets to import from.
    Import,
    /// What endpoint replicas publish to each other.
    ReplicaState,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::AccessGroup,
        Self::ServiceUser,
        Self::Application,
        Self::ClientSecret,
        Self::Namespace,
        Self::Secret,
        Self::Import,
        Self::ReplicaState,
    ];

    /// Whether the endpoint's responses depend on this kind.
    #[must_use]
    pub fn is_served(self) -> bool {
        !matches!(self, Self::Secret | Self::Import)
    }

    /// The kinds that the endpoint's responses depend on.
    pub fn served() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.is_served())
    }

    /// Whether tenants create objects of this kind, with a limit for each namespace.
    #[must_use]
    pub fn is_limited(self) -> bool {
        matches!(self, Self::ServiceUser | Self::Application | Self::ClientSecret)
    }

    /// Whether users control with this kind what the endpoint serves.
    #[must_use]
    pub fn is_configuration(self) -> bool {
        self.is_served() && self != Self::ReplicaState
    }

    /// Name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessGroup => "AccessGroup",
            Self::ServiceUser => "ServiceUser",
            Self::Application => "Application",
            Self::ClientSecret => "ClientSecret",
            Self::Namespace => "Namespace",
            Self::Secret => "Secret",
            Self::Import => "Secret (import)",
            Self::ReplicaState => "ReplicaState",
        }
    }
}

/// Objects whose meaning a change may have altered, including the changed one.
#[derive(Clone, Debug)]
pub struct Invalidation {
    /// The kind that changed.
    pub kind: Kind,
    /// Newest resourceVersion of that kind in the stores.
    pub resource_version: u64,
    /// When the change was made, to the second, if known.
    pub made_at: Option<Timestamp>,
    /// AccessGroups to reconcile.
    pub groups: BTreeSet<String>,
    /// ServiceUsers to reconcile.
    pub users: ObjectRefs,
    /// Applications to reconcile.
    pub applications: ObjectRefs,
    /// Applications whose ClientSecrets are to be recounted, which is not urgent.
    pub recount: ObjectRefs,
    /// ClientSecrets to reconcile.
    pub secrets: ObjectRefs,
    /// Client ids whose record to recompile.
    pub clients: BTreeSet<Arc<str>>,
    /// ReplicaStates to read.
    pub endpoints: ObjectRefs,
    /// ServiceUsers that are affected with all their dependents. There may be ten thousand, so they are looked up in
    /// chunks.
    pub(super) pending_users: Vec<ObjectRef>,
}

impl Invalidation {
    pub(super) fn nothing(kind: Kind, resource_version: u64) -> Self {
        Self {
            kind,
            resource_version,
            made_at: None,
            groups: BTreeSet::new(),
            users: ObjectRefs::new(),
            applications: ObjectRefs::new(),
            recount: ObjectRefs::new(),
            secrets: ObjectRefs::new(),
            clients: BTreeSet::new(),
            endpoints: ObjectRefs::new(),
            pending_users: Vec::new(),
        }
    }

    /// Applications whose clients have other keys, without a change of any object.
    #[must_use]
    pub fn of_keys(relations: &Relations, applications: ObjectRefs) -> Self {
        let mut affected = Self::nothing(Kind::Application, 0);
        for application in &applications {
            affected.add_clients_of(relations, application);
        }
        Self { applications, ..affected }
    }

    /// An object that is treated as absent is reconciled, because its status reports that.
    pub(super) fn absent(&mut self, key: ObjectRef) {
        match self.kind {
            Kind::AccessGroup => drop(self.groups.insert(key.name.to_string())),
            Kind::ServiceUser => drop(self.users.insert(key)),
            Kind::Application => drop(self.applications.insert(key)),
            Kind::ClientSecret => drop(self.secrets.insert(key)),
            _ => {}
        }
    }

    pub(super) fn group(&mut self, relations: &Relations, change: &Change<AccessGroup>) {
        let group = &*change.key.name;
        self.groups.insert(group.to_owned());
        if is_spec_change(change) {
            self.pending_users.extend(relations.users_of_group.get(group).into_iter().flatten().cloned());
        }
    }

    /// Adds service users with all their dependents.
    pub(super) fn add_dependents(&mut self, relations: &Relations, members: &[ObjectRef]) {
        for user in members {
            self.add_user(relations, user);
        }
    }

    pub(super) fn namespace(&mut self, relations: &Relations, change: &Change<PartialObjectMeta<Namespace>>) {
        let meta = |side: &Option<_>| side.as_ref().map(|n: &Arc<PartialObjectMeta<Namespace>>| n.metadata.clone());
        let (before, after) = (meta(&change.before), meta(&change.after));
        let facts = |metadata: &Option<_>| metadata.as_ref().map(crate::api::NamespaceFacts::new);
        if facts(&before) == facts(&after) {
            return;
        }
        let namespace = &change.key.name;
        let Some(users) = relations.users_of_namespace.get(namespace) else { return };
        self.pending_users.extend(users.iter().cloned());
        // The members of their groups have changed. Keys are ordered by namespace, so each group needs one look-up.
        let first = ObjectRef { namespace: Arc::clone(namespace), name: Arc::default() };
        let is_of_one =
            |users: &ObjectRefs| users.range(&first..).next().is_some_and(|user| user.namespace == *namespace);
        let groups = relations.users_of_group.iter().filter(|(_, users)| is_of_one(users));
        self.groups.extend(groups.map(|(group, _)| group.clone()));
    }

    pub(super) fn user(&mut self, relations: &Relations, change: &Change<ServiceUser>) {
        let key = &change.key;
        if !is_spec_change(change) {
            // The controller's own status write: the endpoint serves the epoch in it.
            self.users.insert(key.clone());
            for application in relations.applications_of_user.get(key).into_iter().flatten() {
                self.add_clients_of(relations, application);
            }
            return;
        }
        self.add_user(relations, key);
        for side in change.before.iter().chain(&change.after) {
            self.groups.extend(side.spec.groups.iter().flatten().cloned());
            self.add_claimants(relations, &side.uid().unwrap_or_default());
        }
    }

    pub(super) fn application(&mut self, relations: &Relations, change: &Change<Application>) {
        for side in change.before.iter().chain(&change.after) {
            let client_id = side.spec.claimed_client_id(&side.metadata);
            self.clients.insert(client_id.into());
            if is_spec_change(change) {
                self.add_application(relations, &change.key);
                self.add_claimants(relations, client_id);
            } else {
                self.applications.insert(change.key.clone());
            }
        }
        let told = |side: &Option<Arc<Application>>| side.as_ref()?.status.as_ref()?.client_id.clone();
        if told(&change.before) != told(&change.after) && change.after.is_some() {
            // Credentials are delivered as soon as there is a client id.
            self.add_application(relations, &change.key);
        }
    }

    pub(super) fn secret(&mut self, relations: &Relations, change: &Change<ClientSecret>) {
        // Both sides: between two lists an object may have been recreated under the same name.
        for secret in change.before.iter().chain(&change.after) {
            let key = &change.key;
            let application = key.sibling(&secret.spec.application_ref.name);
            let counts = relations.counts(&application, &Claimant::new(key, &secret.metadata));
            self.secrets.insert(key.clone());
            if is_spec_change(change) {
                let delivered = key.sibling(secret.spec.secret_name(&secret.metadata));
                // No other place depends on this object. Otherwise a removed object may leave its place, and an added
                // one may take it.
                self.secrets.extend(keys(relations.secrets_at_the_limit(&application)));
                self.secrets.extend(keys(relations.oldest_claimant_of_secret(&delivered)));
            }
            if counts {
                self.add_clients_of(relations, &application);
            }
            if counts || is_spec_change(change) {
                self.recount.insert(application);
            }
        }
    }

    pub(super) fn delivered(&mut self, relations: &Relations, change: &Change<DeliveredSecret>) {
        // Its owner, and the ClientSecret that has the name. Other claimants are reconciled periodically.
        let owners = change.before.iter().chain(&change.after).filter_map(|secret| secret.client_secret());
        self.secrets.extend(owners.map(|name| change.key.sibling(name)));
        self.secrets.extend(keys(relations.oldest_claimant_of_secret(&change.key)));
    }

    pub(super) fn import<K>(&mut self, relations: &Relations, change: &Change<K>) {
        for application in relations.importers_of_secret.get(&change.key).into_iter().flat_map(BTreeMap::keys) {
            self.secrets.extend(keys(relations.oldest_secrets(application)));
        }
    }

    pub(super) fn endpoint(&mut self, _: &Relations, change: &Change<ReplicaState>) {
        self.endpoints.insert(change.key.clone());
        let uses = |side: &Option<Arc<ReplicaState>>| {
            side.as_ref().map(|state| [state.spec.uses.as_slice(), &state.spec.rotations].concat())
        };
        let before = uses(&change.before).unwrap_or_default();
        let news = uses(&change.after).unwrap_or_default().into_iter().filter(|used| !before.contains(used));
        self.secrets.extend(news.map(|used| ObjectRef::new(&used.namespace, &used.name)));
        let before = change.before.as_ref().map(|state| state.spec.methods.as_slice()).unwrap_or_default();
        let after = change.after.iter().flat_map(|state| &state.spec.methods);
        let news = after.filter(|used| !before.contains(used));
        self.applications.extend(news.map(|used| ObjectRef::new(&used.namespace, &used.name)));
        // A lock that is no longer published has ended by its time, which the controller knows, or with its object.
        let locks = |side: &Option<Arc<ReplicaState>>| side.as_ref().map(|state| state.spec.locks.clone());
        let [before, after] = [&change.before, &change.after].map(|side| locks(side).unwrap_or_default());
        let changed = before
            .iter()
            .filter(|lock| !after.contains(lock))
            .chain(after.iter().filter(|lock| !before.contains(lock)));
        self.applications.extend(changed.map(|lock| ObjectRef::new(&lock.namespace, &lock.name)));
    }

    fn add_user(&mut self, relations: &Relations, user: &ObjectRef) {
        self.users.insert(user.clone());
        for application in relations.applications_of_user.get(user).into_iter().flatten() {
            self.add_application(relations, application);
            self.add_clients_of(relations, application);
        }
    }

    fn add_application(&mut self, relations: &Relations, application: &ObjectRef) {
        self.applications.insert(application.clone());
        self.secrets.extend(keys(relations.oldest_secrets(application)));
    }

    fn add_claimants(&mut self, relations: &Relations, client_id: &str) {
        for claimant in relations.claimants_of_client_id.get(client_id).into_iter().flatten() {
            self.add_application(relations, &claimant.key);
            self.clients.insert(client_id.into());
        }
    }

    fn add_clients_of(&mut self, relations: &Relations, application: &ObjectRef) {
        self.clients.extend(relations.client_id_of_application.get(application).cloned());
    }
}

fn keys<'a>(claimants: impl IntoIterator<Item = &'a Claimant>) -> impl Iterator<Item = ObjectRef> {
    claimants.into_iter().map(|claimant| claimant.key.clone())
}

/// Whether the change is more than a write of status or of bookkeeping metadata.
fn is_spec_change<K: Resource>(change: &Change<K>) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            before.meta().generation != after.meta().generation
                || before.meta().uid != after.meta().uid
                || is_deleting(before.as_ref()) != is_deleting(after.as_ref())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::test_cache::TestCache;

    fn namespace(name: &str, location: &str) -> Arc<PartialObjectMeta<Namespace>> {
        let metadata = json!({"name": name, "annotations": {"postern.dev/location": location}});
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    /// What a replica publishes about the methods of one Application.
    fn state(uses: &[(&str, i64)]) -> Arc<ReplicaState> {
        let method = |(method, second): &(&str, i64)| {
            let at = Timestamp::from_second(*second).unwrap().to_string();
            json!({"namespace": "billing", "name": "sync", "uid": "uid", "method": method, "at": at})
        };
        let spec = json!({
            "replica": "postern-0", "reportedAt": "2026-11-22T02:00:00Z",
            "methods": uses.iter().map(method).collect::<Vec<_>>(),
        });
        Arc::new(ReplicaState::new("endpoint-0", serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn the_latest_use_of_each_method_counts_and_only_a_new_one_invalidates_its_application() {
        let world = TestCache::default();
        let report = |name: &str, before: Option<&Arc<ReplicaState>>, after: Option<&Arc<ReplicaState>>| {
            let key = ObjectRef::new("postern-system", name);
            let change = Change { key, before: before.cloned(), after: after.cloned() };
            world.relations().endpoint(&change);
            let mut affected = Invalidation::nothing(Kind::ReplicaState, 0);
            affected.endpoint(&world.relations(), &change);
            assert!(affected.secrets.is_empty() && affected.clients.is_empty());
            affected.applications.iter().map(|key| key.name.to_string()).collect::<Vec<_>>()
        };
        let told = || {
            let uses = world.cache.method_uses_of("uid");
            uses.into_iter().map(|(method, at)| format!("{method} {}", at.as_second())).collect::<Vec<_>>()
        };
        let (first, second) =
            (state(&[("private_key_jwt", 5)]), state(&[("client_secret_basic", 3), ("private_key_jwt", 4)]));
        assert_eq!(report("one", None, Some(&first)), ["sync"]);
        assert_eq!(report("two", None, Some(&second)), ["sync"]);
        assert_eq!(told(), ["client_secret_basic 3", "private_key_jwt 5"]);
        assert!(report("two", Some(&second), Some(&second)).is_empty());
        assert_eq!(world.cache.method_uses_of("recreated"), BTreeMap::new());
        // The first replica publishes its use no longer, then the second one is gone.
        let later = state(&[("client_secret_basic", 9), ("private_key_jwt", 4)]);
        assert!(report("one", Some(&first), Some(&state(&[]))).is_empty());
        assert_eq!(report("two", Some(&second), Some(&later)), ["sync"]);
        assert_eq!(told(), ["client_secret_basic 9", "private_key_jwt 4"]);
        assert!(report("two", Some(&later), None).is_empty());
        assert_eq!(told(), Vec::<String>::new());
    }

    fn user(namespace: &str, name: &str, groups: &[&str]) -> ServiceUser {
        let metadata = json!({"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}")});
        let spec = json!({"location": "/", "groups": groups});
        let object =
            json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ServiceUser", "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_namespace_change_invalidates_only_its_service_users_and_their_groups() {
        let mut world = TestCache::default();
        for user in [
            user("billing", "one", &["readers", "writers"]),
            user("billing", "two", &["readers"]),
            user("bill", "three", &["before"]),
            user("billings", "four", &["after", "readers"]),
        ] {
            world.user(user, true);
        }
        let told = |before: &str, after: &str| {
            let (before, after) = (Some(namespace("billing", before)), Some(namespace("billing", after)));
            let change = Change { key: ObjectRef::new("", "billing"), before, after };
            let mut affected = Invalidation::nothing(Kind::Namespace, 0);
            affected.namespace(&world.relations(), &change);
            (affected.pending_users, Vec::from_iter(affected.groups))
        };
        let users = ["one", "two"].map(|name| ObjectRef::new("billing", name)).to_vec();
        assert_eq!(told("/emea", "/apac"), (users, vec!["readers".to_owned(), "writers".to_owned()]));
        assert_eq!(told("/emea", "/emea"), (Vec::new(), Vec::new()), "nothing that counts has changed");
    }
}
