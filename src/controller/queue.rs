//! Keys that wait to be reconciled: each once, in the order in which they came.
//!
//! kube's scheduler takes whatever it is given, and keeps room for as much as it ever held: 7 MiB after ten thousand
//! objects at once, as at every start. So it gets a few at a time, and the rest waits here as bare keys.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use tokio::sync::Notify;

use crate::model::Key;

/// Keys that may be with the scheduler before they start: enough that it never runs out of them.
const AHEAD: usize = 64;

/// A queue; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    keys: Mutex<Keys>,
    changed: Notify,
}

#[derive(Default)]
struct Keys {
    order: VecDeque<Key>,
    /// Those in `order`.
    waiting: HashSet<Key>,
    /// Given to the scheduler, and not started since: whatever has changed will be seen at the start.
    ahead: HashSet<Key>,
}

impl Queue {
    /// Has `key` reconciled once more, unless it is about to be.
    pub(super) fn push(&self, key: Key) {
        let mut keys = self.lock();
        if keys.waiting.insert(key.clone()) {
            keys.order.push_back(key);
        }
        drop(keys);
        self.0.changed.notify_one();
    }

    /// Says that the reconciliation of `key` starts, or that there is nothing to reconcile.
    pub(super) fn started(&self, key: &Key) {
        if self.lock().ahead.remove(key) {
            self.0.changed.notify_one();
        }
    }

    /// What is to be given to the scheduler, for ever.
    pub(super) fn stream(&self) -> impl Stream<Item = Key> + Send + use<> {
        futures::stream::unfold(self.clone(), async |queue| Some((queue.next().await, queue)))
    }

    async fn next(&self) -> Key {
        loop {
            if let Some(key) = self.lock().take() {
                return key;
            }
            self.0.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn take(&mut self) -> Option<Key> {
        while self.ahead.len() < AHEAD {
            let Some(key) = self.order.pop_front() else {
                self.waiting.shrink_to(AHEAD);
                self.order.shrink_to(AHEAD);
                return None;
            };
            self.waiting.remove(&key);
            if self.ahead.insert(key.clone()) {
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn key(name: usize) -> Key {
        Key::new("billing", &name.to_string())
    }

    #[test]
    fn each_key_comes_once_in_the_order_in_which_they_came() {
        let queue = Queue::default();
        for name in [1, 2, 1, 3, 2] {
            queue.push(key(name));
        }
        let mut stream = Box::pin(queue.stream());
        let taken: Vec<_> = std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect();
        assert_eq!(taken, [key(1), key(2), key(3)]);
    }

    #[test]
    fn a_key_comes_again_only_after_its_start() {
        let queue = Queue::default();
        let mut stream = Box::pin(queue.stream());
        let mut next = || stream.next().now_or_never().flatten();
        queue.push(key(1));
        assert_eq!(next(), Some(key(1)));
        queue.push(key(1));
        assert_eq!(next(), None);
        queue.started(&key(1));
        assert_eq!(next(), None, "the change came before the start, which sees it");
        queue.push(key(1));
        assert_eq!(next(), Some(key(1)));
    }

    #[test]
    fn the_scheduler_gets_a_few_at_a_time_and_in_the_end_all() {
        let queue = Queue::default();
        let mut stream = Box::pin(queue.stream());
        (0..1000).for_each(|name| queue.push(key(name)));
        let mut taken = Vec::new();
        while taken.len() < 1000 {
            while let Some(Some(key)) = stream.next().now_or_never() {
                taken.push(key);
            }
            assert!(queue.lock().ahead.len() <= AHEAD);
            let first = queue.lock().ahead.iter().next().cloned().expect("some are with the scheduler");
            queue.started(&first);
        }
        assert!(taken.iter().cloned().eq((0..1000).map(key)));
        for key in &taken {
            queue.started(key);
        }
        assert!(stream.next().now_or_never().is_none());
        assert!(queue.lock().order.capacity() < 2 * AHEAD, "the room is given back");
    }
}
