//! One timer for each key.

use std::collections::HashMap;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::cache::ObjectRef;

/// The keys that are enqueued later. Times are rounded up to milliseconds.
#[derive(Default)]
pub(super) struct Timers {
    due: DelayQueue<ObjectRef>,
    /// Timers of `due`, by key: an earlier reconciliation sets a new timer.
    of_keys: HashMap<ObjectRef, delay_queue::Key>,
}

impl Timers {
    pub(super) fn is_set(&self, key: &ObjectRef) -> bool {
        self.of_keys.contains_key(key)
    }

    /// Sets the timer of `key`, unless it expires sooner already.
    pub(super) fn set(&mut self, key: ObjectRef, due: Instant) {
        match self.of_keys.get(&key) {
            Some(timer) if self.due.deadline(timer) <= due => {}
            Some(timer) => self.due.reset_at(timer, due),
            None => {
                let timer = self.due.insert_at(key.clone(), due);
                self.of_keys.insert(key, timer);
            }
        }
    }

    pub(super) fn cancel(&mut self, key: &ObjectRef) {
        if let Some(timer) = self.of_keys.remove(key) {
            self.due.remove(&timer);
        }
    }

    /// The next key whose timer has expired. `Pending` also if no timer is set: whoever sets one wakes the queue.
    pub(super) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<ObjectRef> {
        let Poll::Ready(Some(expired)) = self.due.poll_expired(context) else { return Poll::Pending };
        let key = expired.into_inner();
        self.of_keys.remove(&key);
        Poll::Ready(key)
    }

    /// The number of timers that fit without an allocation.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.of_keys.capacity().max(self.due.capacity())
    }

    /// Releases memory above a capacity of `room` timers.
    pub(super) fn shrink_to(&mut self, room: usize) {
        self.of_keys.shrink_to(room);
        if self.due.len() < room && self.due.capacity() > 2 * room {
            self.due.compact();
        }
    }
}
