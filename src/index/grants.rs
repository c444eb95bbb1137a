//! Grants, each held once: clients in the same groups have the same one, and it is the largest part of a record.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::oauth::client::Grant;

/// The grants of all records.
#[derive(Default)]
pub(super) struct Grants(Mutex<HashSet<Arc<Grant>>>);

impl Grants {
    /// The one that equals `grant`.
    pub(super) fn shared(&self, grant: Grant) -> Arc<Grant> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&grant) {
            return Arc::clone(known);
        }
        if known.len() == known.capacity() {
            // Before there is room for more: what no record holds any more.
            known.retain(|grant| Arc::strong_count(grant) > 1);
        }
        let grant = Arc::new(grant);
        known.insert(Arc::clone(&grant));
        grant
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn grant(audience: usize) -> Grant {
        Grant { permissions: BTreeMap::from([(audience.to_string().into(), BTreeMap::new())]) }
    }

    #[test]
    fn equal_grants_are_one_and_others_are_not() {
        let grants = Grants::default();
        let (one, same, other) = (grants.shared(grant(1)), grants.shared(grant(1)), grants.shared(grant(2)));
        assert!(Arc::ptr_eq(&one, &same));
        assert_eq!((&*one, &*other), (&grant(1), &grant(2)));
    }

    #[test]
    fn what_nobody_holds_any_more_is_forgotten() {
        let grants = Grants::default();
        let held = grants.shared(grant(0));
        for audience in 1..10_000 {
            drop(grants.shared(grant(audience)));
        }
        assert!(grants.0.lock().unwrap().len() < 100);
        assert!(Arc::ptr_eq(&held, &grants.shared(grant(0))));
    }
}
