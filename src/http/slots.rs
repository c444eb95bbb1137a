//! A bounded number of slots that callers share and release when they are done.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::util::fair_share::{FairShare, TRIPLE};

/// Slots that callers share. Their number bounds the memory: a caller without a slot uses none.
#[derive(Debug)]
pub(super) struct Places<K>(Mutex<FairShare<K>>);

impl<K: Clone + Eq + Hash> Places<K> {
    /// This many slots, at least one.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(FairShare::new(TRIPLE, capacity.max(1)))))
    }

    /// A slot for this caller, unless it has used its share.
    pub(super) fn take(self: &Arc<Self>, caller: &K) -> Option<Slot<K>> {
        let is_free = self.lock().take(caller);
        is_free.then(|| Slot { places: Arc::clone(self), caller: caller.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, FairShare<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot, released on drop.
#[derive(Debug)]
pub(super) struct Slot<K: Clone + Eq + Hash> {
    places: Arc<Places<K>>,
    caller: K,
}

impl<K: Clone + Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        self.places.lock().free(&self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_slot_is_removed_from_the_counts() {
        let places = Places::new(4);
        let taken: Vec<_> = std::iter::from_fn(|| places.take(&"a")).collect();
        assert_eq!(taken.len(), 3);
        drop(taken);
        assert!(places.lock().is_empty());
    }

    #[test]
    fn a_limit_of_zero_still_leaves_one_slot() {
        let places = Places::new(0);
        let place = places.take(&"a");
        assert!(place.is_some() && places.take(&"b").is_none());
    }
}
