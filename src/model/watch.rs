//! One watch: a list, then events, for ever.
//!
//! Set up against what others ran into: every watch has its own back-off, ends after a minute so that a frozen
//! connection is noticed, and is wrapped in [`DeserializeGuard`] so that one undecodable object does not stop its kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use kube::runtime::{WatchStreamExt, watcher::Config};

use super::{Change, Kind, revision};
use crate::chain::chain;
use crate::clock::Clock;

/// Seconds after which the server ends a watch, and a connection that is silent for a little longer is given up. kube's
/// default of 290 s would leave a frozen connection unnoticed for as long.
const WATCH_TIMEOUT_SECONDS: u32 = 60;
/// Objects in one page of a list. Decoding a page takes some twenty times its size, managed fields among it, so this bounds
/// the memory at its highest (kubectl's 500 took 80 MB); smaller ones only take longer.
const PAGE_SIZE: u32 = 100;
/// Changes that are reported, and members of a group that are looked up, before other tasks have their turn.
pub(super) const PIECE: usize = 100;
/// First and longest pause after a failure. Short, because a restarted API server is back within seconds and until then
/// nothing new is served.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// When a watch was last known to be good, for the staleness limit.
#[derive(Debug, Default)]
pub struct Freshness {
    /// Seconds since the epoch of the first failure after the last success; 0 while all is well.
    failing_since: AtomicI64,
    /// Seconds since the epoch of the last failure.
    failed_last: AtomicI64,
    /// The API server showed something older than what was served before.
    behind: AtomicBool,
}

impl Freshness {
    /// How long the watch has been failing, in seconds; 0 while all is well.
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        match self.failing_since.load(Ordering::Relaxed) {
            0 => 0,
            since => (now.as_second() - since).max(0),
        }
    }

    /// Whether the API server shows an older state than was served already. What was served is kept.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Whether a failed watch has been quiet for so long that it must have tried again. A watch that recovers says
    /// nothing until the next event, which may be hours away.
    pub(super) fn may_have_recovered(&self, now: Timestamp) -> bool {
        let quiet = now.as_second() - self.failed_last.load(Ordering::Relaxed);
        self.failing_since.load(Ordering::Relaxed) != 0 && quiet > 2 * BACKOFF.1.as_secs().cast_signed()
    }

    fn failed(&self, now: Timestamp) {
        self.failed_last.store(now.as_second(), Ordering::Relaxed);
        // Only the first of a run of failures starts the clock.
        let _ = self.failing_since.compare_exchange(0, now.as_second(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The watch is known to be good again.
    pub(super) fn recovered(&self) {
        self.failing_since.store(0, Ordering::Relaxed);
    }
}

/// How every watch is set up.
pub(super) fn config() -> Config {
    Config::default().timeout(WATCH_TIMEOUT_SECONDS).page_size(PAGE_SIZE)
}

/// Feeds `events` into `writer` and reports each difference to `report`. `convert` turns an object into what is
/// stored; `Err` is an object that could not be decoded, which counts as absent.
pub(super) async fn follow<W, K>(
    kind: Kind,
    events: impl Stream<Item = watcher::Result<Event<W>>>,
    writer: Writer<K>,
    convert: impl Fn(W) -> Result<K, Box<InvalidObject>>,
    freshness: &Freshness,
    clock: &impl Clock,
    mut report: impl FnMut(Report<K>),
) where
    W: Resource,
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    let store = writer.as_reader();
    let backoff = ExponentialBuilder::default().with_min_delay(BACKOFF.0).with_max_delay(BACKOFF.1).with_jitter();
    let mut events = std::pin::pin!(events.backoff(ExponentialBackoff::from(backoff.without_max_times())));
    let mut follower = Follower { kind, store, writer, convert, listed_before: Vec::new(), behind: false };
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // `Init` comes before the list is asked for; it says nothing about the API server.
                if !matches!(event, Event::Init) {
                    freshness.recovered();
                }
                for (number, told) in follower.take(event).into_iter().enumerate() {
                    report(told);
                    // After a list there are as many as objects. What they lead to is taken on in between: heaped up, it
                    // is larger than the objects.
                    if number % PIECE == PIECE - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                if freshness.behind.swap(follower.behind, Ordering::Relaxed) != follower.behind {
                    follower.say_so();
                }
            }
            Err(error) => {
                tracing::warn!(kind = kind.name(), error = %chain(&error), "watch failed, trying again");
                freshness.failed(clock.now());
            }
        }
    }
}

/// The store of one watch, and what it takes to tell what an event changed.
struct Follower<K: Lookup<DynamicType = ()> + Clone + 'static, F> {
    kind: Kind,
    store: Store<K>,
    writer: Writer<K>,
    convert: F,
    /// What was served before the list that is coming in.
    listed_before: Vec<Arc<K>>,
    /// Something of the last list, or since, was older than what was served.
    behind: bool,
}

