//! AccessGroup: a role at a location, and what it permits. The API owner's side of the grant.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::core::{Selector, SelectorExt};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::location::Location;
use super::namespace::NamespaceFacts;
use super::printable::printable;
use super::schema;

/// Held at an audience, this scope lets a client introspect every token for it. Adding it to a group needs a separate right.
pub const INTROSPECT: &str = "introspect";

/// A role at a location, and what it permits. Written by the owner of an API or by the platform team.
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
pub struct AccessGroupSpec {
    /// A name for people; free to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// What the group is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// The role; appears in the claim `roles` of tokens. Several groups may carry the same role at several locations.
    #[schemars(schema_with = "schema::role")]
    pub role: String,
    /// Operational (default), or Admin for roles that change a system's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<Plane>,
    /// Where the role applies: / is the root; segments of a-z, 0-9 and -, at most 16, no trailing slash.
    #[schemars(schema_with = "schema::location")]
    pub location: Location,
    /// Which service users may join. Location (default): only those of exactly this location. Subtree: those of this
    /// location and everything below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// What the role allows: pairs of audience and scopes.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["audience".into()]))]
    pub permissions: Vec<Permission>,
    /// Which namespaces' service users may join. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
}

/// Whether a role operates a system or changes its configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Plane {
    /// Uses the system.
    #[default]
    Operational,
    /// Changes the system's configuration.
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

/// How far below its location a group admits service users.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Reach {
    /// Exactly the group's location.
    #[default]
    Location,
    /// The group's location and everything below it.
    Subtree,
}

/// An audience and the scopes permitted there.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Permission {
    /// What lands in `aud`.
    #[schemars(schema_with = "schema::audience")]
    pub audience: String,
    /// Scopes permitted at this audience; not openid, profile or email, which every client holds.
    #[schemars(schema_with = "schema::permitted_scopes")]
    pub scopes: Vec<String>,
}

/// Which namespaces are admitted; either list admits.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Exact names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_names")]
    pub names: Option<Vec<String>>,
    /// A label selector on namespaces; {} is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// What the controller says of an AccessGroup.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessGroupStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The plane in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<Plane>,
    /// The namespaces that are admitted, in one line: names and a label selector. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<String>,
    /// Service users that hold it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i64>,
    /// `Ready`: accepted, in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Longest line that says which namespaces are admitted.
const SUMMARY_MAX: usize = 1024;

impl Namespaces {
    /// Both lists in one line, as the column NAMESPACES shows them; a selector as kubectl takes it.
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
    /// Whether service users of this namespace may join.
    #[must_use]
    pub fn admits_namespace(&self, namespace: &NamespaceFacts) -> bool {
        let Some(admitted) = &self.namespaces else { return false };
        let by_name = admitted.names.iter().flatten().any(|name| *name == namespace.name);
        by_name || admitted.selector.as_ref().is_some_and(|selector| selects(selector, namespace))
    }

    /// The plane in force.
    #[must_use]
    pub fn plane(&self) -> Plane {
        self.plane.unwrap_or_default()
    }

    /// Whether a service user at `location` may join.
    #[must_use]
    pub fn reaches(&self, location: &Location) -> bool {
        match self.reach.unwrap_or_default() {
            Reach::Location => *location == self.location,
            Reach::Subtree => location.is_at_or_below(&self.location),
        }
    }
}

/// A selector that is not well-formed selects nothing.
fn selects(selector: &LabelSelector, namespace: &NamespaceFacts) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&namespace.labels))
}
