//! The half that writes: gather → plan → apply, on the leader.
//!
//! ```text
//! Affected ──▶ one queue per kind ──▶ reconcile: gather (the only reads) ─▶ plan (pure) ─▶ apply (the only writes)
//! ```
//!
//! The API server ensures that an action happens once (deterministic name, `create`, resourceVersion preconditions);
//! the lease and the caches are not needed for that. Two active controllers would only waste work.

mod apply;
mod bootstrap;
mod error;
mod gather;
mod key_material;
mod key_rotation;
mod kinds;
mod runtime;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::{Client, Resource};
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use crate::cache::{Cache, Invalidation, Kind, ObjectRef, ObjectStore, StoredAs, Subscription, Update};
use crate::clock::Clock;
use crate::crypto::install_key::InstallKeys;
use crate::key_sets::KeySets;
use crate::plan::client_secret::Policy;
use crate::plan::secret_content::Endpoints;
use crate::util::error_chain::display_chain;

use kinds::over_limit::Reported;
use runtime::work_queue::{Queue, Requeue};

pub use bootstrap::keystore::await_keys;
pub use bootstrap::tls_secret::maintain as keep_certificate;
pub(crate) use error::Error;
pub use key_rotation::RotationSettings;
pub use runtime::leader_election::run_election as hold_lease;

/// Concurrent reconciliations of one kind. The API server creates the most Secrets per second at about this concurrency
/// (measured: 490/s with 1, 1,200/s with 16, 1,100/s with 64).
const CONCURRENCY: usize = 16;
/// Imported values hashed concurrently: each hash takes 19 MiB.
const HASHES: usize = 1;
/// RSA key pairs generated concurrently: each takes up to some seconds of a core.
const KEY_PAIRS: usize = 1;
/// Objects that are decoded before the task yields to other tasks.
const YIELD_EVERY: usize = 100;
/// Pause after a failure that is neither a conflict nor a refusal: the API server is temporarily unavailable.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Pause after a failed precondition, in which the cache becomes current.
const RETRY_CONFLICT: Duration = Duration::from_millis(100);

/// The settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URLs in delivered Secrets, without the CA, which may change.
    pub endpoints: Endpoints,
    /// The CA of the endpoint's certificate.
    pub ca: watch::Receiver<Option<Arc<str>>>,
    /// The operator's limits for ClientSecrets.
    pub policy: Policy,
    /// Limit of active objects of each kind in a namespace.
    pub objects_per_namespace: usize,
    /// Maximum token lifetime.
    pub token_lifetime_max: jiff::SignedDuration,
    /// The rotation of the operator's own keys.
    pub rotation: RotationSettings,
    /// Name of this replica, for events.
    pub replica: String,
    /// The operator's own namespace.
    pub namespace: String,
    /// The keys that clients publish at URLs.
    pub key_sets: Arc<KeySets>,
    /// After the loss of the install key: adopt unverified delivered values, once.
    pub adopt_unverified: bool,
}

/// The dependencies of a reconciliation.
pub struct Context<C> {
    client: Client,
    cache: Cache,
    clock: C,
    settings: Settings,
    install_keys: watch::Sender<Arc<InstallKeys>>,
    import_checks: kinds::client_secret::import_checks::ImportChecks,
    expectations: runtime::expectations::Expectations,
    count_throttle: runtime::status_throttle::StatusThrottle,
    use_throttle: runtime::status_throttle::StatusThrottle,
    method_use_throttle: runtime::status_throttle::StatusThrottle,
    read_throttle: runtime::status_throttle::StatusThrottle,
    inspected: kinds::client_secret::inspected::Inspected,
    recovery: bootstrap::recovery::Recovery,
    pending_values: kinds::client_secret::pending_values::PendingValues,
    pending_keys: kinds::client_secret::key_pairs::PendingKeys,
    refusals: runtime::refusals::Refusals,
    repairs: runtime::repair_schedule::Repairs,
    propagation: runtime::propagation::Propagation,
    signing_algorithms: runtime::signing_algorithms::SigningAlgorithms,
    events: runtime::event_recorder::Sender,
}

/// The channels between the controller and leader election.
pub struct Leadership {
    /// Notified once the controller could write: it has listed every kind.
    pub ready: oneshot::Sender<()>,
    /// Whether this replica is the leader.
    pub is_leader: watch::Receiver<bool>,
}

