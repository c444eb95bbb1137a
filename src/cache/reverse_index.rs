//! References between objects: the edges of the object graph, from the referring to the referenced object.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::claimants::Claimants;
use super::{Change, ObjectRef, ObjectRefs};
use crate::api::conditions::types;
use crate::api::precedence::Seniority;
use crate::api::replica_state::ClientLock;
use crate::api::{Application, ClientSecret, ReplicaState, ServiceUser};

/// An object that claims something which only one, or a limited number, can have. Ordered by age.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Claimant {
    /// The older comes first.
    pub seniority: Seniority,
    /// The claimant.
    pub key: ObjectRef,
}

impl Claimant {
    pub(super) fn new(key: &ObjectRef, metadata: &ObjectMeta) -> Self {
        Self { seniority: Seniority::of(metadata), key: key.clone() }
    }
}

/// The claims on one client id.
#[derive(Clone, Copy, Debug)]
pub struct ClientIdClaims<'a> {
    /// The client id.
    pub client_id: &'a Arc<str>,
    /// The oldest Application that claims it.
    pub oldest: &'a ObjectRef,
    /// It is the subject of a service user.
    pub is_subject: bool,
}

/// Reverse look-ups. An edge exists as soon as an object references another, whether the other exists or not. So
/// references resolve in any order of creation.
#[derive(Debug)]
pub struct Relations {
    /// Maximum number of active ClientSecrets of an Application.
    secrets_limit: usize,
    /// AccessGroup name → ServiceUsers that reference it.
    pub users_of_group: HashMap<String, ObjectRefs>,
    /// Namespace → ServiceUsers in it.
    pub users_of_namespace: HashMap<Arc<str>, ObjectRefs>,
    /// ServiceUser → Applications that reference it.
    pub applications_of_user: HashMap<ObjectRef, ObjectRefs>,
    /// Application → ClientSecrets that reference it.
    pub secrets_of_application: HashMap<ObjectRef, Claimants>,
    /// Client id → Applications that claim it, oldest first.
    pub claimants_of_client_id: HashMap<Arc<str>, Vec<Claimant>>,
    /// Application → the client id that it claims.
    pub client_id_of_application: HashMap<ObjectRef, Arc<str>>,
    /// Secret → ClientSecrets with that delivery name, oldest first.
    pub claimants_of_secret: HashMap<ObjectRef, Claimants>,
    /// Secret → Applications of the ClientSecrets that import from it, with the number of those ClientSecrets.
    pub importers_of_secret: HashMap<ObjectRef, BTreeMap<ObjectRef, usize>>,
    /// ClientSecret with an expiry warning → its expiry.
    pub ends_soon: HashMap<ObjectRef, Timestamp>,
    /// ClientSecret → its recently used versions, and when each was used.
    pub uses: HashMap<ObjectRef, BTreeMap<String, Timestamp>>,
    /// UID of an Application → its recently used methods, and when each was used.
    pub method_uses: HashMap<String, BTreeMap<String, Timestamp>>,
    /// UID of an Application → the locks of its secrets, by the object that publishes them.
    pub locks: HashMap<String, BTreeMap<ObjectRef, Vec<ClientLock>>>,
    /// ClientSecret → the version whose rotation its bearer recently requested.
    pub rotation_requests: HashMap<ObjectRef, String>,
    /// UID → ServiceUser: subjects, which no client id may equal (RFC 9068 §5).
    pub user_of_subject: BTreeMap<String, ObjectRef>,
}

impl Relations {
    /// No edges yet. `secrets_limit` is the maximum number of active ClientSecrets of an Application.
    pub(super) fn new(secrets_limit: usize) -> Self {
        Self {
            secrets_limit,
            users_of_group: HashMap::new(),
            users_of_namespace: HashMap::new(),
            applications_of_user: HashMap::new(),
            secrets_of_application: HashMap::new(),
            claimants_of_client_id: HashMap::new(),
            client_id_of_application: HashMap::new(),
            claimants_of_secret: HashMap::new(),
            importers_of_secret: HashMap::new(),
            ends_soon: HashMap::new(),
            uses: HashMap::new(),
            method_uses: HashMap::new(),
            locks: HashMap::new(),
            rotation_requests: HashMap::new(),
            user_of_subject: BTreeMap::new(),
        }
    }

