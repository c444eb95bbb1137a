//! A cache that tests update directly: what the watches would report, without an API server.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::core::PartialObjectMeta;

use super::invalidation::{Invalidation, Kind};
use super::reverse_index::Relations;
use super::store::StoredObject;
use super::{Cache, Change, Compressed, ObjectRef, ObjectStore, StoredAs, revision};
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};

/// The limit above which secrets of an Application depend on each other.
pub(crate) const SECRETS_LIMIT: usize = 2;

/// A cache that a test updates.
pub(crate) struct TestCache {
    pub(crate) cache: Cache,
}

impl Default for TestCache {
    fn default() -> Self {
        Self { cache: Cache::new(SECRETS_LIMIT) }
    }
}

impl TestCache {
    pub(crate) fn relations(&self) -> std::sync::RwLockWriteGuard<'_, Relations> {
        self.cache.relations.write().unwrap()
    }

    /// Adds, replaces or removes the group.
    pub(crate) fn group(&mut self, object: AccessGroup, present: bool) -> Invalidation {
        let change = write(&self.cache.groups, object, present, Arc::new);
        let mut affected = Invalidation::nothing(Kind::AccessGroup, 0);
        affected.group(&self.relations(), &change);
        self.with_members(affected)
    }

    /// Like the relay, but immediately instead of in chunks.
    fn with_members(&self, mut affected: Invalidation) -> Invalidation {
        let members = std::mem::take(&mut affected.pending_users);
        affected.add_dependents(&self.relations(), &members);
        affected
    }

    /// Adds, replaces or removes the namespace.
    pub(crate) fn namespace(&mut self, object: PartialObjectMeta<Namespace>, present: bool) -> Invalidation {
        let change = write(&self.cache.namespaces, object, present, Arc::new);
        let mut affected = Invalidation::nothing(Kind::Namespace, 0);
        affected.namespace(&self.relations(), &change);
        self.with_members(affected)
    }

    /// Adds, replaces or removes the service user.
    pub(crate) fn user(&mut self, object: ServiceUser, present: bool) -> Invalidation {
        let change = write(&self.cache.users, object, present, |object| Compressed::new(&object));
        let mut affected = Invalidation::nothing(Kind::ServiceUser, 0);
        self.relations().user(&change);
        affected.user(&self.relations(), &change);
        affected
    }

    /// Adds, replaces or removes the application.
    pub(crate) fn application(&mut self, object: Application, present: bool) -> Invalidation {
        let change = write(&self.cache.applications, object, present, |object| Compressed::new(&object));
        let mut affected = Invalidation::nothing(Kind::Application, 0);
        self.relations().application(&change);
        affected.application(&self.relations(), &change);
        affected
    }

    /// Adds, replaces or removes the secret.
    pub(crate) fn secret(&mut self, object: ClientSecret, present: bool) -> Invalidation {
        let change = write(&self.cache.secrets, object, present, |object| Compressed::new(&object));
        let mut affected = Invalidation::nothing(Kind::ClientSecret, 0);
        self.relations().secret(&change);
        affected.secret(&self.relations(), &change);
        affected
    }
}

/// Like the API server: a changed spec gets a new generation.
fn write<F>(store: &ObjectStore<F>, mut object: F::Object, present: bool, keep: fn(F::Object) -> F) -> Change<F::Object>
where
    F: StoredAs<Object: Resource<DynamicType = ()>>,
{
    let key = ObjectRef::of(&object);
    let before = store.get(&key);
    let generation = before.as_ref().and_then(|before| before.meta().generation).unwrap_or_default() + 1;
    object.meta_mut().generation = Some(generation);
    object.meta_mut().resource_version = Some(generation.to_string());
    if present {
        let revision = revision(&object);
        store.put(Arc::new(StoredObject { key: key.clone(), revision, object: keep(object) }));
    } else {
        store.take(&key);
    }
    let after = store.get(&key);
    Change { key, before, after }
}
