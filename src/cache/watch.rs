//! One watch: a list, then events, until shutdown.
//!
//! Known failure modes are handled: every watch has a separate back-off, ends after a minute so that a frozen
//! connection is noticed, and decodes every object separately ([`decoded`](super::decoded)), so that one undecodable
//! object does not stop its kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use kube::runtime::{WatchStreamExt, watcher::Config};

use super::object_limit::{Admission, Places};
use super::reverse_index::Claimant;
use super::store::{ByRef, ObjectSet, ObjectStore, StoredObject};
use super::{Kind, ObjectRef, ObjectRefs, revision};
use crate::clock::Clock;
use crate::util::error_chain::display_chain;
use crate::util::intern::Interner;

/// Seconds after which the server ends a watch. A connection that is silent for slightly longer is closed. With kube's
/// default of 290 s a frozen connection would stay unnoticed for that long.
const WATCH_TIMEOUT_SECONDS: u32 = 60;
/// Objects in one page of a list; fewer if they are large (`connection/pages.rs`).
const PAGE_SIZE: u32 = 100;
/// Changes that are reported, and group members that are looked up, before the task yields.
pub(super) const YIELD_EVERY: usize = 100;
/// First and longest pause after a failure. Short, because a restarted API server is back within seconds and no change
/// is served until then.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// When a watch last succeeded, for the staleness limit.
#[derive(Debug, Default)]
pub struct WatchHealth {
    /// Seconds since the epoch of the first failure after the last success; 0 while the watch succeeds.
    failing_since: AtomicI64,
    /// Seconds since the epoch of the last failure.
    failed_last: AtomicI64,
    /// The API server returned something older than what was served before.
    behind: AtomicBool,
    /// The API server has lost what was served before: its data was restored from a backup.
    restored: AtomicBool,
    /// The newest observed resourceVersion.
    newest: AtomicU64,
}

