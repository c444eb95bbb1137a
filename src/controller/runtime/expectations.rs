//! Writes of this process that its watches have not delivered yet.
//!
//! A decision from a cache without Postern's own last write would repeat that write. So each write records its
//! resourceVersion here, and its object is not reconciled until the cache has that version; the event that delivers it
//! also triggers the next reconciliation.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::runtime::reflector::Lookup;

use crate::cache::{ObjectRef, revision};

/// Versions that the cache must have before the object is reconciled again.
#[derive(Debug, Default)]
pub(crate) struct Expectations(Mutex<HashMap<(String, ObjectRef), u64>>);

impl Expectations {
    /// Records a write from the API server's response.
    pub(crate) fn record<K: Lookup<DynamicType = ()>>(&self, answer: &K) {
        let id = (K::kind(&()).into_owned(), ObjectRef::of(answer));
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = written.entry(id).or_default();
        *newest = (*newest).max(revision(answer));
    }

    /// Whether `cached` is older than Postern's last write of it. Removes the record once the cache has it.
    pub(crate) fn is_stale<K: Lookup<DynamicType = ()>>(&self, cached: &K) -> bool {
        let id = (K::kind(&()).into_owned(), ObjectRef::of(cached));
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = written.get(&id).is_some_and(|newest| *newest > revision(cached));
        if !ahead {
            written.remove(&id);
        }
        ahead
    }
}
