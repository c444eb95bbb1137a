//! Group commit: the next write includes all entries that arrive during a write.

use std::collections::HashMap;
use std::sync::{Mutex as Lock, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::oauth::client_store::RecordError;

/// Whether an entry is persisted outside this process.
pub(crate) type CommitResult = Result<(), RecordError>;

/// Entries that no write includes yet, by key.
pub(crate) struct GroupCommit<V>(Lock<HashMap<String, Entry<V>>>);

/// An entry and the callers that wait for it: more than one if a client repeats its request.
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    callers: Vec<oneshot::Sender<CommitResult>>,
}

impl<V> Default for GroupCommit<V> {
    fn default() -> Self {
        Self(Lock::default())
    }
}

impl<V> GroupCommit<V> {
    /// Adds an entry. If a key is added twice, its first value is written.
    pub(crate) fn add(&self, key: String, value: V) -> oneshot::Receiver<CommitResult> {
        let (caller, outcome) = oneshot::channel();
        let mut entries = self.lock();
        entries.entry(key).or_insert(Entry { value, callers: Vec::new() }).callers.push(caller);
        outcome
    }

    /// Takes all entries. The caller answers each of them.
    pub(crate) fn take(&self) -> HashMap<String, Entry<V>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl<V> Entry<V> {
    pub(crate) fn answer(self, outcome: CommitResult) {
        for caller in self.callers {
            // A caller may have disconnected.
            let _ = caller.send(outcome);
        }
    }
}
