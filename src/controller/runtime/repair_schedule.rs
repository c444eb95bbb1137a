//! Schedules the repair of delivered Secrets that other clients change: immediately, then less and less often while the
//! changes continue.
//!
//! Otherwise two controllers that disagree on a label would write endlessly.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::api::names::FIELD_MANAGER;
use crate::cache::ObjectRef;
use crate::controller::kinds::client_secret::secret_content::Difference;
use crate::util::timing::backoff::{Backoff, Growth};

/// The wait after the second repair in a row, …
const BACKOFF_MIN: Duration = Duration::from_secs(2);
/// … doubled up to this.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// A change this long after the wait is a new one, not a reaction to the repair.
const PAUSE: Duration = Duration::from_mins(1);
const GROWTH: Growth = Growth { initial: Duration::ZERO, min: BACKOFF_MIN, max: BACKOFF_MAX, quiet: |_| PAUSE };
/// Capacity that is kept when nothing is repaired.
const ROOM: usize = 64;

/// The last repair of each Secret, with the fields and the clients that changed them.
#[derive(Debug)]
pub(crate) struct Repairs(Mutex<Backoff<ObjectRef, String>>);

impl Default for Repairs {
    fn default() -> Self {
        Self(Mutex::new(Backoff::new(GROWTH)))
    }
}

impl Repairs {
    /// The Secret was repaired at `now`; `what` names the fields and the clients that changed them.
    pub(crate) fn note(&self, secret: &ObjectRef, now: Instant, what: String) {
        self.lock().start(secret.clone(), now, what);
    }

    /// The fields that were changed repeatedly, and the wait before the next repair.
    pub(crate) fn contested(&self, secret: &ObjectRef, now: Instant) -> Option<(String, Duration)> {
        self.lock().running(secret, now).map(|repair| (repair.value.clone(), repair.left(now)))
    }

    /// Removes entries without a recent change.
    pub(crate) fn forget_old(&self, now: Instant) {
        self.lock().remove_old(now, ROOM);
    }

    fn lock(&self) -> MutexGuard<'_, Backoff<ObjectRef, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields that differ, each with its last field managers, as `metadata.labels[team] (by helm)`.
pub(crate) fn changed(found: &Secret, difference: &Difference) -> String {
    let managers = found.metadata.managed_fields.as_deref().unwrap_or_default();
    let fields = difference.keys.iter().map(|key| {
        let (part, name) = key.split_once('/').map_or((key.as_str(), None), |(part, name)| (part, Some(name)));
        let root = if part == "data" { "" } else { "metadata." };
        let field = name.map_or_else(|| format!("{root}{part}"), |name| format!("{root}{part}[{name}]"));
        let writers: Vec<&str> = managers.iter().filter_map(|entry| writer(entry, part, name)).collect();
        if writers.is_empty() { field } else { format!("{field} (by {})", writers.join(", ")) }
    });
    fields.collect::<Vec<_>>().join(", ")
}

/// The manager of the entry, if it is another client that owns the field.
fn writer<'e>(entry: &'e ManagedFieldsEntry, part: &str, name: Option<&str>) -> Option<&'e str> {
    let mut fields = &entry.fields_v1.as_ref()?.0;
    let root = (part != "data").then_some("metadata");
    for step in root.into_iter().chain([part]).chain(name) {
        fields = fields.get(format!("f:{step}"))?;
    }
    entry.manager.as_deref().filter(|manager| *manager != FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_repaired_immediately_and_a_repeated_one_at_growing_intervals() {
        let (repairs, secret, mut now) = (Repairs::default(), ObjectRef::new("billing", "blue"), Instant::now());
        let wait = |now| repairs.contested(&secret, now).map(|(_, wait)| wait.as_secs());
        repairs.note(&secret, now, "a".to_owned());
        assert_eq!(wait(now), None, "the first is nothing unusual");
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            repairs.note(&secret, now, "b".to_owned());
            assert_eq!(wait(now), Some(seconds));
            now += Duration::from_secs(seconds);
            assert_eq!(wait(now), None);
        }
        now += PAUSE;
        repairs.note(&secret, now, "c".to_owned());
        assert_eq!(wait(now), None, "a new one");
        repairs.forget_old(now + PAUSE);
        assert!(repairs.lock().is_empty());
    }

    #[test]
    fn each_changed_field_is_reported_with_its_field_managers() {
        let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "fieldsV1": fields});
        let found = json!({"metadata": {"managedFields": [
            entry("postern", json!({"f:metadata": {"f:labels": {"f:team": {}}}, "f:data": {"f:issuer-uri": {}}})),
            entry("helm", json!({"f:metadata": {"f:labels": {"f:team": {}}}})),
            entry("kubectl-edit", json!({"f:metadata": {"f:labels": {"f:team": {}}}, "f:data": {"f:token-uri": {}}})),
        ]}});
        let found: Secret = serde_json::from_value(found).unwrap();
        let keys = ["labels/team", "data/token-uri", "data/issuer-uri", "ownerReferences", "annotations/a.example/b"];
        let difference = Difference { patch: json!({}), keys: keys.map(str::to_owned).to_vec() };
        assert_eq!(
            changed(&found, &difference),
            "metadata.labels[team] (by helm, kubectl-edit), data[token-uri] (by kubectl-edit), data[issuer-uri], \
             metadata.ownerReferences, metadata.annotations[a.example/b]"
        );
    }
}
