//! Applied revisions: the newest resourceVersion of each kind that the read model serves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::api::replica_state::AppliedRevisions;
use crate::cache::Kind;

/// One number per kind. ResourceVersions of one kind compare as integers, and a watch delivers them in order: when a
/// number is reached, everything up to it is served.
pub(crate) struct RevisionTracker {
    reached: watch::Sender<[u64; Kind::ALL.len()]>,
    /// Clients with a numbered change that is not served yet.
    behind: Mutex<BTreeSet<Arc<str>>>,
}

impl Default for RevisionTracker {
    fn default() -> Self {
        Self { reached: watch::Sender::new([0; Kind::ALL.len()]), behind: Mutex::default() }
    }
}

impl RevisionTracker {
    /// Records that the read model serves `kind` up to `resource_version`.
    pub(crate) fn advance(&self, kind: Kind, resource_version: u64) {
        self.reached.send_if_modified(|reached| {
            let Some(at) = slot(reached, kind).filter(|at| **at < resource_version) else { return false };
            *at = resource_version;
            true
        });
    }

    /// Whether this client has a numbered change that is not served yet.
    pub(crate) fn set_stale(&self, client_id: &Arc<str>, is_behind: bool) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if is_behind {
            behind.insert(Arc::clone(client_id));
        } else if !behind.is_empty() {
            behind.remove(client_id);
        }
    }

    /// The newest resourceVersions that are served. `None` while the numbers may be too high: a watch reports no number
    /// for a deletion, so a replica may have the number of a consequence of the deletion but not the deletion itself.
    pub(crate) fn serves(&self) -> Option<AppliedRevisions> {
        if !self.behind.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return None;
        }
        let mut reached = *self.reached.borrow();
        let mut of = |kind| slot(&mut reached, kind).map_or(0, |at| i64::try_from(*at).unwrap_or(i64::MAX));
        Some(AppliedRevisions {
            access_groups: of(Kind::AccessGroup),
            service_users: of(Kind::ServiceUser),
            applications: of(Kind::Application),
            client_secrets: of(Kind::ClientSecret),
            namespaces: of(Kind::Namespace),
        })
    }

    /// Subscribes to every advance.
    pub(crate) fn subscribe(&self) -> watch::Receiver<[u64; Kind::ALL.len()]> {
        self.reached.subscribe()
    }

    /// Waits until the read model serves every one of `wanted`.
    pub(crate) async fn wait_for(&self, wanted: &[(Kind, u64)]) {
        let there = |reached: &[u64; Kind::ALL.len()]| {
            let mut reached = *reached;
            wanted.iter().all(|(kind, version)| slot(&mut reached, *kind).is_some_and(|at| *at >= *version))
        };
        // The sender lives as long as the read model, which `self` borrows from.
        let _ = self.reached.subscribe().wait_for(there).await;
    }
}

fn slot(reached: &mut [u64; Kind::ALL.len()], kind: Kind) -> Option<&mut u64> {
    let at = Kind::ALL.iter().position(|known| *known == kind)?;
    reached.get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_applied_revisions_are_published_while_a_client_is_stale() {
        let (progress, client): (_, Arc<str>) = (RevisionTracker::default(), "client".into());
        progress.advance(Kind::ServiceUser, 7);
        assert_eq!(progress.serves().map(|serves| serves.service_users), Some(7));
        progress.set_stale(&client, true);
        assert_eq!(progress.serves(), None);
        progress.set_stale(&"another".into(), false);
        assert_eq!(progress.serves(), None);
        progress.set_stale(&client, false);
        assert_eq!(progress.serves().map(|serves| serves.service_users), Some(7));
    }
}
