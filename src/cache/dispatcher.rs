//! Starts the watches and maps what they report to what is affected.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::error_boundary::InvalidObject;
use kube::core::{PartialObjectMeta, PartialObjectMetaExt as _};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::compressed::Compressed;
use super::decoded::{Decoded, Metadata};
use super::invalidation::{Invalidation, Kind};
use super::reverse_index::Relations;
use super::secret_metadata::DeliveredSecret;
use super::store::{ObjectStore, StoredAs, StoredObject};
use super::watch::{self, Report, StoreWriter, WatchHealth};
use super::{Cache, Change, ObjectRef};
use crate::api::names::{
    COMPONENT_LABEL, CREATED_BY, CREDENTIAL, IMPORT_ALLOWED, IMPORT_LABEL, LOCATION_ANNOTATION, UNLOCK_ANNOTATION,
};
use crate::api::permissions::NamespaceLocation;
use crate::clock::Clock;

/// Interval between two checks of failed watches; it limits the precision of the metric of the read model's age.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// What a subscriber receives, in the order of the changes. Unbounded, because the watches must never wait: the API
/// server disconnects a watcher that reads too slowly.
pub type Subscription = mpsc::UnboundedReceiver<Update>;

/// A message to the subscribers.
#[derive(Clone, Debug)]
pub enum Update {
    /// A change. Shared: a change of one group may affect ten thousand objects.
    Affected(Arc<Invalidation>),
    /// A kind has been listed completely; sent again after each new list.
    Listed(Kind),
}

/// The cache, its subscriptions and the tasks that update it.
pub struct Watches {
    /// The stores.
    pub cache: Cache,
    /// When each watch last succeeded.
    pub freshness: Vec<(Kind, Arc<WatchHealth>)>,
    /// The watches; they run until they are aborted.
    pub tasks: JoinSet<()>,
}

/// Limits on the number of objects; the oldest are within the limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Active ClientSecrets of one Application.
    pub secrets_per_application: usize,
    /// Objects of each Postern kind in one namespace.
    pub objects_per_namespace: usize,
}

/// Starts a watch of each of `kinds`; every subscriber receives all updates. `namespace` is the operator's namespace.
pub fn start(
    client: &Client,
    namespace: &str,
    clock: impl Clock + Clone,
    limits: Limits,
    namespace_location: NamespaceLocation,
    kinds: &[Kind],
    subscribers: Vec<mpsc::UnboundedSender<Update>>,
) -> Watches {
    let cache = Cache { namespace_location, ..Cache::new(limits.secrets_per_application) };
    let (reports, reported) = mpsc::unbounded_channel();
    let hub = Arc::new(Dispatcher { relations: Arc::clone(&cache.relations), reports });
    let mut watches = WatchStarter {
        client: client.clone(),
        hub,
        clock,
        kinds: kinds.to_vec(),
        objects_per_namespace: limits.objects_per_namespace,
        freshness: Vec::new(),
        current_revisions: Vec::new(),
        tasks: JoinSet::new(),
    };

    let (api, keep) = (Api::all(client.clone()), |group| Arc::new(strip_annotations(group)));
    watches.decoded(api, &cache.groups, Kind::AccessGroup, keep, |_, _| {}, Invalidation::group);
    let (api, keep) = (Api::all(client.clone()), |user| Compressed::new(&retain_annotation(user, CREATED_BY)));
    watches.decoded(api, &cache.users, Kind::ServiceUser, keep, Relations::user, Invalidation::user);
    let (api, keep) =
        (Api::all(client.clone()), |application| Compressed::new(&retain_annotation(application, UNLOCK_ANNOTATION)));
    let (relate, affect) = (Relations::application, Invalidation::application);
    watches.decoded(api, &cache.applications, Kind::Application, keep, relate, affect);
    let (api, keep) = (Api::all(client.clone()), |secret| Compressed::new(&strip_annotations(secret)));
    watches.decoded(api, &cache.secrets, Kind::ClientSecret, keep, Relations::secret, Invalidation::secret);
    let (api, keep) = (Api::namespaced(client.clone(), namespace), |state| Arc::new(strip_annotations(state)));
    watches.decoded(api, &cache.replica_states, Kind::ReplicaState, keep, Relations::endpoint, Invalidation::endpoint);
    watches.namespaces(&cache.namespaces);
    watches.delivered(&cache.delivered);
    watches.imports(&cache.imports);
    watches.probe();
    watches.tasks.spawn(fan_out(Arc::clone(&cache.relations), reported, subscribers));
    Watches { cache, freshness: watches.freshness, tasks: watches.tasks }
}

/// Serializes the reports of all watches: updates the edges first, then computes what is affected.
struct Dispatcher {
    relations: Arc<RwLock<Relations>>,
    reports: mpsc::UnboundedSender<Update>,
}

