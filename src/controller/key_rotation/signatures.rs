//! Which of the algorithms that Applications request sign at every live replica.

use super::Rotation;
use crate::api::key_records::{KeyRecords, KeyState};
use crate::api::replica_state::KeysInUse;
use crate::clock::Clock;
use crate::keystore::FIRST_KEYS;
use crate::plan::key_rotation::Replicas;

impl<C: Clock> Rotation<'_, C> {
    /// The algorithms that not every installation has keys of.
    fn requested_algorithms(&self) -> impl Iterator<Item = &'static str> + use<C> {
        let further = self.set.algorithms.clone();
        let is_first = |algorithm: &&str| FIRST_KEYS.iter().any(|(_, first)| first.name() == *algorithm);
        further.into_iter().filter(move |algorithm| !is_first(algorithm))
    }

    /// Whether replicas may begin to sign with a requested algorithm.
    pub(super) fn awaits_signatures(&self, records: &KeyRecords) -> bool {
        let signs = |algorithm: &str| self.context.signing_algorithms.signs(algorithm);
        let has_active = |algorithm: &str| records.in_state(algorithm, KeyState::Active).next().is_some();
        self.applications.is_some()
            && self.requested_algorithms().any(|algorithm| signs(algorithm) != Some(has_active(algorithm)))
    }

    /// Records what replicas report. With an active key, an algorithm that signs stays so: a replica signs with the key
    /// before, or with the key after.
    pub(super) fn note_signatures(&self, records: &KeyRecords, replicas: &Replicas) {
        let Some(applications) = &self.applications else { return };
        for algorithm in self.requested_algorithms() {
            let keys = || records.keys.iter().filter(|key| key.algorithm == algorithm);
            let signs_at = |replica: &Option<KeysInUse>| {
                replica.as_ref().is_some_and(|in_use| keys().any(|key| in_use.signing.contains(&key.id)))
            };
            let has_active = records.in_state(algorithm, KeyState::Active).next().is_some();
            let known = self.context.signing_algorithms.signs(algorithm) == Some(true);
            let signs = has_active && (known || !replicas.is_empty() && replicas.values().all(signs_at));
            for application in self.context.signing_algorithms.set_signs(algorithm, signs) {
                applications.push(application);
            }
        }
    }
}
