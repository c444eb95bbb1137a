//! Starts the watches and turns what they report into what is affected.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, Lookup};
use kube::runtime::watcher::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::affected::{Affected, Kind};
use super::delivered::DeliveredSecret;
use super::relations::Relations;
use super::watch::{self, Freshness, Report};
use super::{Change, Model, revision};
use crate::api::names::{COMPONENT_LABEL, CREATED_BY, CREDENTIAL, IMPORT_ALLOWED, IMPORT_LABEL, LOCATION_ANNOTATION};
use crate::api::{ClientSecret, ServiceUser};
use crate::clock::Clock;
use crate::pool::Pool;

/// Pause between two looks at failed watches; the metric of the read model's age is as exact as this.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// What a subscriber receives, in the order of the changes. Unbounded, because the watches must never wait: a watcher
/// that reads too slowly is cut off by the API server.
pub type Subscription = mpsc::UnboundedReceiver<Update>;

/// A message to the subscribers.
#[derive(Clone, Debug)]
pub enum Update {
    /// Something changed. Shared: a change of one group may affect ten thousand objects.
    Affected(Arc<Affected>),
    /// A kind has been listed completely; sent again after each new list.
    Listed(Kind),
}

/// The model, its subscriptions and the tasks that keep it.
pub struct Started {
    /// The stores.
    pub model: Model,
    /// When each watch was last good, in the order of [`Kind::ALL`].
    pub freshness: Vec<(Kind, Arc<Freshness>)>,
    /// The watches; they never end by themselves.
    pub watches: JoinSet<()>,
}

/// Starts a watch of each kind; every subscriber hears of everything.
///
/// `namespace` is the operator's own; `secrets_per_application` is the number from which on the secrets of an application depend on each other.
pub fn start(
    client: &Client,
    namespace: &str,
    clock: impl Clock + Clone,
    secrets_per_application: usize,
    subscribers: Vec<mpsc::UnboundedSender<Update>>,
) -> Started {
    let (groups, groups_writer) = reflector::store();
    let (users, users_writer) = reflector::store();
    let (applications, applications_writer) = reflector::store();
    let (secrets, secrets_writer) = reflector::store();
    let (namespaces, namespaces_writer) = reflector::store();
    let (delivered, delivered_writer) = reflector::store();
    let (imports, imports_writer) = reflector::store();
    let (endpoints, endpoints_writer) = reflector::store();
    let relations = Arc::new(RwLock::new(Relations::default()));
    let (reports, reported) = mpsc::unbounded_channel();
    let hub = Arc::new(Hub { relations: Arc::clone(&relations), reports });
    let mut watches = Watches { client: client.clone(), hub, clock, freshness: Vec::new(), tasks: JoinSet::new() };

    watches.decoded(Api::all(client.clone()), groups_writer, Kind::AccessGroup, bare, |_, _, _| {}, Affected::group);
    watches.decoded(
        Api::all(client.clone()),
        users_writer,
        Kind::ServiceUser,
        signed_by_its_creator,
        Relations::user,
        Affected::user,
    );
    let (api, affected) = (Api::all(client.clone()), Affected::application);
    watches.decoded(api, applications_writer, Kind::Application, bare, Relations::application, affected);
    let affected = move |affected: &mut Affected, relations: &Relations, change: &Change<ClientSecret>| {
        affected.secret(relations, change, secrets_per_application);
    };
    watches.decoded(Api::all(client.clone()), secrets_writer, Kind::ClientSecret, shrink, Relations::secret, affected);
    let (api, affected) = (Api::namespaced(client.clone(), namespace), Affected::endpoint);
    watches.decoded(api, endpoints_writer, Kind::EndpointState, bare, Relations::endpoint, affected);
    watches.namespaces(namespaces_writer);
    watches.delivered(delivered_writer);
    watches.imports(imports_writer);
    watches.probe();
    watches.tasks.spawn(relay(Arc::clone(&relations), reported, subscribers));

    Started {
        model: Model { groups, users, applications, secrets, namespaces, delivered, imports, endpoints, relations },
        freshness: watches.freshness,
        watches: watches.tasks,
    }
}