    /// The claims on a client id; `None`: no Application claims it.
    #[must_use]
    pub fn claims_on_client_id(&self, client_id: &str) -> Option<ClientIdClaims<'_>> {
        let (client_id, claimants) = self.claimants_of_client_id.get_key_value(client_id)?;
        let is_subject = self.user_of_subject.contains_key(&**client_id);
        Some(ClientIdClaims { client_id, oldest: &claimants.first()?.key, is_subject })
    }

    /// The oldest ClientSecret that claims the name of `secret`.
    #[must_use]
    pub fn oldest_claimant_of_secret(&self, secret: &ObjectRef) -> Option<&Claimant> {
        self.claimants_of_secret.get(secret)?.within().first()
    }

    /// The oldest ClientSecrets of an Application, at most as many as the limit, oldest first.
    #[must_use]
    pub fn oldest_secrets(&self, application: &ObjectRef) -> &[Claimant] {
        self.secrets_of_application.get(application).map(Claimants::within).unwrap_or_default()
    }

    /// Whether a ClientSecret of this age is within the limit, or was until it was removed.
    pub(super) fn counts(&self, application: &ObjectRef, claimant: &Claimant) -> bool {
        let last =
            |line: &Claimants| line.within().last().filter(|_| line.within().len() >= self.secrets_limit).cloned();
        self.secrets_of_application.get(application).and_then(last).is_none_or(|last| *claimant <= last)
    }

    /// The ClientSecrets of an Application whose place changes when another is added or removed.
    pub(super) fn secrets_at_the_limit(&self, application: &ObjectRef) -> impl Iterator<Item = &Claimant> {
        let line = self.secrets_of_application.get(application);
        line.into_iter().flat_map(|line| line.at_the_limit(self.secrets_limit))
    }

    /// Replaces the edges of a ServiceUser.
    pub(super) fn user(&mut self, change: &Change<ServiceUser>) {
        let key = &change.key;
        for (user, present) in sides(change) {
            for group in user.spec.groups.iter().flatten() {
                set(&mut self.users_of_group, group.clone(), key.clone(), present);
            }
            set(&mut self.users_of_namespace, Arc::clone(&key.namespace), key.clone(), present);
            let uid = user.metadata.uid.clone().unwrap_or_default();
            if present {
                self.user_of_subject.insert(uid, key.clone());
            } else {
                self.user_of_subject.remove(&uid);
            }
        }
    }

    /// Replaces the edges of an Application.
    pub(super) fn application(&mut self, change: &Change<Application>) {
        let key = &change.key;
        for (application, present) in sides(change) {
            let user = key.sibling(&application.spec.service_user_ref.name);
            set(&mut self.applications_of_user, user, key.clone(), present);
            let client_id: Arc<str> = application.spec.claimed_client_id(&application.metadata).into();
            if present {
                self.client_id_of_application.insert(key.clone(), Arc::clone(&client_id));
            } else {
                self.client_id_of_application.remove(key);
            }
            insert_claimant(
                &mut self.claimants_of_client_id,
                &client_id,
                Claimant::new(key, &application.metadata),
                present,
            );
        }
    }

    /// Replaces the edges of a ClientSecret. One that is being deleted claims nothing.
    pub(super) fn secret(&mut self, change: &Change<ClientSecret>) {
        let key = &change.key;
        for (secret, present) in sides(change) {
            let claimant = Claimant::new(key, &secret.metadata);
            let application = key.sibling(&secret.spec.application_ref.name);
            let delivered = key.sibling(secret.spec.secret_name(&secret.metadata));
            // A ClientSecret that is being deleted was removed when its deletion was requested.
            if super::is_deleting(secret) {
                self.ends_soon.remove(key);
                continue;
            }
            if let Some(existing) = secret.spec.existing() {
                let source = key.sibling(&existing.secret_name);
                count(&mut self.importers_of_secret, source, application.clone(), present);
            }
            join(&mut self.secrets_of_application, application, claimant.clone(), present, self.secrets_limit);
            join(&mut self.claimants_of_secret, delivered, claimant, present, 1);
            match ends_soon(secret).filter(|_| present) {
                Some(end) => self.ends_soon.insert(key.clone(), end),
                None => self.ends_soon.remove(key),
            };
        }
    }

    /// Records the uses that a replica publishes, and drops those that it no longer publishes: status contains them by
    /// then.
    pub(super) fn endpoint(&mut self, change: &Change<ReplicaState>) {
        for used in change.before.iter().flat_map(|state| &state.spec.uses) {
            forget_use(&mut self.uses, &ObjectRef::new(&used.namespace, &used.name), &used.version, used.at);
        }
        for used in change.before.iter().flat_map(|state| &state.spec.methods) {
            forget_use(&mut self.method_uses, &used.uid, &used.method, used.at);
        }
        for lock in change.before.iter().flat_map(|state| &state.spec.locks) {
            if let Entry::Occupied(mut known) = self.locks.entry(lock.uid.clone()) {
                known.get_mut().remove(&change.key);
                if known.get().is_empty() {
                    known.remove();
                }
            }
        }
        for lock in change.after.iter().flat_map(|state| &state.spec.locks) {
            let published = self.locks.entry(lock.uid.clone()).or_default();
            published.entry(change.key.clone()).or_default().push(lock.clone());
        }
        for asked in change.before.iter().flat_map(|state| &state.spec.rotations) {
            self.rotation_requests.remove(&ObjectRef::new(&asked.namespace, &asked.name));
        }
        for asked in change.after.iter().flat_map(|state| &state.spec.rotations) {
            self.rotation_requests.insert(ObjectRef::new(&asked.namespace, &asked.name), asked.version.clone());
        }
        for used in change.after.iter().flat_map(|state| &state.spec.uses) {
            record_use(&mut self.uses, ObjectRef::new(&used.namespace, &used.name), &used.version, used.at);
        }
        for used in change.after.iter().flat_map(|state| &state.spec.methods) {
            record_use(&mut self.method_uses, used.uid.clone(), &used.method, used.at);
        }
    }
}

