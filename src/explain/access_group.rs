//! An AccessGroup: its permissions, the namespaces that it admits, and the verbs required to write it and to add it.
//!
//! The chart's admission policies check these verbs. The explanation lists them with the API server's answer for the
//! caller.

use kube::ResourceExt;
use serde::Serialize;

use super::status::{Standing, StatusAge};
use crate::api::AccessGroup;
use crate::api::access_group::{INTROSPECT, Namespaces, Permission, Plane, Reach};
use crate::api::names::CREATED_BY;

/// A verb on one object of the API group postern.dev.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Right {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: String,
}

/// A verb, and whether the caller has it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Checked {
    #[serde(flatten)]
    pub(super) right: Right,
    pub(super) granted: bool,
}

/// The explanation of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedGroup {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ready: Option<Standing>,
    pub(super) role: String,
    pub(super) plane: Plane,
    pub(super) location: String,
    pub(super) reach: Reach,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    /// Absent: no namespace is admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespaces: Option<Namespaces>,
    /// Number of service users that have the group, from status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<i64>,
    pub(super) status: StatusAge,
    pub(super) permissions: Vec<Permission>,
    /// Verbs required to create the group as it is, besides the permission to write AccessGroups.
    pub(super) to_create: Vec<Checked>,
    /// Verbs required to add the group to a service user.
    pub(super) to_add: Vec<Checked>,
}

/// The verbs required to create `group`, in the order of its fields.
pub(super) fn rights_to_create(group: &AccessGroup) -> Vec<Right> {
    let on = |verb, permission: &Permission| Right { verb, resource: "audiences", name: permission.audience.clone() };
    let permissions = &group.spec.permissions;
    let introspected =
        permissions.iter().filter(|permission| permission.scopes.iter().any(|scope| scope == INTROSPECT));
    let grant = Right { verb: "grant", resource: "roles", name: group.spec.role.clone() };
    std::iter::once(grant)
        .chain(permissions.iter().map(|permission| on("permit", permission)))
        .chain(introspected.map(|permission| on("introspect", permission)))
        .collect()
}

/// The verbs required to add `group` to a service user.
pub(super) fn rights_to_add(group: &AccessGroup) -> Vec<Right> {
    vec![Right { verb: "bind", resource: "accessgroups", name: group.name_any() }]
}

/// Explains a group; `checked` are the required verbs with the answer for the caller.
pub(super) fn explain(group: &AccessGroup, to_create: Vec<Checked>, to_add: Vec<Checked>) -> ExplainedGroup {
    let status = group.status.clone().unwrap_or_default();
    let spec = &group.spec;
    ExplainedGroup {
        name: group.name_any(),
        ready: Standing::ready(&status.conditions),
        role: spec.role.clone(),
        plane: spec.plane(),
        location: spec.location.to_string(),
        reach: spec.reach.unwrap_or_default(),
        created_by: group.annotations().get(CREATED_BY).cloned(),
        namespaces: spec.namespaces.clone(),
        members: status.members,
        status: StatusAge::new(None, (status.observed_generation, group.metadata.generation), None),
        permissions: spec.permissions.clone(),
        to_create,
        to_add,
    }
}
