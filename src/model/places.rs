//! At most so many objects of one kind of a namespace: the oldest.
//!
//! Others count as absent, here and in everything that follows from here. Of each of them only name and age are kept, so
//! that a tenant fills no replica's memory; one that moves up is fetched.

use std::collections::HashMap;
use std::sync::Arc;

use super::Key;
use super::line::Line;
use super::relations::Claimant;

/// The objects of one kind by namespace, in the order of age.
#[derive(Debug)]
pub(super) struct Places {
    /// `None`: as many as there are.
    limit: Option<usize>,
    lines: HashMap<Arc<str>, Line>,
}

/// Where an object is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Among the oldest. Another one may have been displaced.
    Within(Option<Key>),
    /// Beyond the limit.
    Beyond,
}

impl Places {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit, lines: HashMap::new() }
    }

    /// The same limit, and nobody there.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.limit)
    }

    /// Finds the place of an object that is there.
    pub(super) fn take(&mut self, claimant: &Claimant) -> Place {
        let Some(limit) = self.limit else { return Place::Within(None) };
        let line = self.lines.entry(Arc::clone(&claimant.key.namespace)).or_default();
        let displaced = line.insert(claimant.clone(), limit);
        if line.holds(claimant) { Place::Within(displaced.map(|other| other.key)) } else { Place::Beyond }
    }

    /// Gives up the place of an object that is gone; returns the one that moves up.
    pub(super) fn leave(&mut self, claimant: &Claimant) -> Option<Key> {
        let line = self.lines.get_mut(&claimant.key.namespace)?;
        let next = line.remove(claimant);
        if line.is_empty() {
            self.lines.remove(&claimant.key.namespace);
        }
        next.map(|next| next.key)
    }
}
