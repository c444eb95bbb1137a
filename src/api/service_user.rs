//! ServiceUser: who acts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access_group::Plane;
use super::location::Location;
use super::schema;

/// Who acts: a machine identity with a location and groups.
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
    doc = "ServiceUser is a machine identity with a location and groups. Deleting it ends everything under it.",
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
pub struct ServiceUserSpec {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// What the service user does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// Whom to write to about this service user. Postern does not verify that the address is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::email")]
    pub email: Option<String>,
    /// Where it acts. If the Namespace carries the annotation postern.dev/location, it must lie at or below that one.
    /// Default: the location of the Namespace, or / if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::location")]
    pub location: Option<Location>,
    /// AccessGroups by name. One that is missing, of another location, or closed to this namespace grants nothing and
    /// makes Ready False, reason GroupsNotResolved; the others keep working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::group_names")]
    pub groups: Option<Vec<String>>,
    /// true: no client of this service user can authenticate; reversible. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// What the controller says of a ServiceUser.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceUserStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The token's `sub`: the object's UID. A re-created ServiceUser is a new subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Raised when the effective authority changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Digest of the effective authority that `epoch` stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Where it acts: `spec.location`, or its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Effective roles, sorted, without repetition: what it really holds now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The roles in one line, those of the plane Admin marked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The same with where each comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<RoleGrant>>,
    /// `Ready` and `GroupsResolved`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A role that a service user holds, and the group it comes from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RoleGrant {
    /// The role.
    pub role: String,
    /// Its plane.
    pub plane: Plane,
    /// Where it applies.
    pub location: String,
    /// The AccessGroup that gives it.
    pub group: String,
}

impl ServiceUserSpec {
    /// Whether it is switched off.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }
}
