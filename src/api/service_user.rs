//! ServiceUser: a machine identity.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_group::Plane;
use super::location::Location;
use super::schema;

/// A machine identity with a location and groups.
#[derive(CustomResource, Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ServiceUser",
    plural = "serviceusers",
    namespaced,
    shortname = "su",
    category = "postern",
    status = "ServiceUserStatus",
    doc = "ServiceUser is a machine identity with a location and groups. Deleting it disables its Applications and invalidates their tokens.",
    derive = "PartialEq",
    selectable = ".spec.location",
    selectable = ".status.location",
    printcolumn(name = "Location", type_ = "string", json_path = ".status.location"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".status.subject", priority = "1"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Permitted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Permitted\")].status"
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(
        name = "Created By",
        type_ = "string",
        json_path = ".metadata.annotations.postern\\.dev/created-by",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ServiceUserSpec {
    /// Display name: one line of up to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// Description of the service user. Up to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// E-mail address of the contact for this service user. Up to 254 characters. Postern does not verify the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::email")]
    pub email: Option<String>,
    /// Location of the service user. Must be at or below the location in the Namespace's annotation
    /// postern.dev/location, if that is set. Default: the location of the Namespace, or / if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::location")]
    pub location: Option<Location>,
    /// Names of AccessGroups, at most 64. A group that is missing, has another location, or does not admit this
    /// namespace grants nothing and sets Ready to False, reason GroupsNotResolved; the other groups stay effective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::group_names")]
    pub groups: Option<Vec<String>>,
    /// true: no client of this service user can authenticate until the field is false again. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Observed state of a ServiceUser.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ServiceUserStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The claim `sub` of tokens: the object's UID. A recreated ServiceUser has a new subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Incremented when the effective authority changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Digest of the effective authority that `epoch` represents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Effective location: `spec.location`, or its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Effective roles, sorted, without duplicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The roles in one line; roles of the plane Admin are marked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The roles with the origin of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<RoleGrant>>,
    /// `Ready` and `GroupsResolved`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A role of a service user, and the group that grants it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RoleGrant {
    /// The role.
    pub role: String,
    /// Plane of the role.
    pub plane: Plane,
    /// Location where the role applies.
    pub location: String,
    /// The AccessGroup that grants the role.
    pub group: String,
}

impl ServiceUserSpec {
    /// Whether the service user is suspended.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }
}