impl Dispatcher {
    fn report<F: StoredAs>(
        &self,
        kind: Kind,
        report: Report<F>,
        relate: impl FnOnce(&mut Relations, &Change<F::Object>),
        affect: impl FnOnce(&mut Invalidation, &Relations, &Change<F::Object>),
    ) {
        match report {
            Report::ListDone => self.send(Update::Listed(kind)),
            Report::Absent(key, revision) => {
                let mut affected = Invalidation::nothing(kind, revision);
                affected.absent(key);
                self.send(Update::Affected(affected.into()));
            }
            Report::Undecodable(revision) => self.send(Update::Affected(Invalidation::nothing(kind, revision).into())),
            Report::Change { before, after, made_at } => {
                let Some(newer) = after.as_ref().or(before.as_ref()) else { return };
                let mut affected = Invalidation { made_at, ..Invalidation::nothing(kind, newer.revision) };
                let open = |side: &Option<Arc<StoredObject<F>>>| side.as_ref()?.object.open();
                let change = Change { key: newer.key.clone(), before: open(&before), after: open(&after) };
                let mut relations = self.relations.write().unwrap_or_else(PoisonError::into_inner);
                relate(&mut relations, &change);
                affect(&mut affected, &relations, &change);
                // Under the lock: updates have the same order as the changes of the edges.
                self.send(Update::Affected(affected.into()));
            }
        }
    }

    fn send(&self, update: Update) {
        // The relay lives as long as the watches.
        let _ = self.reports.send(update);
    }
}

/// Forwards updates to every subscriber, in their order. The dependents of group members precede the update itself,
/// which reports the applied revision of the kind.
async fn fan_out(
    relations: Arc<RwLock<Relations>>,
    mut reported: mpsc::UnboundedReceiver<Update>,
    subscribers: Vec<mpsc::UnboundedSender<Update>>,
) {
    let pass_on = |update: &Update| {
        for subscriber in &subscribers {
            // A closed subscriber (the controller of a replica that lost its lease) needs no updates.
            let _ = subscriber.send(update.clone());
        }
    };
    while let Some(update) = reported.recv().await {
        if let Update::Affected(affected) = &update {
            for members in affected.pending_users.chunks(watch::YIELD_EVERY) {
                let mut piece = Invalidation::nothing(affected.kind, 0);
                piece.add_dependents(&relations.read().unwrap_or_else(PoisonError::into_inner), members);
                pass_on(&Update::Affected(piece.into()));
                tokio::task::yield_now().await;
            }
        }
        pass_on(&update);
    }
}

struct WatchStarter<C> {
    client: Client,
    hub: Arc<Dispatcher>,
    clock: C,
    /// The kinds that this process needs; others are not requested.
    kinds: Vec<Kind>,
    objects_per_namespace: usize,
    freshness: Vec<(Kind, Arc<WatchHealth>)>,
    /// How to read the current resourceVersion of each kind from the API server.
    current_revisions: Vec<Box<dyn Fn() -> BoxFuture<'static, kube::Result<u64>> + Send + Sync>>,
    tasks: JoinSet<()>,
}

