//! Round-robin queue: every namespace has one item served before another namespace has its next one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Items by namespace; within one they keep the order of their numbers.
pub(crate) struct RoundRobin<T> {
    /// The namespaces in `items`, each once; the first one is next.
    order: VecDeque<Arc<str>>,
    /// By number: an item is removed without a scan.
    items: HashMap<Arc<str>, BTreeMap<u64, T>>,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), items: HashMap::new() }
    }
}

impl<T> RoundRobin<T> {
    pub(crate) fn add(&mut self, namespace: &Arc<str>, number: u64, item: T) {
        if !self.items.contains_key(namespace) {
            self.order.push_back(Arc::clone(namespace));
        }
        self.items.entry(Arc::clone(namespace)).or_default().insert(number, item);
    }

    /// A namespace without items is dropped when its turn comes.
    pub(crate) fn remove(&mut self, namespace: &str, number: u64) {
        if let Some(items) = self.items.get_mut(namespace) {
            items.remove(&number);
        }
    }

    /// The first item of the first eligible namespace. A namespace that is skipped keeps its turn.
    pub(crate) fn take(&mut self, may_have_one: impl Fn(&str) -> bool) -> Option<T> {
        let mut at = 0;
        while let Some(namespace) = self.order.get(at) {
            let items = self.items.get_mut(namespace);
            let Some(items) = items.filter(|items| !items.is_empty()) else {
                let empty = self.order.remove(at);
                empty.and_then(|namespace| self.items.remove(&namespace));
                continue;
            };
            if !may_have_one(namespace) {
                at += 1;
                continue;
            }
            let item = items.pop_first().map(|(_, item)| item);
            let is_empty = items.is_empty();
            let namespace = self.order.remove(at)?;
            if is_empty {
                self.items.remove(&namespace);
            } else {
                self.order.push_back(namespace);
            }
            return item;
        }
        None
    }

    /// The number of waiting items of the namespace.
    pub(crate) fn waiting_in(&self, namespace: &str) -> usize {
        self.items.get(namespace).map_or(0, BTreeMap::len)
    }

    /// Releases capacity that an emptied queue does not need.
    pub(crate) fn shrink_to(&mut self, room: usize) {
        self.order.shrink_to(room);
        self.items.shrink_to(room);
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.order.capacity().max(self.items.capacity())
    }
}