impl WatchHealth {
    /// How long the watch has been failing, in seconds; 0 while it succeeds.
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        match self.failing_since.load(Ordering::Relaxed) {
            0 => 0,
            since => (now.as_second() - since).max(0),
        }
    }

    /// Whether the API server returns an older state than was served before. The served state is kept.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.behind.load(Ordering::Relaxed) || self.restored.load(Ordering::Relaxed)
    }

    /// Whether the watch has failed and has reported nothing since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.load(Ordering::Relaxed) != 0
    }

    fn failed(&self, now: Timestamp) {
        self.failed_last.store(now.as_second(), Ordering::Relaxed);
        // Only the first of consecutive failures sets the time.
        let _ = self.failing_since.compare_exchange(0, now.as_second(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Records that the watch succeeds again.
    fn recovered(&self) {
        self.failing_since.store(0, Ordering::Relaxed);
    }

    /// The watch is failing, and the API server answers: it is at `resource_version`. If that is older than the newest
    /// observed one, the API server was restored from a backup: the watch is ahead of it and would never receive an
    /// event. Otherwise the watch is healthy again once it has been silent long enough to have retried: it reports
    /// nothing until the next event, which may be hours later.
    pub(super) fn observe_revision(&self, resource_version: u64, kind: Kind, now: Timestamp) {
        let quiet = now.as_second() - self.failed_last.load(Ordering::Relaxed);
        if resource_version >= self.newest.load(Ordering::Relaxed) {
            if quiet > 2 * BACKOFF.1.as_secs().cast_signed() {
                self.recovered();
            }
        } else if !self.restored.swap(true, Ordering::Relaxed) {
            tracing::error!(
                kind = kind.name(),
                "the API server is behind what was served before, so this replica answers 503: when its data have been restored \
                 from a backup, restart this replica"
            );
        }
    }
}

/// The configuration of every watch.
pub(super) fn config() -> Config {
    Config::default().timeout(WATCH_TIMEOUT_SECONDS).page_size(PAGE_SIZE)
}

/// Feeds `events` into `store` and reports each difference to `report`. `convert` turns an object into its stored form;
/// `Err` is an object that could not be decoded, which is treated as absent. `fetch` gets a single object: one that
/// moves up within the limit of its namespace.
pub(super) async fn run_watch<W: Resource, F, R>(
    mut follower: StoreWriter<F, impl Fn(W, &ObjectRef) -> Result<F, Box<InvalidObject>>>,
    events: impl Stream<Item = watcher::Result<Event<W>>>,
    fetch: impl Fn(ObjectRef) -> R,
    freshness: &WatchHealth,
    clock: &impl Clock,
    mut report: impl FnMut(Report<F>),
) where
    R: Future<Output = kube::Result<Option<W>>>,
{
    let kind = follower.kind;
    let backoff = ExponentialBuilder::default().with_min_delay(BACKOFF.0).with_max_delay(BACKOFF.1).with_jitter();
    let mut events = std::pin::pin!(events.backoff(ExponentialBackoff::from(backoff.without_max_times())));
    loop {
        let event = match follower.wanted.pop_first() {
            None => events.next().await,
            Some(key) => match fetch(key.clone()).await {
                Ok(Some(object)) => Some(Ok(Event::Apply(object))),
                // Its deletion event follows.
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(
                        error = display_chain(&error),
                        "an object that moved up could not be fetched, trying again"
                    );
                    follower.wanted.insert(key);
                    match tokio::time::timeout(BACKOFF.1, events.next()).await {
                        Ok(event) => event,
                        Err(_) => continue,
                    }
                }
            },
        };
        let Some(event) = event else { return };
        match event {
            Ok(event) => {
                // `Init` precedes the list request; it contains no information about the API server.
                if !matches!(event, Event::Init) {
                    freshness.recovered();
                }
                freshness.newest.fetch_max(seen(&event), Ordering::Relaxed);
                for (number, told) in follower.apply_event(event).into_iter().enumerate() {
                    report(told);
                    // After a list there are as many changes as objects. The task yields so that their consequences are
                    // processed: if queued, those are larger than the objects.
                    if number % YIELD_EVERY == YIELD_EVERY - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                if freshness.behind.swap(follower.behind, Ordering::Relaxed) != follower.behind {
                    follower.log_transition();
                }
            }
            Err(error) => {
                tracing::warn!(kind = kind.name(), error = %display_chain(&error), "watch failed, trying again");
                freshness.failed(clock.now());
            }
        }
    }
}

/// The resourceVersion of the object in an event.
fn seen<W: Resource>(event: &Event<W>) -> u64 {
    let (Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) = event else { return 0 };
    revision(object)
}

/// The store of one watch, and the state for computing what an event changed.
pub(super) struct StoreWriter<F, C> {
    kind: Kind,
    store: ObjectStore<F>,
    convert: C,
    /// The name of each namespace, stored once.
    namespaces: Interner<str>,
    places: Places,
    /// The list in progress; the previous one is served until it is complete.
    listing: Listing<F>,
    /// Objects that have moved up within the limit and are to be fetched.
    wanted: ObjectRefs,
    /// The last list, or an event since, contained something older than what was served.
    behind: bool,
}

/// A list in progress.
struct Listing<F> {
    objects: ObjectSet<F>,
    places: Places,
    /// Objects beyond the limit of their namespace, with their revision.
    beyond: BTreeMap<ObjectRef, u64>,
}

impl<F> Listing<F> {
    fn new(places: Places) -> Self {
        Self { objects: ObjectSet::new(), places, beyond: BTreeMap::new() }
    }

    /// Whether there is a place for the object. It may displace another one.
    fn admits(&mut self, claimant: &Claimant, revision: u64) -> bool {
        let key = claimant.key.clone();
        match self.places.take(claimant) {
            Admission::Beyond => drop(self.beyond.insert(key, revision)),
            Admission::Within(displaced) => {
                let displaced = displaced.and_then(|key| self.objects.take(&key));
                self.beyond.extend(displaced.map(|object| (object.0.key.clone(), object.0.revision)));
                return true;
            }
        }
        false
    }
}

impl<F, C> StoreWriter<F, C> {
    /// `limit` is the maximum number of objects in a namespace.
    pub(super) fn new(kind: Kind, store: ObjectStore<F>, convert: C, limit: Option<usize>) -> Self {
        let places = Places::new(limit);
        let listing = Listing::new(places.empty());
        let namespaces = Interner::default();
        Self { kind, store, convert, namespaces, places, listing, wanted: ObjectRefs::new(), behind: false }
    }

    fn apply_event<W: Resource>(&mut self, event: Event<W>) -> Vec<Report<F>>
    where
        C: Fn(W, &ObjectRef) -> Result<F, Box<InvalidObject>>,
    {
        match event {
            Event::Init => {
                self.behind = false;
                self.store.undecodables().clear();
                self.listing = Listing::new(self.places.empty());
                Vec::new()
            }
            Event::InitApply(object) => {
                if !self.listing.admits(&self.claimant(object.meta()), revision(&object)) {
                    return Vec::new();
                }
                match self.encode(object) {
                    Ok(object) => {
                        let newer = self.newer_than(&object);
                        self.listing.objects.insert(ByRef(newer.unwrap_or(object)));
                        Vec::new()
                    }
                    Err(invalid) => vec![self.undecodable(&invalid)],
                }
            }
            Event::InitDone => self.listed(),
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => {
                self.wanted.extend(self.places.leave(&self.claimant(object.meta())));
                self.wanted.remove(&self.key(object.meta()));
                self.store.undecodables().remove(&self.key(object.meta()));
                let was_beyond = self.store.beyond().remove(&self.key(object.meta()));
                let seen = was_beyond.then(|| Report::Undecodable(revision(&object)));
                self.remove(object.meta()).into_iter().chain(seen).collect()
            }
        }
    }

    fn listed(&mut self) -> Vec<Report<F>> {
        let places = self.places.empty();
        let Listing { mut objects, places, beyond } = std::mem::replace(&mut self.listing, Listing::new(places));
        objects.shrink_to_fit();
        self.places = places;
        self.wanted.clear();
        let known = std::mem::replace(&mut *self.store.beyond(), beyond.keys().cloned().collect());
        let told = beyond.into_iter().map(|(key, revision)| {
            if known.contains(&key) { Report::Undecodable(revision) } else { Report::Absent(key, revision) }
        });
        let before = self.store.replace(objects);
        differences(before, &self.store).into_iter().chain(told).chain([Report::ListDone]).collect()
    }

    fn apply<W: Resource>(&mut self, object: W) -> Vec<Report<F>>
    where
        C: Fn(W, &ObjectRef) -> Result<F, Box<InvalidObject>>,
    {
        let (made_at, claimant) = (made_at(object.meta()), self.claimant(object.meta()));
        let key = claimant.key.clone();
        let mut reports = match self.places.take(&claimant) {
            Admission::Beyond => {
                self.store.beyond().insert(key.clone());
                return vec![Report::Absent(key, revision(&object))];
            }
            Admission::Within(displaced) => displaced.map(|key| self.displace(key)).unwrap_or_default(),
        };
        self.wanted.remove(&key);
        self.store.beyond().remove(&key);
        self.store.undecodables().remove(&key);
        match self.encode(object) {
            Ok(object) if self.newer_than(&object).is_some() => {}
            Ok(object) => {
                let before = self.store.put(Arc::clone(&object));
                reports.push(Report::Change { before, after: Some(object), made_at });
            }
            Err(invalid) => {
                let seen = self.undecodable(&invalid);
                reports.extend(self.remove(&invalid.metadata).into_iter().chain([seen]));
            }
        }
        reports
    }

    /// Another object has displaced it.
    fn displace(&mut self, key: ObjectRef) -> Vec<Report<F>> {
        self.wanted.remove(&key);
        self.store.beyond().insert(key.clone());
        let Some(before) = self.store.take(&key) else { return Vec::new() };
        let revision = before.revision;
        vec![Report::Change { before: Some(before), after: None, made_at: None }, Report::Absent(key, revision)]
    }

    fn claimant(&self, metadata: &ObjectMeta) -> Claimant {
        Claimant::new(&self.key(metadata), metadata)
    }

    /// The object in its stored form. Its key is shared with the stored one, if there is one.
    fn encode<W: Resource>(&self, object: W) -> Result<Arc<StoredObject<F>>, Box<InvalidObject>>
    where
        C: Fn(W, &ObjectRef) -> Result<F, Box<InvalidObject>>,
    {
        let (key, revision) = (self.key(object.meta()), revision(&object));
        let key = self.store.kept(&key).map_or(key, |known| known.key.clone());
        let object = (self.convert)(object, &key)?;
        Ok(Arc::new(StoredObject { key, revision, object }))
    }

    fn key(&self, metadata: &ObjectMeta) -> ObjectRef {
        let text = |part: &Option<String>| part.as_deref().unwrap_or_default().into();
        ObjectRef { namespace: self.namespaces.shared(text(&metadata.namespace)), name: text(&metadata.name) }
    }

    /// Logs and reports the object, so that callers that wait for this revision continue.
    fn undecodable(&self, invalid: &InvalidObject) -> Report<F> {
        warn_undecodable(self.kind, invalid);
        let key = self.key(&invalid.metadata);
        self.store.undecodables().insert(key.clone(), invalid.error.as_str().into());
        let version = invalid.metadata.resource_version.as_ref();
        Report::Absent(key, version.and_then(|version| version.parse().ok()).unwrap_or_default())
    }

    /// Removes the object from the store; `None` if it was absent.
    fn remove(&self, metadata: &ObjectMeta) -> Option<Report<F>> {
        let before = self.store.take(&self.key(metadata))?;
        Some(Report::Change { before: Some(before), after: None, made_at: None })
    }

    /// The served object, if it is newer than `object`. A newer served object is never replaced: an API server that is
    /// stale, or whose data was restored, returns older ones.
    fn newer_than(&mut self, object: &StoredObject<F>) -> Option<Arc<StoredObject<F>>> {
        let newer = self.store.kept(&object.key).filter(|known| known.revision > object.revision);
        self.behind |= newer.is_some();
        newer
    }

    fn log_transition(&self) {
        let kind = self.kind.name();
        if self.behind {
            tracing::error!(
                kind,
                "the API server shows an older state than was served before, so this replica answers 503: wait until it is \
                 current again, or, if its data were restored from a backup, restart this replica"
            );
        } else {
            tracing::info!(kind, "the API server is current again");
        }
    }
}

/// When the change was made: in whole seconds, and unknown for deletions.
fn made_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let fields = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
    fields.chain(&metadata.creation_timestamp).chain(&metadata.deletion_timestamp).map(|time| time.0).max()
}

/// What a watch reports to the pump.
pub(super) enum Report<F> {
    /// An object differs.
    Change {
        /// The object as it was served before the change.
        before: Option<Arc<StoredObject<F>>>,
        /// The object as it is served after the change.
        after: Option<Arc<StoredObject<F>>>,
        /// When the change was made, if known.
        made_at: Option<Timestamp>,
    },
    /// A revision that changes nothing.
    Undecodable(u64),
    /// An object, at this revision, that is treated as absent because it is beyond the limit of its namespace, or
    /// because it cannot be decoded.
    Absent(ObjectRef, u64),
    /// The store contains a complete list.
    ListDone,
}

/// The changes by a new complete list.
fn differences<F>(mut before: ObjectSet<F>, store: &ObjectStore<F>) -> Vec<Report<F>> {
    let change = |before, after| Report::Change { before, after, made_at: None };
    let mut changes = Vec::new();
    for after in store.read().iter() {
        let before = before.take(&after.0.key).map(|before| before.0);
        if before.as_ref().is_none_or(|before| before.revision != after.0.revision) {
            changes.push(change(before, Some(Arc::clone(&after.0))));
        }
    }
    changes.extend(before.into_iter().map(|gone| change(Some(gone.0), None)));
    changes
}

fn warn_undecodable(kind: Kind, invalid: &InvalidObject) {
    let InvalidObject { metadata, error } = invalid;
    tracing::warn!(
        kind = kind.name(),
        namespace = metadata.namespace.as_deref().unwrap_or_default(),
        name = metadata.name.as_deref().unwrap_or_default(),
        error,
        "object cannot be decoded and counts as absent: correct it"
    );
}

#[cfg(test)]
mod tests;
