//! AccessGroup: a role at a location, and its permissions. Managed by the owner of the API.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::core::{Selector, SelectorExt};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::location::Location;
use super::namespace::NamespaceFacts;
use super::printable::printable;
use super::schema;

/// A client with this scope at an audience can introspect every token for it. Adding the scope to a group requires a
/// separate permission.
pub const INTROSPECT: &str = "introspect";

/// A role at a location, and its permissions. Managed by the owner of an API or by the platform team.
#[derive(CustomResource, Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "AccessGroup",
    plural = "accessgroups",
    shortname = "ag",
    status = "AccessGroupStatus",
    doc = "AccessGroup is a role at a location, and what it permits. It is written by the owner of an API or by the platform team, never by the teams that use it.",
    derive = "PartialEq",
    selectable = ".spec.role",
    selectable = ".spec.location",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "Plane", type_ = "string", json_path = ".status.plane"),
    printcolumn(name = "Location", type_ = "string", json_path = ".spec.location"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".status.namespaces", priority = "1"),
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
pub struct AccessGroupSpec {
    /// Display name: one line of up to 128 characters. Can be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// Purpose of the group. Up to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// The role: 1 to 128 visible ASCII characters. It appears in the claim `roles` of tokens. Several groups may have
    /// the same role at different locations.
    #[schemars(schema_with = "schema::role")]
    pub role: String,
    /// Whether the role uses a system or changes its configuration. Tokens list the planes of the client's roles in the
    /// claim `planes`. Default: Operational.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<Plane>,
    /// Where the role applies. / is the root. At most 16 segments of 1 to 63 characters a-z, 0-9 and -; no trailing
    /// slash.
    #[schemars(schema_with = "schema::location")]
    pub location: Location,
    /// Which service users may be members, by their location. Default: Location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// Permissions of the role: 1 to 64 pairs of audience and scopes.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["audience".into()]))]
    pub permissions: Vec<Permission>,
    /// Namespaces whose service users may be members. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
}

/// Whether a role uses a system or changes its configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Plane {
    /// The role uses the system.
    #[default]
    Operational,
    /// The role changes the configuration of the system.
    Admin,
}

impl Plane {
    /// The name, as in the claim `planes`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "Operational",
            Self::Admin => "Admin",
        }
    }
}

/// Which locations relative to its own a group admits.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Reach {
    /// Service users at exactly the location of the group.
    #[default]
    Location,
    /// Service users at the location of the group or below it.
    Subtree,
}

/// An audience and the scopes permitted there.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Permission {
    /// Value of the claim `aud`: 1 to 256 visible ASCII characters.
    #[schemars(schema_with = "schema::audience")]
    pub audience: String,
    /// Scopes permitted at this audience: 1 to 64. Must not be openid, profile or email, which every client has.
    #[schemars(schema_with = "schema::permitted_scopes")]
    pub scopes: Vec<String>,
}

/// The admitted namespaces: those in either list.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Exact names of namespaces, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_names")]
    pub names: Option<Vec<String>>,
    /// A label selector for namespaces. {} selects all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// Observed state of an AccessGroup.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct AccessGroupStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The effective plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<Plane>,
    /// The admitted namespaces in one line: names and a label selector. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<String>,
    /// Number of service users that have the group now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i64>,
    /// `Ready`: the group is accepted and effective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Maximum length of the line with the admitted namespaces.
const SUMMARY_MAX: usize = 1024;

impl Namespaces {
    /// Both lists in one line, as in the column NAMESPACES; a selector in kubectl syntax.
    #[must_use]
    pub fn summary(&self) -> String {
        let selector = self.selector.as_ref().map(|selector| match Selector::try_from(selector.clone()) {
            Ok(selector) if selector.selects_all() => "all".to_owned(),
            Ok(selector) => format!("with labels {selector}"),
            Err(_) => "none by labels".to_owned(),
        });
        let parts: Vec<String> = self.names.iter().flatten().cloned().chain(selector).collect();
        printable(&parts.join(", "), SUMMARY_MAX)
    }
}

impl AccessGroupSpec {
    /// Whether service users of this namespace may be members.
    #[must_use]
    pub fn admits_namespace(&self, namespace: &NamespaceFacts) -> bool {
        let Some(admitted) = &self.namespaces else { return false };
        let by_name = admitted.names.iter().flatten().any(|name| *name == namespace.name);
        by_name || admitted.selector.as_ref().is_some_and(|selector| selects(selector, namespace))
    }

    /// The effective plane.
    #[must_use]
    pub fn plane(&self) -> Plane {
        self.plane.unwrap_or_default()
    }

    /// Whether a service user at `location` may be a member.
    #[must_use]
    pub fn reaches(&self, location: &Location) -> bool {
        match self.reach.unwrap_or_default() {
            Reach::Location => *location == self.location,
            Reach::Subtree => location.is_at_or_below(&self.location),
        }
    }
}

/// A malformed selector selects nothing.
fn selects(selector: &LabelSelector, namespace: &NamespaceFacts) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&namespace.labels))
}
