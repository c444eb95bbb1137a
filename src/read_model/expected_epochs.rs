//! The epochs of a client, as the controller has written them or is about to.
//!
//! A replica serves a change as soon as it sees it; the epoch of the change follows moments later, in status. A token
//! that is issued in between must already have the new epoch, or it would become invalid although its permissions are
//! current. The replica can compute the epoch: controller and index call the same functions.

use crate::api::fingerprint::{counted_epoch, next_epoch, user_fingerprint};
use crate::api::permissions::Membership;
use crate::api::{Application, ServiceUser};
use crate::cache::ObjectRef;
use crate::oauth::client_record::{ClientRecord, Epoch};

/// The fingerprints that the epochs of a client represent.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Fingerprints {
    service_user: String,
    application: String,
}

impl Fingerprints {
    /// For a client that may authenticate. `held` is the result of the groups of `user`, `application` the fingerprint
    /// of the Application.
    pub(super) fn new(user: &ServiceUser, held: &Membership, application: String) -> Self {
        Self { service_user: user_fingerprint(&user.spec, held), application }
    }

    /// The fingerprint of the Application.
    pub(super) fn application(&self) -> &str {
        &self.application
    }

    /// The epochs, and whether one of them numbers a change that this replica has not seen yet. `before` is the
    /// previous record of the client, `key` that of the Application.
    pub(super) fn epochs(
        &self,
        key: &ObjectRef,
        application: &Application,
        user: &ServiceUser,
        before: Option<(&ClientRecord, &Self)>,
    ) -> (Epoch, bool) {
        // Epochs of another object do not compare.
        let same_user = |record: &ClientRecord| user.metadata.uid.as_ref() == Some(&record.subject);
        let of_user = before.filter(|(record, _)| same_user(record));
        let of_user = of_user.map(|(record, known)| (known.service_user.as_str(), record.epoch.service_user));
        let same_application = |record: &ClientRecord| {
            (&record.application.namespace, &record.application.name) == (&key.namespace, &key.name)
        };
        let of_application = before.filter(|(record, _)| same_application(record));
        let of_application =
            of_application.map(|(record, known)| (known.application.as_str(), record.epoch.application));
        let told = user.status.as_ref().map(|status| (status.epoch, status.fingerprint.as_deref()));
        let (service_user, user_is_behind) = epoch(told.unwrap_or_default(), &self.service_user, of_user);
        let told = application.status.as_ref().map(|status| (status.epoch, status.fingerprint.as_deref()));
        let (application, is_behind) = epoch(told.unwrap_or_default(), &self.application, of_application);
        (Epoch { service_user, application }, user_is_behind || is_behind)
    }
}

/// The epoch of an object with the fingerprint `now`, and whether it numbers a change that this replica has not seen.
/// `told` is the epoch and fingerprint in its status; `before` is what this replica served last.
fn epoch((written, digest): (Option<i64>, Option<&str>), now: &str, before: Option<(&str, i64)>) -> (i64, bool) {
    let next = next_epoch(written, digest, now);
    match (counted_epoch(written), before) {
        // The epoch of a change that this replica has not seen, or one that it predicted itself. Raising it again would
        // make tokens with it look older than this replica, instead of the replica catching up.
        (Some(written), Some((known, number))) if next != written && known == now => {
            (number.max(written), number <= written)
        }
        _ => (next, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observed_change_has_its_epoch_before_it_is_written_and_an_unseen_one_adds_none() {
        for (told, now, before, number, is_behind, what) in [
            ((None, None), "a", None, 1, false, "it has no epoch yet"),
            ((Some(3), Some("a")), "a", None, 3, false, "all is told"),
            ((Some(3), Some("a")), "a", Some(("a", 3)), 3, false, "nothing is new"),
            ((Some(3), Some("a")), "b", Some(("a", 3)), 4, false, "a change is seen before its number"),
            ((Some(3), Some("a")), "b", Some(("b", 4)), 4, false, "and looked at again"),
            ((Some(4), Some("b")), "b", Some(("b", 4)), 4, false, "the number is written"),
            ((Some(4), Some("b")), "a", Some(("a", 3)), 4, true, "a number is seen before its change"),
            ((Some(4), Some("b")), "a", Some(("a", 4)), 4, true, "and looked at again"),
            ((Some(4), Some("b")), "b", Some(("a", 4)), 4, false, "and the change after it"),
            ((Some(3), Some("a")), "b", None, 4, false, "a replica starts between a change and its number"),
            ((Some(3), Some("a")), "a", Some(("b", 4)), 3, false, "a change is taken back before it is numbered"),
            ((Some(i64::MAX), Some("a")), "a", Some(("a", 3)), 1, false, "a forged number"),
            ((Some(i64::MAX), Some("b")), "a", Some(("a", 3)), 1, false, "and a digest with it"),
            ((Some(1), Some("a")), "a", Some(("a", 1)), 1, false, "and the one that the controller writes instead"),
        ] {
            assert_eq!(epoch(told, now, before), (number, is_behind), "{what}");
        }
    }
}
