//! The cache of the cluster's objects, and the dependencies between them.
//!
//! ```text
//! watch (one per kind, its own back-off) ──Change──▶ dispatcher ──▶ stores + reverse index ──Invalidation──▶ controller, read model
//! ```
//!
//! One task writes (the dispatcher); all other tasks read snapshots. Each [`Change`] is mapped once to the set of objects
//! whose meaning it may alter ([`Invalidation`]). So controller and read model use the same dependencies and are independent of
//! each other. This module makes no decisions: it answers which objects claim something, in the order of
//! [`api::precedence`](crate::api::precedence). `plan` and the read model decide who has it.

mod claimants;
mod compressed;
mod decoded;
mod dispatcher;
mod invalidation;
#[cfg(test)]
mod invalidation_bound_tests;
mod object_limit;
mod reverse_index;
mod secret_metadata;
mod store;
#[cfg(test)]
pub(crate) mod test_cache;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Lookup;

use crate::api::permissions;
use crate::api::permissions::{Membership, NamespaceLocation};
use crate::api::replica_state::ClientLock;
use crate::api::terminating::is_terminating;
use crate::api::{AccessGroup, Application, ClientSecret, NamespaceFacts, ReplicaState, ServiceUser};

pub use claimants::Claimants;
pub use compressed::{Compressed, Dictionary};
pub use dispatcher::{Limits, Subscription, Update, Watches, start};
pub use invalidation::{Invalidation, Kind};
pub use reverse_index::{Claimant, ClientIdClaims, Relations};
pub use secret_metadata::DeliveredSecret;
pub use store::{ObjectStore, StoredAs, StoredObject};
pub use watch::WatchHealth;

/// Namespace and name. Cheap to clone: each text is stored once.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectRef {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    #[must_use]
    pub fn of<K: Lookup>(object: &K) -> Self {
        let text = |part: Option<Cow<'_, str>>| part.as_deref().unwrap_or_default().into();
        Self { namespace: text(object.namespace()), name: text(object.name()) }
    }

    /// The key of another object of the same namespace.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let name = if *self.name == *name { Arc::clone(&self.name) } else { name.into() };
        Self { namespace: Arc::clone(&self.namespace), name }
    }
}

/// A change: the object before and after; one of them may be absent.
#[derive(Clone, Debug)]
pub struct Change<K> {
    /// The changed object.
    pub key: ObjectRef,
    /// The object as it was served before the change.
    pub before: Option<Arc<K>>,
    /// The object as it is served after the change.
    pub after: Option<Arc<K>>,
}

/// The stores, for readers. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    /// AccessGroups.
    pub groups: ObjectStore<Arc<AccessGroup>>,
    /// ServiceUsers.
    pub users: ObjectStore<Compressed<ServiceUser>>,
    /// Applications.
    pub applications: ObjectStore<Compressed<Application>>,
    /// ClientSecrets.
    pub secrets: ObjectStore<Compressed<ClientSecret>>,
    /// Namespaces, metadata only.
    pub namespaces: ObjectStore<Arc<PartialObjectMeta<Namespace>>>,
    /// Delivered Secrets, metadata only.
    pub delivered: ObjectStore<Arc<DeliveredSecret>>,
    /// Secrets whose owner allows their import, metadata only.
    pub imports: ObjectStore<Arc<PartialObjectMeta<Secret>>>,
    /// What endpoint replicas publish to each other.
    pub replica_states: ObjectStore<Arc<ReplicaState>>,
    /// Whether namespaces need a location.
    pub namespace_location: NamespaceLocation,
    relations: Arc<RwLock<Relations>>,
}

impl Cache {
    /// An empty cache. `secrets_limit` is the maximum number of active ClientSecrets of an Application.
    #[must_use]
    pub fn new(secrets_limit: usize) -> Self {
        Self {
            groups: ObjectStore::default(),
            users: ObjectStore::default(),
            applications: ObjectStore::default(),
            secrets: ObjectStore::default(),
            namespaces: ObjectStore::default(),
            delivered: ObjectStore::default(),
            imports: ObjectStore::default(),
            replica_states: ObjectStore::default(),
            namespace_location: NamespaceLocation::default(),
            relations: Arc::new(RwLock::new(Relations::new(secrets_limit))),
        }
    }

