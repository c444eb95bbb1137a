//! The signature algorithms that Applications request beyond those that every installation has keys of: whose keys must
//! be created, and whose keys sign at every live replica.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::api::application::SigningAlgorithm;
use crate::cache::ObjectRef;

/// The requested algorithms. One that was requested stays so while this process leads: its keys are kept when the last
/// Application with it is gone.
#[derive(Debug)]
pub(crate) struct SigningAlgorithms {
    requested: watch::Sender<BTreeSet<&'static str>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether every live replica signs with an algorithm, as far as known.
    signing: BTreeMap<String, bool>,
    /// The Applications that depend on that.
    applications: BTreeSet<ObjectRef>,
}

impl Default for SigningAlgorithms {
    fn default() -> Self {
        Self { requested: watch::Sender::new(BTreeSet::new()), state: Mutex::default() }
    }
}

impl SigningAlgorithms {
    /// Records the algorithm of an Application.
    pub(crate) fn request(&self, application: &ObjectRef, algorithm: SigningAlgorithm) {
        if algorithm.has_keys_from_the_start() {
            self.state().applications.remove(application);
            return;
        }
        self.state().applications.insert(application.clone());
        self.requested.send_if_modified(|known| known.insert(algorithm.name()));
    }

    /// The requested algorithms, and their changes.
    pub(crate) fn requested(&self) -> watch::Receiver<BTreeSet<&'static str>> {
        self.requested.subscribe()
    }

    /// Whether every live replica signs with this algorithm; `None`: not known yet.
    pub(crate) fn signs(&self, algorithm: &str) -> Option<bool> {
        self.state().signing.get(algorithm).copied()
    }

    /// Records that, and returns the Applications that depend on it if it is new.
    pub(crate) fn set_signs(&self, algorithm: &str, signs: bool) -> Vec<ObjectRef> {
        let mut state = self.state();
        if state.signing.insert(algorithm.to_owned(), signs) == Some(signs) {
            return Vec::new();
        }
        state.applications.iter().cloned().collect()
    }

    /// This process does not know any more what replicas do.
    pub(crate) fn restart(&self) {
        self.state().signing.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applications_of_an_algorithm_are_told_once_when_it_signs() {
        let (algorithms, application) = (SigningAlgorithms::default(), ObjectRef::new("billing", "sync"));
        algorithms.request(&application, SigningAlgorithm::Ps256);
        algorithms.request(&ObjectRef::new("billing", "other"), SigningAlgorithm::Es256);
        assert_eq!(algorithms.requested().borrow().iter().copied().collect::<Vec<_>>(), ["PS256"]);
        assert_eq!(algorithms.signs("PS256"), None);
        let only = vec![application.clone()];
        assert_eq!(algorithms.set_signs("PS256", true), only);
        assert!(algorithms.set_signs("PS256", true).is_empty());
        assert_eq!(algorithms.set_signs("PS256", false), only, "its last key was dropped");
        algorithms.request(&application, SigningAlgorithm::Rs256);
        assert!(algorithms.set_signs("PS256", true).is_empty());
    }
}