impl<C: Clock + Clone> WatchStarter<C> {
    /// Watches a Postern kind, without unused metadata.
    fn decoded<K, F>(
        &mut self,
        api: Api<Decoded<K>>,
        store: &ObjectStore<F>,
        kind: Kind,
        keep: impl Fn(K) -> F + Send + Sync + 'static,
        relate: impl Fn(&mut Relations, &Change<K>) + Send + Sync + 'static,
        affect: impl Fn(&mut Invalidation, &Relations, &Change<K>) + Send + Sync + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
        F: StoredAs<Object = K> + Send + Sync + 'static,
    {
        let convert = move |Decoded(object): Decoded<K>, _: &ObjectRef| {
            let mut object = object?;
            trim(object.meta_mut());
            Ok(keep(object))
        };
        self.follow(kind, api, watch::config(), store, convert, relate, affect);
    }

    fn namespaces(&mut self, store: &ObjectStore<Arc<PartialObjectMeta<Namespace>>>) {
        let convert = |namespace: Metadata<Namespace>, _: &ObjectRef| {
            let mut metadata = namespace.metadata;
            if let Some(annotations) = &mut metadata.annotations {
                annotations.retain(|key, _| key == LOCATION_ANNOTATION);
            }
            metadata.managed_fields = None;
            Ok(Arc::new(metadata.into_response_partial()))
        };
        let (api, affect) = (Api::all(self.client.clone()), Invalidation::namespace);
        self.follow(Kind::Namespace, api, watch::config(), store, convert, |_, _| {}, affect);
    }

    fn delivered(&mut self, store: &ObjectStore<Arc<DeliveredSecret>>) {
        let convert = |secret: Metadata<Secret>, key: &ObjectRef| {
            Ok(Arc::new(DeliveredSecret::new(key.clone(), &secret.metadata)))
        };
        let config = watch::config().labels(&format!("{COMPONENT_LABEL}={CREDENTIAL}"));
        let (api, affect) = (Api::all(self.client.clone()), Invalidation::delivered);
        self.follow(Kind::Secret, api, config, store, convert, |_, _| {}, affect);
    }

    fn imports(&mut self, store: &ObjectStore<Arc<PartialObjectMeta<Secret>>>) {
        let convert = |secret: Metadata<Secret>, _: &ObjectRef| {
            let mut metadata = secret.metadata;
            trim(&mut metadata);
            metadata.annotations = None;
            Ok(Arc::new(metadata.into_response_partial()))
        };
        let config = watch::config().labels(&format!("{IMPORT_LABEL}={IMPORT_ALLOWED}"));
        let (api, affect) = (Api::all(self.client.clone()), Invalidation::import);
        self.follow(Kind::Import, api, config, store, convert, |_, _| {}, affect);
    }

    #[expect(clippy::too_many_arguments, reason = "what distinguishes one watch from another")]
    fn follow<W, F>(
        &mut self,
        kind: Kind,
        api: Api<W>,
        config: watcher::Config,
        store: &ObjectStore<F>,
        convert: impl Fn(W, &ObjectRef) -> Result<F, Box<InvalidObject>> + Send + Sync + 'static,
        relate: impl Fn(&mut Relations, &Change<F::Object>) + Send + Sync + 'static,
        affect: impl Fn(&mut Invalidation, &Relations, &Change<F::Object>) + Send + Sync + 'static,
    ) where
        W: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
        F: StoredAs<Object: Send + Sync> + Send + Sync + 'static,
    {
        if !self.kinds.contains(&kind) {
            return;
        }
        let freshness = Arc::new(WatchHealth::default());
        self.freshness.push((kind, Arc::clone(&freshness)));
        let (hub, clock, store) = (Arc::clone(&self.hub), self.clock.clone(), store.clone());
        let (asked, same) =
            (api.clone(), ListParams { label_selector: config.label_selector.clone(), ..ListParams::default() });
        self.current_revisions.push(Box::new(move || current_resource_version(asked.clone(), same.clone()).boxed()));
        let follower = StoreWriter::new(kind, store, convert, kind.is_limited().then_some(self.objects_per_namespace));
        let events = watcher::watcher(api.clone(), config);
        self.tasks.spawn(async move {
            let report = |report| hub.report(kind, report, &relate, &affect);
            let fetch = |key| fetch(api.clone(), key);
            watch::run_watch(follower, events, fetch, &freshness, &clock, report).await;
        });
    }

    /// Detects that failed watches have recovered: the API server answers and they no longer fail.
    fn probe(&mut self) {
        let (clock, freshness) = (self.clock.clone(), self.freshness.clone());
        let present = std::mem::take(&mut self.current_revisions);
        self.tasks.spawn(async move {
            loop {
                tokio::time::sleep(PROBE_EVERY).await;
                for ((kind, watch), present) in freshness.iter().zip(&present) {
                    if watch.is_failing()
                        && let Ok(resource_version) = present().await
                    {
                        watch.observe_revision(resource_version, *kind, clock.now());
                    }
                }
            }
        });
    }
}

/// The current resourceVersion of the API server, by a consistent read that is as small as possible, of the watched
/// kind.
async fn current_resource_version<W: Clone + std::fmt::Debug + DeserializeOwned>(
    api: Api<W>,
    same: ListParams,
) -> kube::Result<u64> {
    let list = api.list(&same.limit(1)).await?;
    Ok(list.metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or_default())
}

/// Reads a single object by a list, because the permissions for watched kinds include `list`.
async fn fetch<W: Clone + std::fmt::Debug + DeserializeOwned>(api: Api<W>, key: ObjectRef) -> kube::Result<Option<W>> {
    let fields = format!("metadata.namespace={},metadata.name={}", key.namespace, key.name);
    Ok(api.list(&ListParams::default().fields(&fields).limit(1)).await?.items.pop())
}

/// Drops unused metadata before the object is stored.
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

/// Removes the annotations, which are not read.
fn strip_annotations<K: Resource>(mut object: K) -> K {
    object.meta_mut().annotations = None;
    object
}

/// Removes all annotations except the one that is read.
fn retain_annotation<K: Resource>(mut object: K, name: &str) -> K {
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.retain(|key, _| key == name);
    }
    object
}
