//! ServiceUser: the result of its groups.

use jiff::Timestamp;

use super::kstatus::{Kstatus, SEE_PERMITTED, permitted, summary, with_outlook};
use crate::api::ServiceUser;
use crate::api::conditions::{ConditionValue, merge, reasons, types};
use crate::api::fingerprint::{next_epoch, user_fingerprint};
use crate::api::location::{Location, MalformedLocation};
use crate::api::permissions::{Membership, WhyNot, roles};
use crate::api::service_user::ServiceUserStatus;

/// The status of `user`; `membership` is the result of its groups.
#[must_use]
pub fn status(user: &ServiceUser, membership: &Membership, now: Timestamp) -> ServiceUserStatus {
    let previous = user.status.clone().unwrap_or_default();
    let authority = user_fingerprint(&user.spec, membership);
    let mut verdicts = with_outlook(ready(user, membership), outlook(user, membership));
    verdicts.push(groups_resolved(membership));
    verdicts.push(permitted(why_no_permissions(user, membership)));
    ServiceUserStatus {
        observed_generation: user.metadata.generation,
        subject: user.metadata.uid.clone(),
        epoch: Some(next_epoch(previous.epoch, previous.fingerprint.as_deref(), &authority)),
        fingerprint: Some(authority),
        location: Some(membership.location.to_string()),
        roles: Some(roles(&membership.authority)),
        summary: Some(summary(&membership.grants)),
        grants: Some(membership.grants.iter().cloned().collect()),
        conditions: merge(&previous.conditions, verdicts, user.metadata.generation, now),
    }
}

fn ready(user: &ServiceUser, membership: &Membership) -> ConditionValue {
    if user.spec.is_suspended() {
        let message =
            "spec.suspend is true: no client of this service user can authenticate. Set it to false to resume.";
        return ConditionValue::new_false(types::READY, reasons::SUSPENDED, message);
    }
    if let Some(bound) = &membership.location_refused {
        return ConditionValue::new_false(types::READY, reasons::LOCATION_NOT_ALLOWED, location_refused(user, bound));
    }
    if let Some(message) = unresolved(membership) {
        return ConditionValue::new_false(types::READY, reasons::GROUPS_NOT_RESOLVED, message);
    }
    let hint = if membership.authority.is_empty() { SEE_PERMITTED } else { "" };
    ConditionValue::new_true(types::READY, reasons::ACCEPTED, format!("All groups resolved.{hint}"))
}

fn outlook(user: &ServiceUser, membership: &Membership) -> Kstatus {
    if user.spec.is_suspended() {
        Kstatus::Requested(types::SUSPENDED)
    } else if membership.location_refused.is_none() && membership.unresolved.is_empty() {
        Kstatus::Current
    } else if membership.location_refused.is_some() {
        Kstatus::Failed
    } else {
        Kstatus::InProgress
    }
}

/// Why the service user has no permissions; `None`: it has some.
fn why_no_permissions(user: &ServiceUser, membership: &Membership) -> Option<String> {
    membership.authority.is_empty().then(|| match (&membership.location_refused, unresolved(membership)) {
        (Some(bound), _) => location_refused(user, bound),
        (None, Some(why)) => why,
        (None, None) if membership.grants.is_empty() => {
            "spec.groups names no AccessGroup: add one that permits what is needed.".to_owned()
        }
        (None, None) => {
            "spec.groups: no AccessGroup in it permits anything: add another one, or ask an owner to extend \
             spec.permissions."
                .to_owned()
        }
    })
}

fn groups_resolved(membership: &Membership) -> ConditionValue {
    if membership.location_refused.is_some() {
        let message = "No group is effective: the location of this service user is not allowed in its namespace.";
        return ConditionValue::new_false(types::GROUPS_RESOLVED, reasons::LOCATION_NOT_ALLOWED, message);
    }
    match unresolved(membership) {
        Some(message) => ConditionValue::new_false(types::GROUPS_RESOLVED, reasons::GROUPS_NOT_RESOLVED, message),
        None => ConditionValue::new_true(types::GROUPS_RESOLVED, reasons::GROUPS_RESOLVED, "All groups resolved."),
    }
}

/// A sentence why a service user has no permissions if it is not at or below `bound`, the location of its namespace.
#[must_use]
pub fn location_refused(user: &ServiceUser, bound: &Result<Location, MalformedLocation>) -> String {
    let namespace = user.metadata.namespace.as_deref().unwrap_or_default();
    match bound {
        Ok(bound) => format!(
            "spec.location {} does not lie at or below {bound}, the location of namespace {namespace} (annotation \
             postern.dev/location): choose a location there, or ask the platform team to move the namespace.",
            user.spec.location.clone().unwrap_or_default()
        ),
        Err(malformed) => format!(
            "Namespace {namespace} has an annotation postern.dev/location that is not a location, so that none is allowed \
             in it: ask the platform team to correct the annotation ({malformed})."
        ),
    }
}

/// Every group that grants nothing, with the reason. A missing group and one that does not admit the namespace have the
/// same text, so that it does not reveal which groups exist.
fn unresolved(membership: &Membership) -> Option<String> {
    let sentences: Vec<String> = membership.unresolved.iter().map(|(group, why)| why_not(group, why)).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Why `group` grants nothing, in a sentence.
#[must_use]
pub fn why_not(group: &str, why: &WhyNot) -> String {
    match why {
        WhyNot::NotFound => format!(
            "spec.groups: AccessGroup {group} does not exist or does not admit this namespace: correct the name, or ask \
             its owner to list the namespace in spec.namespaces."
        ),
        WhyNot::OtherLocation(location) => format!(
            "spec.groups: AccessGroup {group} is at {location} and does not reach the location of this service user: \
             choose a group of that location, or ask its owner for reach Subtree."
        ),
        WhyNot::NoNamespaceLocation(location) => format!(
            "spec.groups: AccessGroup {group} reaches below {location} only in namespaces with a location, and this \
             namespace has none: set spec.location to {location}, or ask the platform team to set the annotation \
             postern.dev/location of the namespace."
        ),
    }
}
