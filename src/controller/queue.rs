//! Keys that wait to be reconciled: each once, in the order in which they came, and never while it is being reconciled.
//!
//! The semantics are those of client-go's work queue. kube's `applier` is not used, because it wants whole objects in a
//! store of its own, and keeps room for as many keys as ever waited: 7 MiB after ten thousand at once.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::Key;

/// Room that is kept when the queue is empty.
const ROOM: usize = 64;

/// When an object is to be looked at again after it was reconciled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// When it changes, or something that it depends on.
    Change,
    /// After this time at the latest.
    After(Duration),
}

impl Next {
    /// The same, but after `wait` at the latest.
    pub(super) fn or_after(self, wait: Duration) -> Self {
        match self {
            Self::After(sooner) if sooner < wait => self,
            _ => Self::After(wait),
        }
    }
}

/// A queue; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// What can be taken.
    order: VecDeque<Key>,
    /// What is in `order`, and what will be when it is not busy any more.
    waiting: HashSet<Key>,
    busy: HashSet<Key>,
    /// One timer for a key: what is looked at before it ends says anew when to look again.
    timers: HashMap<Key, Instant>,
    /// The same by time.
    agenda: BTreeSet<(Instant, Key)>,
}

impl Queue {
    /// Has `key` reconciled once more, unless it is about to be.
    pub(super) fn push(&self, key: Key) {
        self.lock().push(key);
        self.0.changed.notify_one();
    }

    /// Has `key` reconciled after this time, or when it is going to be anyhow: for what is in no hurry.
    pub(super) fn push_after(&self, key: Key, wait: Duration) {
        self.lock().push_unless_due(key, Instant::now() + wait);
        self.0.changed.notify_one();
    }

    /// How many keys could be taken at once.
    pub(super) fn waiting(&self) -> usize {
        self.lock().order.len()
    }

    /// Reconciles whatever comes, for ever: never one key twice at once, never more than `concurrency` of them.
    pub(super) async fn work<F: Future<Output = Next>>(&self, concurrency: usize, reconcile: impl Fn(Key) -> F) {
        let keys = futures::stream::unfold((), |()| async { Some((self.next().await, ())) });
        let reconcile = &reconcile;
        let one = |key: Key| async move {
            let next = reconcile(key.clone()).await;
            self.done(key, next);
        };
        keys.for_each_concurrent(concurrency, one).await;
    }

    async fn next(&self) -> Key {
        loop {
            let due = match self.lock().take(Instant::now()) {
                Ok(key) => return key,
                Err(due) => due,
            };
            match due {
                Some(due) => drop(tokio::time::timeout_at(due, self.0.changed.notified()).await),
                None => self.0.changed.notified().await,
            }
        }
    }

    fn done(&self, key: Key, next: Next) {
        self.lock().done(key, next, Instant::now());
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, key: Key) {
        if let Some(due) = self.timers.remove(&key) {
            self.agenda.remove(&(due, key.clone()));
        }
        if self.waiting.insert(key.clone()) && !self.busy.contains(&key) {
            self.order.push_back(key);
        }
    }

    fn push_at(&mut self, key: Key, due: Instant) {
        let sooner = self.timers.get(&key).is_some_and(|known| *known <= due);
        if self.waiting.contains(&key) || sooner {
            return;
        }
        if let Some(later) = self.timers.insert(key.clone(), due) {
            self.agenda.remove(&(later, key.clone()));
        }
        self.agenda.insert((due, key));
    }

    fn push_unless_due(&mut self, key: Key, due: Instant) {
        if !self.timers.contains_key(&key) {
            self.push_at(key, due);
        }
    }

    /// The next key, or when there will be one if nothing happens before.
    fn take(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        while let Some((_, key)) = self.agenda.first().filter(|(due, _)| *due <= now).cloned() {
            self.push(key);
        }
        let Some(key) = self.order.pop_front() else {
            self.order.shrink_to(ROOM);
            self.waiting.shrink_to(ROOM);
            return Err(self.agenda.first().map(|(due, _)| *due));
        };
        self.waiting.remove(&key);
        self.busy.insert(key.clone());
        Ok(key)
    }

    fn done(&mut self, key: Key, next: Next, now: Instant) {
        self.busy.remove(&key);
        if self.waiting.contains(&key) {
            // Something changed meanwhile.
            self.order.push_back(key);
        } else if let Next::After(wait) = next {
            self.push_at(key, now + wait);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
