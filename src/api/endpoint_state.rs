//! EndpointState: what one replica of the endpoint tells the others. Internal.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::schema;

/// Uses that one object has room for; with more there are several objects.
pub const USES_MAX: usize = 2_000;

/// What one replica of the endpoint tells the others.
#[derive(CustomResource, Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "EndpointState",
    plural = "endpointstates",
    namespaced,
    doc = "EndpointState is what one replica of the endpoint tells the others. Internal: Postern writes and removes it, in its own namespace, and nothing is lost by deleting one.",
    derive = "PartialEq",
    printcolumn(name = "Replica", type_ = "string", json_path = ".spec.replica"),
    printcolumn(name = "Reported", type_ = "date", json_path = ".spec.reportedAt")
)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStateSpec {
    /// The replica that wrote it.
    #[schemars(length(min = 1, max = 253))]
    pub replica: String,
    /// When it was written; what happened before is in here.
    #[schemars(schema_with = "schema::instant")]
    pub reported_at: Timestamp,
    /// Versions of secrets that were used in the last minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub uses: Vec<Use>,
    /// Versions that their bearers asked to be rotated, lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2_000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rotations: Vec<Use>,
}

/// One version of a secret, and when something happened to it.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Use {
    /// Namespace of the ClientSecret.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the ClientSecret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Id of the version.
    #[schemars(length(max = 8))]
    pub version: String,
    /// When.
    #[schemars(schema_with = "schema::instant")]
    pub at: Timestamp,
}