impl<K: Lookup<DynamicType = ()> + Clone + 'static, F> Follower<K, F> {
    fn take<W: Resource>(&mut self, event: Event<W>) -> Vec<Report<K>>
    where
        F: Fn(W) -> Result<K, Box<InvalidObject>>,
    {
        match event {
            Event::Init => {
                self.behind = false;
                self.listed_before = self.store.state();
                self.writer.apply_watcher_event(&Event::Init);
                Vec::new()
            }
            Event::InitApply(object) => match (self.convert)(object) {
                Ok(object) => {
                    let newer = self.newer_than(&object).map(|newer| K::clone(&newer));
                    self.writer.apply_watcher_event(&Event::InitApply(newer.unwrap_or(object)));
                    Vec::new()
                }
                Err(invalid) => vec![self.undecodable(&invalid)],
            },
            Event::InitDone => {
                self.writer.apply_watcher_event(&Event::InitDone);
                let before = std::mem::take(&mut self.listed_before);
                let report = |change| Report::Change { change, made_at: None };
                differences(before, &self.store).map(report).chain([Report::Listed]).collect()
            }
            Event::Apply(object) => {
                let made_at = made_at(object.meta());
                match (self.convert)(object) {
                    Ok(object) if self.newer_than(&object).is_some() => Vec::new(),
                    Ok(object) => {
                        vec![Report::Change { change: replace(&self.store, &mut self.writer, object), made_at }]
                    }
                    Err(invalid) => {
                        let seen = self.undecodable(&invalid);
                        self.remove(&invalid.metadata).into_iter().chain([seen]).collect()
                    }
                }
            }
            Event::Delete(object) => self.remove(object.meta()),
        }
    }

    /// Says so, and that it was seen: whoever waits for this revision need not wait longer.
    fn undecodable(&self, invalid: &InvalidObject) -> Report<K> {
        warn_undecodable(self.kind, invalid);
        Report::Seen(invalid.metadata.resource_version.clone().unwrap_or_default())
    }

    fn remove(&mut self, metadata: &ObjectMeta) -> Vec<Report<K>> {
        let change = remove(&self.store, &mut self.writer, metadata);
        change.map(|change| Report::Change { change, made_at: None }).into_iter().collect()
    }

    /// The object as it was served, if that is newer than `object`. What was served is never taken back: an API server
    /// whose data were restored, or that has fallen behind, shows older ones.
    fn newer_than(&mut self, object: &K) -> Option<Arc<K>> {
        let newer =
            self.store.get(&ObjectRef::from_obj(object)).filter(|known| revision(known.as_ref()) > revision(object));
        self.behind |= newer.is_some();
        newer
    }

    fn say_so(&self) {
        let kind = self.kind.name();
        if self.behind {
            tracing::error!(
                kind,
                "the API server shows an older state than was served before, so nothing is answered: wait until it has \
                 caught up, or, if its data were restored from a backup, restart this replica"
            );
        } else {
            tracing::info!(kind, "the API server has caught up");
        }
    }
}

/// When the change was made: a server says so in whole seconds, and not of deletions.
fn made_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let fields = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
    fields.chain(&metadata.creation_timestamp).chain(&metadata.deletion_timestamp).map(|time| time.0).max()
}

/// What a watch tells the pump.
pub(super) enum Report<K> {
    /// An object differs.
    Change {
        /// How.
        change: Change<K>,
        /// Since when, if that is known.
        made_at: Option<Timestamp>,
    },
    /// A revision that changes nothing: its object cannot be decoded.
    Seen(String),
    /// A complete list is in the store.
    Listed,
}

fn replace<K>(store: &Store<K>, writer: &mut Writer<K>, object: K) -> Change<K>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    let reference = ObjectRef::from_obj(&object);
    let before = store.get(&reference);
    writer.apply_watcher_event(&Event::Apply(object));
    Change { before, after: store.get(&reference) }
}

/// Takes the object out of the store; `None` if it was not there.
fn remove<K>(store: &Store<K>, writer: &mut Writer<K>, metadata: &ObjectMeta) -> Option<Change<K>>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    let name = metadata.name.as_deref().unwrap_or_default();
    let reference = match metadata.namespace.as_deref() {
        Some(namespace) => ObjectRef::new(name).within(namespace),
        None => ObjectRef::new(name),
    };
    let before = store.get(&reference)?;
    writer.apply_watcher_event(&Event::Delete(K::clone(&before)));
    Some(Change { before: Some(before), after: None })
}

/// What a new complete list changed.
fn differences<K>(before: Vec<Arc<K>>, store: &Store<K>) -> impl Iterator<Item = Change<K>>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    let mut before: HashMap<ObjectRef<K>, Arc<K>> =
        before.into_iter().map(|object| (ObjectRef::from_obj(object.as_ref()), object)).collect();
    let mut changes: Vec<Change<K>> = store
        .state()
        .into_iter()
        .map(|after| Change { before: before.remove(&ObjectRef::from_obj(after.as_ref())), after: Some(after) })
        .filter(|change| {
            let version = |side: &Option<Arc<K>>| side.as_deref().map(revision);
            version(&change.before) != version(&change.after)
        })
        .collect();
    changes.extend(before.into_values().map(|gone| Change { before: Some(gone), after: None }));
    changes.into_iter()
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
#[path = "watch_tests.rs"]
mod tests;
