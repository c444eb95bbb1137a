//! A model that tests drive by hand: what the watches would report, without an API server.

use std::sync::{Arc, RwLock};

use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::affected::{Affected, Kind};
use super::relations::Relations;
use super::{Change, Model};
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};

/// The limit from which on secrets of an application depend on each other.
pub(crate) const SECRETS_LIMIT: usize = 2;

/// A model and the writers of its stores.
pub(crate) struct World {
    pub(crate) model: Model,
    groups: Writer<AccessGroup>,
    users: Writer<ServiceUser>,
    applications: Writer<Application>,
    secrets: Writer<ClientSecret>,
}

impl World {
    pub(crate) fn new() -> Self {
        let (groups_store, groups) = reflector::store();
        let (users_store, users) = reflector::store();
        let (applications_store, applications) = reflector::store();
        let (secrets_store, secrets) = reflector::store();
        let (namespaces, _) = reflector::store();
        let (delivered, _) = reflector::store();
        let (imports, _) = reflector::store();
        let (endpoints, _) = reflector::store();
        let model = Model {
            groups: groups_store,
            users: users_store,
            applications: applications_store,
            secrets: secrets_store,
            namespaces,
            delivered,
            imports,
            endpoints,
            relations: Arc::new(RwLock::new(Relations::default())),
        };
        Self { model, groups, users, applications, secrets }
    }

    pub(crate) fn relations(&self) -> std::sync::RwLockWriteGuard<'_, Relations> {
        self.model.relations.write().unwrap()
    }

    /// Puts the group there, or takes it away.
    pub(crate) fn group(&mut self, object: AccessGroup, present: bool) -> Affected {
        let change = write(&mut self.groups, object, present);
        let mut affected = Affected::nothing(Kind::AccessGroup, 0);
        affected.group(&self.relations(), &change);
        let members = std::mem::take(&mut affected.members);
        affected.expand(&self.relations(), &members);
        affected
    }

    /// Puts the service user there, or takes it away.
    pub(crate) fn user(&mut self, object: ServiceUser, present: bool) -> Affected {
        let change = write(&mut self.users, object, present);
        let mut affected = Affected::nothing(Kind::ServiceUser, 0);
        self.relations().user(change.before.as_deref(), change.after.as_deref());
        affected.user(&self.relations(), &change);
        affected
    }

    /// Puts the application there, or takes it away.
    pub(crate) fn application(&mut self, object: Application, present: bool) -> Affected {
        let change = write(&mut self.applications, object, present);
        let mut affected = Affected::nothing(Kind::Application, 0);
        self.relations().application(change.before.as_deref(), change.after.as_deref());
        affected.application(&self.relations(), &change);
        affected
    }

    /// Puts the secret there, or takes it away.
    pub(crate) fn secret(&mut self, object: ClientSecret, present: bool) -> Affected {
        let change = write(&mut self.secrets, object, present);
        let mut affected = Affected::nothing(Kind::ClientSecret, 0);
        self.relations().secret(change.before.as_deref(), change.after.as_deref());
        affected.secret(&self.relations(), &change, SECRETS_LIMIT);
        affected
    }
}

/// As the API server would: a changed spec has a new generation.
fn write<K>(writer: &mut Writer<K>, mut object: K, present: bool) -> Change<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let store = writer.as_reader();
    let reference = ObjectRef::from_obj(&object);
    let before = store.get(&reference);
    let generation = before.as_ref().and_then(|before| before.meta().generation).unwrap_or_default() + 1;
    object.meta_mut().generation = Some(generation);
    object.meta_mut().resource_version = Some(generation.to_string());
    if let Some(before) = &before {
        object.meta_mut().uid = before.uid();
        object.meta_mut().creation_timestamp = before.creation_timestamp();
    }
    match (present, &before) {
        (true, _) => writer.apply_watcher_event(&Event::Apply(object)),
        (false, Some(before)) => writer.apply_watcher_event(&Event::Delete(K::clone(before))),
        (false, None) => {}
    }
    Change { before, after: store.get(&reference) }
}