/// Runs the controller until shutdown: idle while it is not the leader, and from the start when it becomes the leader.
pub async fn run<C: Clock + Clone>(
    client: Client,
    cache: Cache,
    clock: C,
    settings: Settings,
    install_keys: Arc<InstallKeys>,
    mut updates: Subscription,
    Leadership { ready, is_leader: leading }: Leadership,
) {
    let events = runtime::event_recorder::start(client.clone(), clock.clone(), settings.replica.clone());
    let context = Arc::new(Context {
        client,
        cache,
        clock,
        settings,
        install_keys: watch::Sender::new(install_keys),
        import_checks: kinds::client_secret::import_checks::ImportChecks::default(),
        expectations: runtime::expectations::Expectations::default(),
        count_throttle: runtime::status_throttle::StatusThrottle::of_counts(),
        use_throttle: runtime::status_throttle::StatusThrottle::of_uses(),
        method_use_throttle: runtime::status_throttle::StatusThrottle::of_uses(),
        read_throttle: runtime::status_throttle::StatusThrottle::of_reads(),
        inspected: kinds::client_secret::inspected::Inspected::default(),
        recovery: bootstrap::recovery::Recovery::default(),
        pending_values: kinds::client_secret::pending_values::PendingValues::default(),
        pending_keys: kinds::client_secret::key_pairs::PendingKeys::default(),
        refusals: runtime::refusals::Refusals::default(),
        repairs: runtime::repair_schedule::Repairs::default(),
        propagation: runtime::propagation::Propagation::default(),
        signing_algorithms: runtime::signing_algorithms::SigningAlgorithms::default(),
        events,
    });
    tokio::select! {
        () = context.follow_install_keys() => {}
        () = lead_in_turn(&context, &mut updates, ready, leading) => {}
    }
}

/// Reconciles whenever this process is the leader, until shutdown.
async fn lead_in_turn<C: Clock + Clone>(
    context: &Arc<Context<C>>,
    updates: &mut Subscription,
    ready: oneshot::Sender<()>,
    mut leading: watch::Receiver<bool>,
) {
    let mut listed = std::collections::BTreeSet::new();
    while listed.len() < Kind::ALL.len() {
        match updates.recv().await {
            Some(Update::Listed(kind)) => drop(listed.insert(kind)),
            Some(Update::Affected(_)) => {}
            None => return,
        }
    }
    // The receiver is dropped during shutdown.
    let _ = ready.send(());
    loop {
        // This replica must not write. Changes are reconciled once it is the leader.
        while !*leading.borrow_and_update() {
            tokio::select! {
                update = updates.recv() => if update.is_none() { return },
                changed = leading.changed() => if changed.is_err() { return },
            }
        }
        tracing::info!("leading: reconciling everything once");
        context.inspected.restart();
        context.signing_algorithms.restart();
        // The leader before may have rotated them.
        context.read_install_keys().await;
        context.report_restore().await;
        let recovering = context.begin_recovery().await;
        let (queues, work) = queues(context);
        let mut ca = context.settings.ca.clone();
        ca.mark_unchanged();
        queues.everything(&context.cache);
        tokio::select! {
            () = redeliver(ca, context, &queues) => return,
            () = forward(updates, &queues, &context.propagation) => return,
            () = work => return,
            () = runtime::due_scan::run(context, queues.secrets.clone(), queues.applications.clone()) => return,
            () = kinds::client_secret::inspected::sweep(context, queues.secrets.clone()) => return,
            () = kinds::client_secret::rekey::follow(context, queues.secrets.clone()) => return,
            () = context.finish_recovery(recovering) => return,
            () = runtime::propagation::run(context, queues.applications.clone()) => return,
            () = Box::pin(key_rotation::run(context, queues.applications.clone())) => return,
            _ = leading.wait_for(|leading| !leading) => tracing::info!("no longer leading: writes stop"),
        }
    }
}

/// Enqueues everything when clients need another CA, until shutdown.
async fn redeliver<C: Clock>(mut ca: watch::Receiver<Option<Arc<str>>>, context: &Context<C>, queues: &Queues) {
    while ca.changed().await.is_ok() {
        queues.everything(&context.cache);
    }
    // The CA can no longer change.
    std::future::pending::<()>().await;
}

/// Forwards affected keys until the watches end.
async fn forward(updates: &mut Subscription, queues: &Queues, propagation: &runtime::propagation::Propagation) {
    while let Some(update) = updates.recv().await {
        if let Update::Affected(affected) = update {
            if affected.kind == Kind::ReplicaState {
                propagation.notify();
            }
            queues.push(&affected);
        }
    }
}

/// One queue for each reconciled kind.
struct Queues {
    groups: Queue,
    users: Queue,
    applications: Queue,
    secrets: Queue,
    /// ClientSecrets whose imported value has to be hashed.
    imports: Queue,
    /// ClientSecrets whose RSA key pair has to be generated.
    key_pairs: Queue,
}

impl Queues {
    fn new(cache: &Cache) -> Self {
        let queue = |is_urgent: fn(&Cache, &ObjectRef) -> bool| {
            let cache = cache.clone();
            Queue::new(CONCURRENCY, move |key| is_urgent(&cache, key))
        };
        Self {
            groups: queue(|_, _| false),
            users: queue(runtime::urgent::user),
            applications: queue(runtime::urgent::application),
            secrets: queue(runtime::urgent::secret),
            imports: Queue::new(HASHES, |_| false),
            key_pairs: Queue::new(KEY_PAIRS, |_| false),
        }
    }

