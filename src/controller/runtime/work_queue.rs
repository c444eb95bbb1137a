//! Work queue of reconciliation keys: each key once, fair between namespaces, and never while the key is being
//! reconciled.
//!
//! The semantics are those of client-go's work queue, with two additions. Namespaces take turns, and one namespace has
//! at most half of the workers: a tenant that causes much work delays only its own keys. Keys that end access are
//! served before keys that grant it. kube's `applier` is not used, because it needs whole objects in a separate store,
//! and never releases the capacity of its longest queue: 7 MiB after ten thousand keys.

mod timers;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::timers::Timers;
use super::round_robin::RoundRobin;
use crate::cache::ObjectRef;

/// Capacity that is kept when the queue is empty.
const ROOM: usize = 64;
/// After this many urgent keys in a row, another key is served: work that ends access never stops all other work.
const URGENT_IN_A_ROW: usize = 8;

/// When an object is reconciled again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Requeue {
    /// When the object or one of its dependencies changes.
    AwaitChange,
    /// After this time at the latest.
    After(Duration),
}

impl Requeue {
    /// The same, but after `wait` at the latest.
    pub(crate) fn min(self, wait: Duration) -> Self {
        match self {
            Self::After(sooner) if sooner < wait => self,
            _ => Self::After(wait),
        }
    }
}

/// A queue; clones are the same one.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Shared>);

struct Shared {
    workers: usize,
    /// Whether the work for a key ends access. Called whenever the key is added to the queue.
    is_urgent: Box<dyn Fn(&ObjectRef) -> bool + Send + Sync>,
    state: Mutex<State>,
    changed: Notify,
}

/// The priorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lane {
    Urgent,
    Normal,
}

/// The position of a waiting key.
#[derive(Clone, Copy)]
struct Place {
    lane: Lane,
    number: u64,
}

#[derive(Default)]
struct State {
    /// Most keys of one namespace that are processed concurrently.
    share: usize,
    urgent: RoundRobin<ObjectRef>,
    normal: RoundRobin<ObjectRef>,
    /// Keys in a lane, and keys that will be added to one after their current reconciliation.
    waiting: HashMap<ObjectRef, Place>,
    /// Keys that are being reconciled, by namespace. At most one for each worker.
    processing: HashMap<Arc<str>, Vec<ObjectRef>>,
    timers: Timers,
    /// Number of the newest key.
    last: u64,
    /// Urgent keys that were taken since the last normal key.
    in_a_row: usize,
}

