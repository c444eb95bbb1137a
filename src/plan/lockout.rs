//! The locks of an Application's secrets in its status.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::api::Application;
use crate::api::conditions::{ConditionValue, reasons, types};
use crate::api::lockout::{LOCKED_SOURCES_MAX, LockedSource};
use crate::api::replica_state::ClientLock;

/// The locks of a client now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Locked {
    /// When the last lock ends; `None`: there is none.
    pub(super) until: Option<Timestamp>,
    /// The networks, the one whose lock ends last first.
    pub(super) sources: Vec<LockedSource>,
    /// Whether there is a lock for all callers.
    is_for_all_callers: bool,
}

impl Locked {
    /// From what the replicas publish. A lock has ended when its time is over, or the client was unlocked since.
    pub(super) fn new(application: &Application, published: &[ClientLock], now: Timestamp) -> Self {
        let unlock = application.unlock();
        let current = published.iter().filter(|lock| lock.unlock == unlock && now < lock.until);
        let mut ends: BTreeMap<Option<IpNet>, Timestamp> = BTreeMap::new();
        for lock in current {
            let end = ends.entry(lock.network).or_insert(lock.until);
            *end = lock.until.max(*end);
        }
        let of_network =
            |(network, until): (&Option<IpNet>, &Timestamp)| Some(LockedSource { network: (*network)?, until: *until });
        let mut sources: Vec<LockedSource> = ends.iter().filter_map(of_network).collect();
        sources.sort_by_key(|source| (std::cmp::Reverse(source.until), source.network));
        sources.truncate(LOCKED_SOURCES_MAX);
        Self { until: ends.values().max().copied(), sources, is_for_all_callers: ends.contains_key(&None) }
    }

    /// The condition `Locked`. The message has no times and no networks, so that an attack from many networks does not change it.
    pub(super) fn condition(&self) -> ConditionValue {
        if self.until.is_none() {
            return ConditionValue::new_false(types::LOCKED, reasons::NOT_LOCKED, "The secrets are not locked.");
        }
        let whom = if self.is_for_all_callers { "all callers" } else { "the networks in status.lockedSources" };
        let message = format!(
            "Several distinct wrong secrets were presented: secrets are refused for {whom}, at the latest until \
             status.lockedUntil. To unlock, give the annotation postern.dev/unlock a new value."
        );
        ConditionValue::new_true(types::LOCKED, reasons::WRONG_SECRETS, message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::names::UNLOCK_ANNOTATION;

    fn application() -> Application {
        let spec = json!({"serviceUserRef": {"name": "sync"}});
        serde_json::from_value(json!({"metadata": {"name": "sync", "namespace": "billing"}, "spec": spec})).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lock(network: Option<&str>, until: i64) -> ClientLock {
        ClientLock {
            namespace: "billing".to_owned(),
            name: "sync".to_owned(),
            uid: "uid".to_owned(),
            network: network.map(|network| network.parse().unwrap()),
            at: at(0),
            until: at(until),
            unlock: String::new(),
        }
    }

    #[test]
    fn status_has_the_locks_that_have_not_ended_the_last_end_first() {
        let published = [
            lock(Some("192.0.2.0/24"), 20),
            lock(Some("198.51.100.0/24"), 30),
            lock(Some("192.0.2.0/24"), 25),
            lock(Some("203.0.113.0/24"), 10),
        ];
        let locked = Locked::new(&application(), &published, at(10));
        assert_eq!(locked.until, Some(at(30)));
        let sources: Vec<_> = locked.sources.iter().map(|it| (it.network.to_string(), it.until)).collect();
        assert_eq!(sources, [("198.51.100.0/24".to_owned(), at(30)), ("192.0.2.0/24".to_owned(), at(25))]);
        assert!(locked.condition().status && locked.condition().message.contains("the networks in"));
        let ended = Locked::new(&application(), &published, at(30));
        assert_eq!((ended.until, ended.sources.len(), ended.condition().reason), (None, 0, "NotLocked"));
    }

    #[test]
    fn a_lock_for_all_callers_has_no_source() {
        let locked = Locked::new(&application(), &[lock(None, 20)], at(0));
        assert_eq!((locked.until, locked.sources.len()), (Some(at(20)), 0));
        assert!(locked.condition().message.contains("for all callers"));
    }

    #[test]
    fn a_new_value_of_the_annotation_ends_the_locks_before_it() {
        let mut unlocked = application();
        unlocked.metadata.annotations = Some([(UNLOCK_ANNOTATION.to_owned(), "1".to_owned())].into());
        let before = lock(None, 20);
        let after = ClientLock { unlock: unlocked.unlock(), ..lock(Some("192.0.2.0/24"), 25) };
        assert_eq!(Locked::new(&unlocked, &[before, after], at(0)).until, Some(at(25)));
    }

    #[test]
    fn status_has_ten_networks_at_most() {
        let published: Vec<_> = (0..64).map(|it| lock(Some(&format!("192.0.{it}.0/24")), 20 + it)).collect();
        let locked = Locked::new(&application(), &published, at(0));
        assert_eq!((locked.sources.len(), locked.sources[0].until), (LOCKED_SOURCES_MAX, at(83)));
    }
}
