//! Values that are recorded in status but not written into their Secret. They are kept for the next attempt, which then
//! has nothing to record. They are lost with the process; then another value is recorded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::issued_value::IssuedValue;
use crate::cache::ObjectRef;

/// One value at most for each ClientSecret.
#[derive(Default)]
pub(crate) struct PendingValues(Mutex<HashMap<ObjectRef, IssuedValue>>);

impl PendingValues {
    /// Keeps a value that no client has received.
    pub(crate) fn keep(&self, key: &ObjectRef, value: IssuedValue) {
        self.lock().insert(key.clone(), value);
    }

    /// Removes and returns the value of version `id`; a kept value of another version is dropped.
    pub(crate) fn take(&self, key: &ObjectRef, id: &str) -> Option<IssuedValue> {
        self.lock().remove(key).filter(|value| value.id == id)
    }

    /// Removes the value of a ClientSecret that waits for none.
    pub(crate) fn forget(&self, key: &ObjectRef) {
        self.lock().remove(key);
    }

    /// Removes the values of deleted ClientSecrets.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&ObjectRef) -> bool) {
        self.lock().retain(|key, _| is_there(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef, IssuedValue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
