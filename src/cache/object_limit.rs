//! Limits the number of objects of one kind in a namespace; the oldest are within the limit.
//!
//! The others are treated as absent, here and in everything that follows from here. Of each of them only name and age
//! are stored, so that a tenant cannot fill the memory of a replica. An object that moves up is fetched.

use std::collections::HashMap;
use std::sync::Arc;

use super::ObjectRef;
use super::claimants::Claimants;
use super::reverse_index::Claimant;

/// The objects of one kind by namespace, in the order of age.
#[derive(Debug)]
pub(super) struct Places {
    /// `None`: no limit.
    limit: Option<usize>,
    lines: HashMap<Arc<str>, Claimants>,
}

/// The place of an object.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// Within the limit. Another object may have been displaced.
    Within(Option<ObjectRef>),
    /// Beyond the limit.
    Beyond,
}

impl Places {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit, lines: HashMap::new() }
    }

    /// An empty set with the same limit.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.limit)
    }

    /// Finds the place of an existing object.
    pub(super) fn take(&mut self, claimant: &Claimant) -> Admission {
        let Some(limit) = self.limit else { return Admission::Within(None) };
        let line = self.lines.entry(Arc::clone(&claimant.key.namespace)).or_default();
        let displaced = line.insert(claimant.clone(), limit);
        if line.holds(claimant) { Admission::Within(displaced.map(|other| other.key)) } else { Admission::Beyond }
    }

    /// Removes a deleted object; returns the one that moves up.
    pub(super) fn leave(&mut self, claimant: &Claimant) -> Option<ObjectRef> {
        let line = self.lines.get_mut(&claimant.key.namespace)?;
        let next = line.remove(claimant);
        if line.is_empty() {
            self.lines.remove(&claimant.key.namespace);
        }
        next.map(|next| next.key)
    }
}
