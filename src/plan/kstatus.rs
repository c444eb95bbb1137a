//! Conditions and messages that several kinds share.

use crate::api::access_group::Plane;
use crate::api::conditions::{ConditionValue, reasons, types};
use crate::api::service_user::RoleGrant;

/// The kstatus of a verdict: Current, InProgress or Failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kstatus {
    /// The object authenticates, or grants, as the spec requires.
    Current,
    /// The object is rejected as the spec requires; the condition that reports it. This is not a failure.
    Requested(&'static str),
    /// What is missing may appear without user action.
    InProgress,
    /// A user has to change something.
    Failed,
}

/// The condition `Ready` for whether the object is accepted, with its kstatus condition.
pub(super) fn with_outlook(accepted: ConditionValue, outlook: Kstatus) -> Vec<ConditionValue> {
    let companion = match outlook {
        Kstatus::Current => None,
        Kstatus::Requested(type_) => Some(type_),
        Kstatus::InProgress => Some(types::RECONCILING),
        Kstatus::Failed => Some(types::STALLED),
    };
    let companion = companion.map(|type_| ConditionValue::new_true(type_, accepted.reason, accepted.message.clone()));
    let is_as_asked = matches!(outlook, Kstatus::Current | Kstatus::Requested(_));
    std::iter::once(ConditionValue { status: is_as_asked, ..accepted }).chain(companion).collect()
}

/// The condition `Permitted`; `missing` is the reason for no permissions.
pub(super) fn permitted(missing: Option<String>) -> ConditionValue {
    match missing {
        None => ConditionValue::new_true(types::PERMITTED, reasons::HAS_PERMISSIONS, "It has permissions."),
        Some(why) => {
            let message = format!("It has no permission, so no token for an API is issued. {why}");
            ConditionValue::new_false(types::PERMITTED, reasons::NO_PERMISSIONS, message)
        }
    }
}

/// The addition to the message of `Ready` if there are no permissions.
pub(super) const SEE_PERMITTED: &str = " It has no permission: see the condition Permitted.";

/// The condition `RestrictionsResolved`. `missing` are the entries of restrictTo that `owner` does not have.
pub(super) fn restrictions(missing: &[String], owner: &str, remedy: &str) -> ConditionValue {
    let type_ = types::RESTRICTIONS_RESOLVED;
    if missing.is_empty() {
        let message = format!("Every entry of spec.restrictTo is granted to {owner}.");
        return ConditionValue::new_true(type_, reasons::RESTRICTIONS_RESOLVED, message);
    }
    let message = format!(
        "spec.restrictTo contains entries that {owner} does not have; they have no effect: {}. To resolve this, {remedy}.",
        missing.join(", ")
    );
    ConditionValue::new_false(type_, reasons::PERMISSION_NOT_GRANTED, message)
}

/// Roles in one line, as in the column ROLES; roles of the plane Admin are marked.
pub(super) fn summary<'a>(grants: impl IntoIterator<Item = &'a RoleGrant>) -> String {
    let mut names: Vec<String> = grants
        .into_iter()
        .map(|grant| match grant.plane {
            Plane::Operational => grant.role.clone(),
            Plane::Admin => format!("{} (Admin)", grant.role),
        })
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}