impl Queue {
    /// A queue for this many workers.
    pub(crate) fn new(workers: usize, is_urgent: impl Fn(&ObjectRef) -> bool + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State::for_workers(workers));
        Self(Arc::new(Shared { workers, is_urgent: Box::new(is_urgent), state, changed: Notify::new() }))
    }

    /// Enqueues `key` once more, unless it is already waiting.
    pub(crate) fn push(&self, key: ObjectRef) {
        let is_urgent = (self.0.is_urgent)(&key);
        self.lock().push(key, is_urgent);
        self.0.changed.notify_one();
    }

    /// Enqueues `key` after this time or at its earlier timer, for work that is not urgent.
    pub(crate) fn add_after(&self, key: ObjectRef, wait: Duration) {
        self.lock().push_unless_due(key, Instant::now() + wait);
        self.0.changed.notify_one();
    }

    /// The number of keys of the namespace that wait for a worker.
    pub(crate) fn waiting_in(&self, namespace: &str) -> usize {
        self.lock().waiting_in(namespace)
    }

    /// Reconciles keys until shutdown: never one key twice concurrently.
    pub(crate) async fn work<F: Future<Output = Requeue>>(&self, reconcile: impl Fn(ObjectRef) -> F) {
        let keys = futures::stream::unfold((), |()| async { Some((self.next().await, ())) });
        let reconcile = &reconcile;
        let one = |key: ObjectRef| async move {
            let next = reconcile(key.clone()).await;
            self.lock().done(&key, next, Instant::now());
            self.0.changed.notify_one();
        };
        keys.for_each_concurrent(self.0.workers, one).await;
    }

    async fn next(&self) -> ObjectRef {
        loop {
            tokio::select! {
                biased;
                key = poll_fn(|context| self.lock().poll_next(context, &self.0.is_urgent)) => return key,
                () = self.0.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn for_workers(workers: usize) -> Self {
        Self { share: workers.div_ceil(2), ..Self::default() }
    }

    fn push(&mut self, key: ObjectRef, is_urgent: bool) {
        self.timers.cancel(&key);
        let lane = if is_urgent { Lane::Urgent } else { Lane::Normal };
        match self.waiting.get(&key).copied() {
            // The key became urgent while it waited. Urgent keys stay urgent.
            Some(place) if place.lane == Lane::Normal && is_urgent => {
                self.lane(place.lane).remove(&key.namespace, place.number);
            }
            Some(_) => return,
            None => {}
        }
        self.last += 1;
        let place = Place { lane, number: self.last };
        self.waiting.insert(key.clone(), place);
        if !self.is_busy(&key) {
            self.lane(lane).add(&Arc::clone(&key.namespace), place.number, key);
        }
    }

    fn push_at(&mut self, key: ObjectRef, due: Instant) {
        if !self.waiting.contains_key(&key) {
            self.timers.set(key, due);
        }
    }

    fn push_unless_due(&mut self, key: ObjectRef, due: Instant) {
        if !self.timers.is_set(&key) {
            self.push_at(key, due);
        }
    }

    /// The next key. Keys whose timer has expired are enqueued first; otherwise the next timer wakes the task.
    fn poll_next(&mut self, context: &mut Context<'_>, is_urgent: impl Fn(&ObjectRef) -> bool) -> Poll<ObjectRef> {
        while let Poll::Ready(key) = self.timers.poll_expired(context) {
            let is_urgent = is_urgent(&key);
            self.push(key, is_urgent);
        }
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// The next key of the lanes.
    fn take(&mut self) -> Option<ObjectRef> {
        let first = if self.in_a_row < URGENT_IN_A_ROW { Lane::Urgent } else { Lane::Normal };
        let second = if first == Lane::Urgent { Lane::Normal } else { Lane::Urgent };
        let Some(key) = self.take_from(first).or_else(|| self.take_from(second)) else {
            self.give_room_back();
            return None;
        };
        self.waiting.remove(&key);
        self.processing.entry(Arc::clone(&key.namespace)).or_default().push(key.clone());
        Some(key)
    }

    /// The next key of a namespace that is below its share of the workers. Cluster-scoped objects have no share.
    fn take_from(&mut self, lane: Lane) -> Option<ObjectRef> {
        let Self { share, processing: busy, urgent, normal, .. } = self;
        let may_have_one = |namespace: &str| namespace.is_empty() || busy.get(namespace).map_or(0, Vec::len) < *share;
        let turns = if lane == Lane::Urgent { urgent } else { normal };
        let key = turns.take(may_have_one)?;
        self.in_a_row = if lane == Lane::Urgent { self.in_a_row + 1 } else { 0 };
        Some(key)
    }

    fn done(&mut self, key: &ObjectRef, next: Requeue, now: Instant) {
        if let Some(busy) = self.processing.get_mut(&key.namespace) {
            busy.retain(|busy| busy != key);
            if busy.is_empty() {
                self.processing.remove(&key.namespace);
            }
        }
        if let Some(place) = self.waiting.get(key).copied() {
            // The object has changed since.
            self.lane(place.lane).add(&key.namespace, place.number, key.clone());
        } else if let Requeue::After(wait) = next {
            self.push_at(key.clone(), now + wait);
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut RoundRobin<ObjectRef> {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Normal => &mut self.normal,
        }
    }

    fn is_busy(&self, key: &ObjectRef) -> bool {
        self.processing.get(&key.namespace).is_some_and(|busy| busy.contains(key))
    }

    fn waiting_in(&self, namespace: &str) -> usize {
        self.urgent.waiting_in(namespace) + self.normal.waiting_in(namespace)
    }

    fn give_room_back(&mut self) {
        self.urgent.shrink_to(ROOM);
        self.normal.shrink_to(ROOM);
        self.waiting.shrink_to(ROOM);
        self.timers.shrink_to(ROOM);
    }
}

#[cfg(test)]
mod tests;
