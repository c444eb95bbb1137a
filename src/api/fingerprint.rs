//! Fingerprints of permissions, and the epochs that count their changes. A token contains both; it is valid as long as
//! they are current.

use super::application::SenderConstraint;
use super::digest::digest;
use super::permissions::{Authority, Membership};
use super::service_user::ServiceUserSpec;

/// The state of a client that can authenticate, in a fingerprint.
const ENABLED: &str = "enabled";

/// The fingerprint that `epoch` represents: equal digests, equal authority. `context` is everything else that
/// invalidates live tokens when it changes (subject, suspension).
#[must_use]
pub fn fingerprint(authority: &Authority, context: &[&str]) -> String {
    let permits = authority
        .iter()
        .flat_map(|permit| [permit.audience.as_str(), &permit.scope, &permit.role, permit.plane.as_str()]);
    digest(context.iter().copied().chain(permits))
}

/// The fingerprint for the epoch of a ServiceUser with the group result `held`.
#[must_use]
pub fn user_fingerprint(user: &ServiceUserSpec, held: &Membership) -> String {
    fingerprint(&held.authority, &[held.location.as_str(), if user.is_suspended() { "suspended" } else { ENABLED }])
}

/// The fingerprint for the epoch of the Application with this UID, which acts for `subject` and has `authority`.
/// `disabled` is the reason if no client can authenticate for it. With another `constraint` all tokens end: those of a
/// client that must bind them include none that are not bound.
///
/// It includes the UID because an Application may be recreated with the client id of a deleted one. Tokens of the
/// deleted Application do not belong to the new one.
#[must_use]
pub fn application_fingerprint(
    authority: &Authority,
    uid: &str,
    subject: &str,
    constraint: SenderConstraint,
    disabled: Option<&str>,
) -> String {
    let state = disabled.unwrap_or(ENABLED);
    match constraint {
        // As before there were constraints, so that an update of Postern ends no token.
        SenderConstraint::None => fingerprint(authority, &[uid, subject, state]),
        SenderConstraint::Dpop | SenderConstraint::MutualTls => {
            fingerprint(authority, &[uid, subject, state, constraint.as_str()])
        }
    }
}

/// The fingerprint of a token issued for this [credential](super::ClientSecret::credential): the credential, and the
/// fingerprint of its Application within the limits of the secret ([`application_fingerprint`]).
#[must_use]
pub fn token_fingerprint(credential: &str, application: &str) -> String {
    let mut authority = digest([credential, application]);
    // 96 bits, because tokens contain it.
    authority.truncate(24);
    authority
}

/// The largest accepted epoch. A change of authority every millisecond reaches it after thirty years, so a larger one
/// was forged.
const EPOCH_MAX: i64 = 1_000_000_000_000;

/// The epoch in a status. An impossible epoch is ignored, as if it were absent. Otherwise an epoch near the maximum
/// integer could not be incremented, and no change would invalidate tokens.
#[must_use]
pub fn counted_epoch(epoch: Option<i64>) -> Option<i64> {
    epoch.filter(|epoch| (1..=EPOCH_MAX).contains(epoch))
}

/// The epoch after a reconciliation: incremented if the fingerprint differs, 1 for a new object. After the largest
/// accepted epoch it restarts: tokens with a larger epoch are rejected.
#[must_use]
pub fn next_epoch(epoch: Option<i64>, recorded: Option<&str>, fingerprint: &str) -> i64 {
    match counted_epoch(epoch) {
        Some(epoch) if recorded == Some(fingerprint) => epoch,
        Some(epoch) if epoch < EPOCH_MAX => epoch + 1,
        Some(_) | None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access_group::Plane;
    use crate::api::permissions::Permit;

    #[test]
    fn an_epoch_rises_with_a_change_and_only_then() {
        let permit =
            Permit { audience: "a".to_owned(), scope: "s".to_owned(), role: "r".to_owned(), plane: Plane::Operational };
        let authority = Authority::from([permit]);
        let full = fingerprint(&authority, &["enabled"]);
        assert_eq!(next_epoch(None, None, &full), 1);
        assert_eq!(next_epoch(Some(4), Some(&full), &full), 4);
        assert_eq!(next_epoch(Some(4), Some(&full), &fingerprint(&Authority::new(), &["enabled"])), 5);
        assert_eq!(next_epoch(Some(4), Some(&full), &fingerprint(&authority, &["suspended"])), 5);
    }

    #[test]
    fn x3_x5_another_sender_constraint_ends_tokens() {
        let of = |constraint| application_fingerprint(&Authority::new(), "uid", "subject", constraint, None);
        assert_ne!(of(SenderConstraint::None), of(SenderConstraint::Dpop));
        assert_ne!(of(SenderConstraint::None), of(SenderConstraint::MutualTls));
        assert_ne!(of(SenderConstraint::Dpop), of(SenderConstraint::MutualTls));
        assert_eq!(of(SenderConstraint::None), fingerprint(&Authority::new(), &["uid", "subject", "enabled"]));
    }

    #[test]
    fn an_epoch_that_cannot_have_been_counted_is_ignored() {
        for forged in [i64::MAX, i64::MAX - 1, EPOCH_MAX + 1, 0, -1, i64::MIN] {
            assert_eq!(next_epoch(Some(forged), Some("a"), "a"), 1, "{forged}");
            assert_eq!(next_epoch(Some(forged), Some("a"), "b"), 1, "{forged}");
        }
        assert_eq!(next_epoch(Some(EPOCH_MAX), Some("a"), "a"), EPOCH_MAX);
        assert_eq!(next_epoch(Some(EPOCH_MAX), Some("a"), "b"), 1, "it can always change");
    }
}
