//! The keys that this replica uses, for its report to the leader.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::api::replica_state::KeysInUse;

/// The keys of each Secret, by its name.
type BySecret = BTreeMap<&'static str, KeysInUse>;

/// The keys in use, as far as they were read.
#[derive(Clone, Debug, Default)]
pub struct KeyReports(watch::Sender<BySecret>);

impl KeyReports {
    /// Records the keys of a Secret that this replica uses from now on.
    pub fn record(&self, secret: &'static str, keys: KeysInUse) {
        self.0.send_if_modified(|known| {
            known.get(secret) != Some(&keys) && {
                known.insert(secret, keys);
                true
            }
        });
    }

    /// Follows the changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BySecret> {
        self.0.subscribe()
    }

    /// All keys in use; `None`: none was read.
    pub(crate) fn in_use(&self) -> Option<KeysInUse> {
        self.0.borrow().values().cloned().reduce(|mut all, keys| {
            all.accepted.extend(keys.accepted);
            all.signing.extend(keys.signing);
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_all_secrets_are_reported_and_the_same_keys_only_once() {
        let (reports, keys) = (KeyReports::default(), |id: &str| KeysInUse {
            accepted: vec![id.to_owned()],
            signing: vec![id.to_owned()],
        });
        assert_eq!(reports.in_use(), None);
        let mut changes = reports.subscribe();
        reports.record("a", keys("1"));
        reports.record("b", keys("2"));
        assert_eq!(reports.in_use().unwrap().accepted, ["1", "2"]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        reports.record("b", keys("2"));
        assert!(!changes.has_changed().unwrap());
        reports.record("b", keys("3"));
        assert_eq!(reports.in_use().unwrap().signing, ["1", "3"]);
    }
}