/// Serialises what several watches report: edges first, then what is affected.
struct Hub {
    relations: Arc<RwLock<Relations>>,
    reports: mpsc::UnboundedSender<Update>,
}

impl Hub {
    fn report<K: Lookup>(
        &self,
        kind: Kind,
        report: &Report<K>,
        relate: impl FnOnce(&mut Relations, &Change<K>),
        affect: impl FnOnce(&mut Affected, &Relations, &Change<K>),
    ) {
        let mut relations = self.relations.write().unwrap_or_else(PoisonError::into_inner);
        let update = match report {
            Report::Listed => Update::Listed(kind),
            Report::Seen(version) => {
                Update::Affected(Affected::nothing(kind, version.parse().unwrap_or_default()).into())
            }
            Report::Change { change, made_at } => {
                let mut affected = Affected { made_at: *made_at, ..Affected::nothing(kind, newest(change)) };
                relate(&mut relations, change);
                affect(&mut affected, &relations, change);
                Update::Affected(affected.into())
            }
        };
        // The relay lives as long as the watches do.
        let _ = self.reports.send(update);
    }
}

/// Passes updates on to every subscriber, in their order. What depends on the members of a group goes before the update
/// itself, which tells how far the kind has come.
async fn relay(
    relations: Arc<RwLock<Relations>>,
    mut reported: mpsc::UnboundedReceiver<Update>,
    subscribers: Vec<mpsc::UnboundedSender<Update>>,
) {
    let pass_on = |update: &Update| {
        for subscriber in &subscribers {
            // A subscriber that is gone (the controller of a replica that lost its lease) needs nothing any more.
            let _ = subscriber.send(update.clone());
        }
    };
    while let Some(update) = reported.recv().await {
        if let Update::Affected(affected) = &update {
            for members in affected.members.chunks(watch::PIECE) {
                let mut piece = Affected::nothing(affected.kind, 0);
                piece.expand(&relations.read().unwrap_or_else(PoisonError::into_inner), members);
                pass_on(&Update::Affected(piece.into()));
                tokio::task::yield_now().await;
            }
        }
        pass_on(&update);
    }
}

/// The resourceVersion of the newer side.
fn newest<K: Lookup>(change: &Change<K>) -> u64 {
    let object = change.after.as_ref().or(change.before.as_ref());
    object.map_or(0, |object| revision(object.as_ref()))
}

struct Watches<C> {
    client: Client,
    hub: Arc<Hub>,
    clock: C,
    freshness: Vec<(Kind, Arc<Freshness>)>,
    tasks: JoinSet<()>,
}

impl<C: Clock + Clone> Watches<C> {
    /// A kind of ours, whole, without what nobody reads.
    fn decoded<K>(
        &mut self,
        api: Api<DeserializeGuard<K>>,
        writer: reflector::store::Writer<K>,
        kind: Kind,
        pack: impl Fn(&mut K) + Send + Sync + 'static,
        relate: impl Fn(&mut Relations, Option<&K>, Option<&K>) + Send + Sync + 'static,
        affect: impl Fn(&mut Affected, &Relations, &Change<K>) + Send + Sync + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (hub, clock, freshness) = self.watch(kind);
        let events = watcher(api, watch::config());
        self.tasks.spawn(async move {
            let decode = |DeserializeGuard(object): DeserializeGuard<K>| {
                let mut object = object.map_err(Box::new)?;
                pack(&mut object);
                trim(object.meta_mut());
                Ok(object)
            };
            watch::follow(kind, events, writer, decode, &freshness, &clock, |report| {
                let relate = |relations: &mut Relations, change: &Change<K>| {
                    relate(relations, change.before.as_deref(), change.after.as_deref());
                };
                hub.report(kind, &report, relate, &affect);
            })
            .await;
        });
    }

