//! What this process wrote and its watches have not shown yet.
//!
//! A decision taken from a cache that does not have our own last write would repeat it. So each write leaves its
//! resourceVersion here, and an object is not looked at again until the cache has it; the event that brings it is also
//! the one that triggers the next look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::runtime::reflector::Lookup;

use crate::model::{Key, revision};

/// Versions that the cache must have before the object is looked at again.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<(String, Key), u64>>);

impl Written {
    /// Notes a write from the API server's answer.
    pub(super) fn record<K: Lookup<DynamicType = ()>>(&self, answer: &K) {
        let id = (K::kind(&()).into_owned(), Key::of(answer));
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = written.entry(id).or_default();
        *newest = (*newest).max(revision(answer));
    }

    /// Whether `cached` is older than our last write of it. Forgets the write once it is seen.
    pub(super) fn is_ahead_of<K: Lookup<DynamicType = ()>>(&self, cached: &K) -> bool {
        let id = (K::kind(&()).into_owned(), Key::of(cached));
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = written.get(&id).is_some_and(|newest| *newest > revision(cached));
        if !ahead {
            written.remove(&id);
        }
        ahead
    }
}