/// The last uses of each object, by what was used.
type LastUses<K> = HashMap<K, BTreeMap<String, Timestamp>>;

/// Drops a use that a replica no longer publishes, unless another replica publishes a later one.
fn forget_use<K: Eq + Hash>(uses: &mut LastUses<K>, object: &K, what: &str, published: Timestamp) {
    let Some(known) = uses.get_mut(object) else { return };
    known.retain(|used, at| used != what || *at > published);
    if known.is_empty() {
        uses.remove(object);
    }
}

/// Keeps the later of the published uses.
fn record_use<K: Eq + Hash>(uses: &mut LastUses<K>, object: K, what: &str, published: Timestamp) {
    let at = uses.entry(object).or_default().entry(what.to_owned()).or_insert(published);
    *at = published.max(*at);
}

/// When the credential expires, if it has an expiry warning.
fn ends_soon(secret: &ClientSecret) -> Option<Timestamp> {
    let status = secret.status.as_ref()?;
    let warned = status.conditions.iter().any(|c| c.type_ == types::EXPIRING && c.status == "True");
    status.expires_at.filter(|_| warned && !secret.spec.is_revoked())
}

/// The edges to remove, then the edges to add.
fn sides<K>(change: &Change<K>) -> impl Iterator<Item = (&K, bool)> {
    let before = change.before.as_deref().map(|object| (object, false));
    before.into_iter().chain(change.after.as_deref().map(|object| (object, true)))
}

fn set<N: Eq + Hash, M: Ord>(edges: &mut HashMap<N, BTreeSet<M>>, named: N, member: M, present: bool) {
    if present {
        edges.entry(named).or_default().insert(member);
    } else if let Some(members) = edges.get_mut(&named) {
        members.remove(&member);
        if members.is_empty() {
            edges.remove(&named);
        }
    }
}

/// The same for a list of claimants, of which `limit` get what they claim.
fn join(edges: &mut HashMap<ObjectRef, Claimants>, named: ObjectRef, claimant: Claimant, present: bool, limit: usize) {
    if present {
        let _ = edges.entry(named).or_default().insert(claimant, limit);
    } else if let Some(line) = edges.get_mut(&named) {
        let _ = line.remove(&claimant);
        if line.is_empty() {
            edges.remove(&named);
        }
    }
}

/// The same for members with a reference count.
fn count(
    edges: &mut HashMap<ObjectRef, BTreeMap<ObjectRef, usize>>,
    named: ObjectRef,
    member: ObjectRef,
    present: bool,
) {
    if present {
        *edges.entry(named).or_default().entry(member).or_default() += 1;
    } else if let Some(members) = edges.get_mut(&named) {
        if let Some(reasons) = members.get_mut(&member) {
            *reasons -= 1;
            if *reasons == 0 {
                members.remove(&member);
            }
        }
        if members.is_empty() {
            edges.remove(&named);
        }
    }
}

/// The same for claimants, in their order. Vectors of exact capacity, because most have one member. A tree has room for
/// eleven from the start: a kilobyte for each of ten thousand secrets.
fn insert_claimant<N: Eq + Hash + Clone>(
    edges: &mut HashMap<N, Vec<Claimant>>,
    named: &N,
    claimant: Claimant,
    present: bool,
) {
    let claimants = edges.entry(named.clone()).or_insert_with(|| Vec::with_capacity(1));
    match (claimants.binary_search(&claimant), present) {
        (Err(at), true) => claimants.insert(at, claimant),
        (Ok(at), false) => drop(claimants.remove(at)),
        (Ok(_), true) | (Err(_), false) => {}
    }
    if claimants.is_empty() {
        edges.remove(named);
    }
}
