//! A bounded number of places that callers share: nobody can take what others need.
//!
//! A caller gets a place while it holds less than three times what is free. So one caller alone may have three quarters of
//! all places, two that want everything have three sevenths each, and some remain for whoever comes next.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many times what is free one caller may hold. Three leaves a caller without competitors most of the capacity, and
/// newcomers a place while fewer callers than a third of the capacity take all they can.
const FREE_TIMES: usize = 3;

/// Whether a caller that holds `held` places may have one more while `free` are free.
pub(super) fn is_within_share(held: usize, free: usize) -> bool {
    held < free.saturating_mul(FREE_TIMES)
}

/// Places that callers share. Its memory is bounded by their number: who holds none is not known here.
#[derive(Debug)]
pub(super) struct Shares<K> {
    capacity: usize,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    total: usize,
    by_caller: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// This many places, at least one.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let held = Mutex::new(Held { total: 0, by_caller: HashMap::new() });
        Arc::new(Self { capacity: capacity.max(1), held })
    }

    /// A place for this caller, unless it has its share.
    pub(super) fn take(self: &Arc<Self>, caller: &K) -> Option<Place<K>> {
        let mut held = self.lock();
        let own = held.by_caller.get(caller).copied().unwrap_or_default();
        if !is_within_share(own, self.capacity - held.total) {
            return None;
        }
        held.total += 1;
        held.by_caller.insert(caller.clone(), own + 1);
        Some(Place { shares: Arc::clone(self), caller: caller.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place<K: Clone + Eq + Hash> {
    shares: Arc<Shares<K>>,
    caller: K,
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        held.total -= 1;
        if let Some(own) = held.by_caller.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                held.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes until there is no more.
    fn fill(shares: &Arc<Shares<&'static str>>, caller: &'static str) -> Vec<Place<&'static str>> {
        std::iter::from_fn(|| shares.take(&caller)).collect()
    }

    #[test]
    fn one_caller_alone_gets_three_quarters() {
        assert_eq!(fill(&Shares::new(400), "a").len(), 300);
    }

    #[test]
    fn callers_that_take_all_they_can_leave_places_for_newcomers() {
        let shares = Shares::new(400);
        let (a, b, c) = (fill(&shares, "a"), fill(&shares, "b"), fill(&shares, "c"));
        assert_eq!([a.len(), b.len(), c.len()], [300, 75, 19]);
        assert!(shares.take(&"newcomer").is_some());
    }

    #[test]
    fn whoever_has_more_than_its_share_gets_nothing_until_it_gave_enough_back() {
        let shares = Shares::new(400);
        let (mut a, _b) = (fill(&shares, "a"), fill(&shares, "b"));
        a.truncate(280);
        assert!(shares.take(&"a").is_none(), "280 held, 45 free");
        a.truncate(150);
        assert!(shares.take(&"a").is_some());
    }

    #[test]
    fn a_place_that_is_given_back_leaves_no_trace() {
        let shares = Shares::new(4);
        drop(fill(&shares, "a"));
        let held = shares.lock();
        assert_eq!((held.total, held.by_caller.len()), (0, 0));
    }

    #[test]
    fn there_is_always_one_place() {
        let shares = Shares::new(0);
        let place = shares.take(&"a");
        assert!(place.is_some() && shares.take(&"b").is_none());
    }
}
