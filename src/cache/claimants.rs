//! Claimants of something that only the oldest can have: those within the limit, and those that wait.
//!
//! Ten thousand may wait. A change visits at most as many as the limit.

use std::collections::BTreeSet;

use super::reverse_index::Claimant;

/// Claimants by age.
#[derive(Debug, Default)]
pub struct Claimants {
    /// Those within the limit. A vector without spare capacity at first, because most lines have one member. A tree has
    /// room for eleven from the start: a kilobyte for each of ten thousand Secrets.
    within: Vec<Claimant>,
    beyond: BTreeSet<Claimant>,
}

impl Claimants {
    /// Those within the limit, oldest first.
    #[must_use]
    pub fn within(&self) -> &[Claimant] {
        &self.within
    }

    /// The first of those beyond the limit.
    #[must_use]
    pub fn next(&self) -> Option<&Claimant> {
        self.beyond.first()
    }

    /// The number of claimants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.within.len() + self.beyond.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.within.is_empty()
    }

    /// Those whose place may have changed because another was added or removed: the last within the limit and the first
    /// beyond it, if they exist.
    pub fn at_the_limit(&self, limit: usize) -> impl Iterator<Item = &Claimant> {
        let last = self.within.last().filter(|_| self.within.len() >= limit);
        last.into_iter().chain(self.beyond.first())
    }

    /// Whether the claimant is within the limit.
    pub(super) fn holds(&self, claimant: &Claimant) -> bool {
        self.within.binary_search(claimant).is_ok()
    }

    /// Adds a claimant; returns the one that this displaces beyond the limit.
    pub(super) fn insert(&mut self, claimant: Claimant, limit: usize) -> Option<Claimant> {
        let Err(at) = self.within.binary_search(&claimant) else { return None };
        if at >= limit {
            self.beyond.insert(claimant);
            return None;
        }
        if self.within.len() == self.within.capacity() && self.within.len() < 4 {
            self.within.reserve_exact(1);
        }
        self.within.insert(at, claimant);
        let displaced = if self.within.len() > limit { self.within.pop() } else { None };
        self.beyond.extend(displaced.clone());
        displaced
    }

    /// Removes a claimant; returns the one that this moves within the limit.
    pub(super) fn remove(&mut self, claimant: &Claimant) -> Option<Claimant> {
        let Ok(at) = self.within.binary_search(claimant) else {
            self.beyond.remove(claimant);
            return None;
        };
        self.within.remove(at);
        let next = self.beyond.pop_first();
        self.within.extend(next.clone());
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::precedence::Seniority;
    use crate::cache::ObjectRef;

    fn claimant(age: i64) -> Claimant {
        let metadata = serde_json::json!({
            "creationTimestamp": jiff::Timestamp::from_second(1_700_000_000 + age).unwrap(),
            "uid": format!("00000000-0000-0000-0000-{age:012}"),
        });
        let seniority = Seniority::of(&serde_json::from_value(metadata).unwrap());
        Claimant { seniority, key: ObjectRef::new("billing", &age.to_string()) }
    }

    proptest! {
        #[test]
        fn the_oldest_claimants_are_within_the_limit_after_any_insertions_and_removals(
            steps in proptest::collection::vec((0_i64..30, any::<bool>()), 0..100),
            limit in 1_usize..6,
        ) {
            let (mut line, mut all) = (Claimants::default(), BTreeSet::new());
            for (age, comes) in steps {
                let before: BTreeSet<_> = all.iter().take(limit).cloned().collect();
                let moved = if comes {
                    all.insert(claimant(age));
                    line.insert(claimant(age), limit)
                } else {
                    all.remove(&claimant(age));
                    line.remove(&claimant(age))
                };
                let oldest: Vec<_> = all.iter().take(limit).cloned().collect();
                let (left, came) = (before.iter().find(|one| !oldest.contains(one)), oldest.iter().find(|one| !before.contains(one)));
                let other = if comes { left } else { came };
                prop_assert_eq!(moved.as_ref(), other);
                prop_assert_eq!(line.within(), &*oldest);
                prop_assert_eq!(line.next(), all.iter().nth(limit));
                prop_assert_eq!(line.len(), all.len());
            }
        }
    }
}