    /// The dependencies between objects. Hold the guard only for one query.
    pub fn relations(&self) -> RwLockReadGuard<'_, Relations> {
        self.relations.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The facts of a namespace. An unknown namespace has no labels and no location bound: groups that admit it by name
    /// still do.
    #[must_use]
    pub fn namespace(&self, name: &str) -> NamespaceFacts {
        self.namespaces.get(&ObjectRef::new("", name)).map_or_else(
            || NamespaceFacts { name: name.to_owned(), ..NamespaceFacts::default() },
            |namespace| NamespaceFacts::new(namespace.meta()),
        )
    }

    /// Whether the namespace is known and not being deleted. Watches are independent, so an object may arrive before
    /// its namespace.
    #[must_use]
    pub fn knows_namespace(&self, name: &str) -> bool {
        self.namespaces.get(&ObjectRef::new("", name)).is_some_and(|namespace| !is_deleting(namespace.as_ref()))
    }

    /// An active AccessGroup.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<Arc<AccessGroup>> {
        self.groups.kept(&ObjectRef::new("", name))?.live()
    }

    /// The effective permissions from the groups of `user`.
    #[must_use]
    pub fn membership(&self, user: &ServiceUser) -> Membership {
        let names = user.spec.groups.iter().flatten();
        let groups: HashMap<&String, Arc<AccessGroup>> =
            names.filter_map(|name| self.group(name).map(|group| (name, group))).collect();
        let namespace = self.namespace(user.metadata.namespace.as_deref().unwrap_or_default());
        permissions::resolve(&user.spec, &namespace, self.namespace_location, |name| {
            groups.get(&name.to_owned()).map(AsRef::as_ref)
        })
    }

    /// A ServiceUser that is not being deleted.
    #[must_use]
    pub fn user(&self, key: &ObjectRef) -> Option<Arc<ServiceUser>> {
        self.users.kept(key)?.live()
    }

    /// An Application that is not being deleted.
    #[must_use]
    pub fn application(&self, key: &ObjectRef) -> Option<Arc<Application>> {
        self.applications.kept(key)?.live()
    }

    /// When versions of a ClientSecret were last used, by id, as far as replicas have recently published.
    #[must_use]
    pub fn uses_of(&self, secret: &ObjectRef) -> BTreeMap<String, Timestamp> {
        self.relations().uses.get(secret).cloned().unwrap_or_default()
    }

    /// When the methods of an Application with this UID were last used, by name, as far as replicas have recently
    /// published.
    #[must_use]
    pub fn method_uses_of(&self, uid: &str) -> BTreeMap<String, Timestamp> {
        self.relations().method_uses.get(uid).cloned().unwrap_or_default()
    }

    /// The locks of the secrets of the Application with this UID, as published.
    #[must_use]
    pub fn locks_of(&self, uid: &str) -> Vec<ClientLock> {
        self.relations().locks.get(uid).into_iter().flat_map(BTreeMap::values).flatten().cloned().collect()
    }

    /// The version of a ClientSecret whose rotation its bearer recently requested.
    #[must_use]
    pub fn rotation_request(&self, secret: &ObjectRef) -> Option<String> {
        self.relations().rotation_requests.get(secret).cloned()
    }

    /// The ClientSecrets of an Application within the limit, oldest first. The others matter only by their number.
    #[must_use]
    pub fn secrets_of(&self, application: &ObjectRef) -> Vec<Arc<StoredObject<Compressed<ClientSecret>>>> {
        let keys: Vec<ObjectRef> = {
            let relations = self.relations();
            let claimants = relations.oldest_secrets(application).iter();
            claimants.map(|claimant| claimant.key.clone()).collect()
        };
        keys.iter().filter_map(|key| self.secrets.kept(key)).collect()
    }
}

/// Whether the object is being deleted; such an object is treated as absent (fail closed).
pub fn is_deleting<K: Resource>(object: &K) -> bool {
    is_terminating(object.meta())
}

/// The resourceVersion as a number, 0 if it is absent. ResourceVersions of one kind compare as integers (KEP-5504).
pub fn revision<K: Lookup>(object: &K) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// A set of keys.
pub type ObjectRefs = BTreeSet<ObjectRef>;