    fn push(&self, affected: &Invalidation) {
        let groups = affected.groups.iter().map(|name| ObjectRef::new("", name));
        groups.for_each(|key| self.groups.push(key));
        affected.users.iter().for_each(|key| self.users.push(key.clone()));
        affected.applications.iter().for_each(|key| self.applications.push(key.clone()));
        affected
            .recount
            .iter()
            .for_each(|key| self.applications.add_after(key.clone(), runtime::status_throttle::DEBOUNCE));
        affected.secrets.iter().for_each(|key| self.secrets.push(key.clone()));
    }

    fn everything(&self, cache: &Cache) {
        let (groups, users) = (cache.groups.keys(), cache.users.keys());
        groups.into_iter().chain(cache.groups.keys_absent()).for_each(|key| self.groups.push(key));
        users.into_iter().chain(cache.users.keys_absent()).for_each(|key| self.users.push(key));
        let applications = cache.applications.keys().into_iter().chain(cache.applications.keys_absent());
        applications.for_each(|key| self.applications.push(key));
        let secrets = cache.secrets.keys().into_iter().chain(cache.secrets.keys_absent());
        secrets.for_each(|key| self.secrets.push(key));
    }
}

/// The queues, and the future that processes them.
fn queues<C: Clock + Clone>(context: &Arc<Context<C>>) -> (Queues, impl Future<Output = ()> + use<C>) {
    let (queues, cache, context) = (Queues::new(&context.cache), context.cache.clone(), || Arc::clone(context));
    let [secrets, checked, generated] = [(); 3].map(|()| queues.secrets.clone());
    let slow = kinds::client_secret::SlowWork { imports: queues.imports.clone(), key_pairs: queues.key_pairs.clone() };
    let application = move |object, context| kinds::application::reconcile(object, context, secrets.clone());
    let secret = move |object, context| kinds::client_secret::reconcile(object, context, slow.clone());
    let import = move |object, context| kinds::client_secret::import_checks::check(object, context, checked.clone());
    let key_pair = move |object, context| kinds::client_secret::key_pairs::generate(object, context, generated.clone());
    let work = join_all([
        Box::pin(reconciler(context(), cache.groups, queues.groups.clone(), kinds::access_group::reconcile)) as Work,
        Box::pin(reconciler(context(), cache.users, queues.users.clone(), kinds::service_user::reconcile)),
        Box::pin(reconciler(context(), cache.applications, queues.applications.clone(), application)),
        Box::pin(reconciler(context(), cache.secrets.clone(), queues.secrets.clone(), secret)),
        Box::pin(reconciler(context(), cache.secrets.clone(), queues.imports.clone(), import)),
        Box::pin(reconciler(context(), cache.secrets, queues.key_pairs.clone(), key_pair)),
    ]);
    (queues, async move { drop(work.await) })
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reconciles one kind.
async fn reconciler<C, S, R, F>(context: Arc<Context<C>>, store: ObjectStore<S>, queue: Queue, reconcile: R)
where
    C: Clock,
    S: StoredAs<Object: Reported>,
    R: Fn(Arc<S::Object>, Arc<Context<C>>) -> F,
    F: Future<Output = Result<Requeue, Error>>,
{
    let (store, context, reconcile) = (&store, &context, &reconcile);
    let one = |key: ObjectRef| async move {
        let (object, undecodable) = (store.get(&key), store.undecodable(&key));
        if object.is_none() && undecodable.is_none() && !store.is_beyond(&key) {
            return Requeue::AwaitChange;
        }
        let what = format!("{} {}/{}", S::Object::kind(&()), key.namespace, key.name);
        let span = tracing::info_span!("reconcile", kind = %S::Object::kind(&()), namespace = %key.namespace, name = %key.name);
        let done = async {
            match (object, undecodable) {
                (Some(object), _) => reconcile(object, Arc::clone(context)).await,
                (None, Some(error)) => context.report_undecodable::<S::Object>(&key, &error).await,
                (None, None) => context.report_over_limit::<S::Object>(&key).await,
            }
        };
        let done = done.instrument(span.clone()).await;
        let now = Instant::now();
        let wait = |error: &Error| match error.refusal() {
            Some(refusal) => context.refusals.record_failure(&what, now, &refusal.message).wait,
            None => RETRY_INTERVAL,
        };
        match done {
            Ok(next) => {
                context.refusals.forget(&what);
                next
            }
            Err(error) => span.in_scope(|| retry(&error, wait)),
        }
    };
    queue.work(one).await;
}

/// Retries after a failure, and logs the reason.
fn retry(error: &Error, wait: impl FnOnce(&Error) -> Duration) -> Requeue {
    if error.is_conflict() {
        tracing::debug!(%error, "looking again");
        Requeue::After(RETRY_CONFLICT)
    } else if error.is_of_terminating_namespace() {
        tracing::debug!(%error, "the namespace is being deleted");
        Requeue::AwaitChange
    } else {
        tracing::warn!(error = display_chain(error), "reconciliation failed, trying again");
        Requeue::After(wait(error))
    }
}
