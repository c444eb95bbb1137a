//! Permissions: their origin (role and group), and what a restriction leaves of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::AccessGroup;
use crate::api::access_group::Plane;
use crate::api::application::Restriction;
use crate::api::permissions::{Authority, Membership, Permit, narrow, not_granted};

/// One permission and its origin.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct PermissionOrigin {
    pub(super) audience: String,
    pub(super) scope: String,
    pub(super) role: String,
    pub(super) plane: Plane,
    /// The active groups that have the role and permit it.
    pub(super) groups: Vec<String>,
}

/// The result of a restriction.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestrictedPermissions {
    pub(super) permissions: Vec<PermissionOrigin>,
    /// Granted before, and excluded by restrictTo.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) taken_away: Vec<PermissionOrigin>,
    /// Entries of restrictTo that were not granted before: each as `field: entry`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) not_granted: Vec<String>,
}

/// The origin of permits.
pub(super) struct Origin<'a> {
    pub(super) membership: &'a Membership,
    pub(super) groups: &'a BTreeMap<String, AccessGroup>,
}

impl Origin<'_> {
    pub(super) fn narrowed(&self, authority: &Authority, restriction: Option<&Restriction>) -> RestrictedPermissions {
        let left = narrow(authority, restriction);
        RestrictedPermissions {
            taken_away: authority.difference(&left).map(|permit| self.of(permit)).collect(),
            permissions: left.iter().map(|permit| self.of(permit)).collect(),
            not_granted: restriction.map(|restriction| not_granted(authority, restriction)).unwrap_or_default(),
        }
    }

    pub(super) fn of(&self, permit: &Permit) -> PermissionOrigin {
        let grants =
            self.membership.grants.iter().filter(|grant| grant.role == permit.role && grant.plane == permit.plane);
        let gives = |group: &&String| {
            self.groups.get(*group).is_some_and(|group| permits(group, &permit.audience, &permit.scope))
        };
        PermissionOrigin {
            audience: permit.audience.clone(),
            scope: permit.scope.clone(),
            role: permit.role.clone(),
            plane: permit.plane,
            groups: grants.map(|grant| &grant.group).filter(gives).cloned().collect(),
        }
    }
}

/// Whether the group's role permits the scope at the audience, wherever the group is active.
pub(super) fn permits(group: &AccessGroup, audience: &str, scope: &str) -> bool {
    let here = group.spec.permissions.iter().filter(|permission| permission.audience == audience);
    here.flat_map(|permission| &permission.scopes).any(|permitted| permitted == scope)
}

/// Whether the group's role permits any scope at the audience, wherever the group is active.
pub(super) fn permits_at(group: &AccessGroup, audience: &str) -> bool {
    group.spec.permissions.iter().any(|permission| permission.audience == audience)
}