    fn namespaces(&mut self, writer: reflector::store::Writer<PartialObjectMeta<Namespace>>) {
        let kind = Kind::Namespace;
        let (hub, clock, freshness) = self.watch(kind);
        let events = watcher(Api::<PartialObjectMeta<Namespace>>::all(self.client.clone()), watch::config());
        self.tasks.spawn(async move {
            let trim = |mut namespace: PartialObjectMeta<Namespace>| {
                let annotations = namespace.metadata.annotations.take().unwrap_or_default();
                namespace.metadata.annotations =
                    Some(annotations.into_iter().filter(|(key, _)| key == LOCATION_ANNOTATION).collect());
                namespace.metadata.managed_fields = None;
                Ok(namespace)
            };
            watch::follow(kind, events, writer, trim, &freshness, &clock, |report| {
                hub.report(kind, &report, |_, _| {}, Affected::namespace);
            })
            .await;
        });
    }

    fn delivered(&mut self, writer: reflector::store::Writer<DeliveredSecret>) {
        let kind = Kind::Secret;
        let (hub, clock, freshness) = self.watch(kind);
        let config = watch::config().labels(&format!("{COMPONENT_LABEL}={CREDENTIAL}"));
        let events = watcher(Api::<PartialObjectMeta<Secret>>::all(self.client.clone()), config);
        self.tasks.spawn(async move {
            let texts = Pool::default();
            let convert = |object: PartialObjectMeta<Secret>| Ok(DeliveredSecret::new(object.metadata).shared(&texts));
            watch::follow(kind, events, writer, convert, &freshness, &clock, |report| {
                hub.report(kind, &report, |_, _| {}, Affected::delivered);
            })
            .await;
        });
    }

    fn imports(&mut self, writer: reflector::store::Writer<PartialObjectMeta<Secret>>) {
        let kind = Kind::Import;
        let (hub, clock, freshness) = self.watch(kind);
        let config = watch::config().labels(&format!("{IMPORT_LABEL}={IMPORT_ALLOWED}"));
        let events = watcher(Api::<PartialObjectMeta<Secret>>::all(self.client.clone()), config);
        self.tasks.spawn(async move {
            let trim = |mut secret: PartialObjectMeta<Secret>| {
                secret.metadata.annotations = None;
                trim(&mut secret.metadata);
                Ok(secret)
            };
            watch::follow(kind, events, writer, trim, &freshness, &clock, |report| {
                hub.report(kind, &report, |_, _| {}, Affected::import);
            })
            .await;
        });
    }

    /// Notices that failed watches are good again: when the API server answers and they have stopped failing.
    fn probe(&mut self) {
        let (client, clock, freshness) = (self.client.clone(), self.clock.clone(), self.freshness.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::time::sleep(PROBE_EVERY).await;
                let now = clock.now();
                let quiet: Vec<_> = freshness.iter().filter(|(_, watch)| watch.may_have_recovered(now)).collect();
                if !quiet.is_empty() && client.apiserver_version().await.is_ok() {
                    for (_, watch) in quiet {
                        watch.recovered();
                    }
                }
            }
        });
    }

    fn watch(&mut self, kind: Kind) -> (Arc<Hub>, C, Arc<Freshness>) {
        let freshness = Arc::new(Freshness::default());
        self.freshness.push((kind, Arc::clone(&freshness)));
        (Arc::clone(&self.hub), self.clock.clone(), freshness)
    }
}

/// Managed fields and the copy that `kubectl apply` leaves are often larger than all the rest.
fn trim(metadata: &mut ObjectMeta) {
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        resource_version: metadata.resource_version.take(),
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp.take(),
        deletion_timestamp: metadata.deletion_timestamp.take(),
        annotations: metadata.annotations.take(),
        ..ObjectMeta::default()
    };
}

/// Without annotations, of which there is often a large one and none that is read.
fn bare<K: Resource>(object: &mut K) {
    object.meta_mut().annotations = None;
}

/// With the one annotation that its tokens show.
fn signed_by_its_creator(user: &mut ServiceUser) {
    if let Some(annotations) = &mut user.metadata.annotations {
        annotations.retain(|key, _| key == CREATED_BY);
    }
}

/// There is one for each credential, and a list has room for four entries from the start.
fn shrink(secret: &mut ClientSecret) {
    bare(secret);
    if let Some(status) = &mut secret.status {
        status.versions.shrink_to_fit();
        status.conditions.shrink_to_fit();
    }
}
