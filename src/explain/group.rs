//! Each group of a service user: active, or why it grants nothing.

use serde::Serialize;

use super::snapshot::Snapshot;
use crate::api::access_group::{Permission, Plane};
use crate::api::conditions::reasons;
use crate::api::permissions::{Membership, WhyNot};
use crate::api::{AccessGroup, ServiceUser};
use crate::plan::service_user::{location_refused, why_not};

/// A group in the spec of a service user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) standing: Effect,
}

/// The result of the group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "standing")]
pub(super) enum Effect {
    /// It grants its role.
    Active { role: String, plane: Plane, location: String, permissions: Vec<Permission> },
    /// It grants nothing.
    GrantsNothing { reason: &'static str, message: String },
    /// The caller may not read AccessGroups; this is from status.
    NotReadable { message: String },
}

/// The group does not exist. For this and the next reason the controller reports the same: the group does not resolve.
const NOT_FOUND: &str = "NotFound";
/// The group exists and does not admit the namespace.
const NAMESPACE_NOT_ADMITTED: &str = "NamespaceNotAdmitted";
/// The location of the service user is not one that the group admits.
const OTHER_LOCATION: &str = "OtherLocation";
/// The service user is below the location of the group, and its namespace has no location, which is required.
const NO_NAMESPACE_LOCATION: &str = "NoNamespaceLocation";

/// The groups of `user`, in the order of its spec.
pub(super) fn groups(facts: &Snapshot, user: &ServiceUser, membership: Option<&Membership>) -> Vec<Group> {
    let names = user.spec.groups.iter().flatten();
    names
        .map(|name| Group {
            name: name.clone(),
            standing: match (&facts.groups, membership) {
                (Some(groups), Some(membership)) => effect(facts, user, membership, name, groups.get(name)),
                _ => Effect::NotReadable { message: told(user, name) },
            },
        })
        .collect()
}

fn effect(
    facts: &Snapshot,
    user: &ServiceUser,
    membership: &Membership,
    name: &str,
    group: Option<&AccessGroup>,
) -> Effect {
    let nothing = |reason, message| Effect::GrantsNothing { reason, message };
    if let Some(bound) = &membership.location_refused {
        return nothing(reasons::LOCATION_NOT_ALLOWED, location_refused(user, bound));
    }
    let refused = membership.unresolved.iter().find(|(refused, _)| refused == name).map(|(_, why)| why);
    match (refused, group) {
        (None, Some(group)) => Effect::Active {
            role: group.spec.role.clone(),
            plane: group.spec.plane(),
            location: group.spec.location.to_string(),
            permissions: group.spec.permissions.clone(),
        },
        (Some(why @ WhyNot::OtherLocation(_)), _) => nothing(OTHER_LOCATION, why_not(name, why)),
        (Some(why @ WhyNot::NoNamespaceLocation(_)), _) => nothing(NO_NAMESPACE_LOCATION, why_not(name, why)),
        (Some(WhyNot::NotFound), Some(_)) => {
            let namespace = &facts.namespace.name;
            nothing(
                NAMESPACE_NOT_ADMITTED,
                format!(
                    "AccessGroup {name} does not admit namespace {namespace}: its owner can list it in spec.namespaces."
                ),
            )
        }
        (_, None) => nothing(
            NOT_FOUND,
            format!("AccessGroup {name} does not exist: correct the name in spec.groups, or create the group."),
        ),
    }
}

fn told(user: &ServiceUser, group: &str) -> String {
    let grants = user.status.iter().flat_map(|status| status.grants.iter().flatten());
    match grants.into_iter().find(|grant| grant.group == group) {
        Some(grant) => format!(
            "active (from the status of the service user): {} ({}) at {}",
            grant.role,
            grant.plane.as_str(),
            grant.location
        ),
        None => "grants nothing (from the status of the service user)".to_owned(),
    }
}
