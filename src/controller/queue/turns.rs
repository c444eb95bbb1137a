//! Keys that wait, served in turns: every namespace has one key served before another namespace has its next one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::model::Key;

/// Keys by namespace; within one they keep their order.
#[derive(Default)]
pub(super) struct Turns {
    /// The namespaces in `keys`, each once; the first has the next turn.
    order: VecDeque<Arc<str>>,
    /// By number: a key that moves to another lane is found without a scan.
    keys: HashMap<Arc<str>, BTreeMap<u64, Key>>,
}

impl Turns {
    pub(super) fn add(&mut self, number: u64, key: Key) {
        if !self.keys.contains_key(&key.namespace) {
            self.order.push_back(Arc::clone(&key.namespace));
        }
        self.keys.entry(Arc::clone(&key.namespace)).or_default().insert(number, key);
    }

    /// A namespace without keys is dropped when its turn comes.
    pub(super) fn remove(&mut self, number: u64, key: &Key) {
        if let Some(keys) = self.keys.get_mut(&key.namespace) {
            keys.remove(&number);
        }
    }

    /// The first key of the first namespace that may have one now. A namespace that is passed over keeps its turn.
    pub(super) fn take(&mut self, may_have_one: impl Fn(&str) -> bool) -> Option<Key> {
        let mut at = 0;
        while let Some(namespace) = self.order.get(at) {
            let keys = self.keys.get_mut(namespace);
            let Some(keys) = keys.filter(|keys| !keys.is_empty()) else {
                let empty = self.order.remove(at);
                empty.and_then(|namespace| self.keys.remove(&namespace));
                continue;
            };
            if !may_have_one(namespace) {
                at += 1;
                continue;
            }
            let key = keys.pop_first().map(|(_, key)| key);
            let is_empty = keys.is_empty();
            let namespace = self.order.remove(at)?;
            if is_empty {
                self.keys.remove(&namespace);
            } else {
                self.order.push_back(namespace);
            }
            return key;
        }
        None
    }

    /// How many keys of the namespace wait.
    pub(super) fn waiting_in(&self, namespace: &str) -> usize {
        self.keys.get(namespace).map_or(0, BTreeMap::len)
    }

    /// Gives back what an emptied queue does not need.
    pub(super) fn shrink_to(&mut self, room: usize) {
        self.order.shrink_to(room);
        self.keys.shrink_to(room);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.order.capacity().max(self.keys.capacity())
    }
}
