//! Shares equal values, each stored once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of equal values. Values without another owner are eventually removed.
#[derive(Debug)]
pub struct Interner<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Eq + Hash + ?Sized> Interner<T> {
    /// The shared value that equals `value`.
    pub fn shared(&self, value: Arc<T>) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&value) {
            return Arc::clone(known);
        }
        if known.len() == known.capacity() {
            // Before the pool grows: remove values that only the pool owns.
            known.retain(|value| Arc::strong_count(value) > 1);
        }
        known.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> Arc<str> {
        number.to_string().into()
    }

    #[test]
    fn equal_values_are_one_and_others_are_not() {
        let pool = Interner::default();
        let (one, same, other) = (pool.shared(text(1)), pool.shared(text(1)), pool.shared(text(2)));
        assert!(Arc::ptr_eq(&one, &same));
        assert_eq!((one, other), (text(1), text(2)));
    }

    #[test]
    fn a_value_without_references_is_removed() {
        let pool = Interner::default();
        let held = pool.shared(text(0));
        for number in 1..10_000 {
            drop(pool.shared(text(number)));
        }
        assert!(pool.0.lock().unwrap().len() < 100);
        assert!(Arc::ptr_eq(&held, &pool.shared(text(0))));
    }
}
