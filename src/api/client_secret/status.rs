//! What the controller says of a ClientSecret.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::application::Reference;
use crate::api::schema;

/// What the controller says of a ClientSecret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecretStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Secret, as a Provisioned Service of the Service Binding Specification names it; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Reference>,
    /// UID of that Secret: it stays the Secret of this object whatever happens to its labels and owner references.
    #[serde(default, rename = "secretUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_uid: Option<String>,
    /// How often its Secret was lost: deleted, replaced or given another value. Tokens from before the last time are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub losses: Option<i64>,
    /// The first characters of the credential, as leak reports show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it may be used for, in one line. Absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<String>,
    /// When the credential ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub expires_at: Option<Timestamp>,
    /// When a new version takes its place; absent: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub next_rotation_at: Option<Timestamp>,
    /// When any of its versions authenticated last; at most a minute behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub last_used_at: Option<Timestamp>,
    /// The rotation in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Box<RotationStatus>>,
    /// The last `spec.rotation.trigger` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_trigger: Option<String>,
    /// What becomes of the Secret of a credential that is shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<DeliveryStatus>>,
    /// The imported value as it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<SourceStatus>>,
    /// Versions, newest first; retired ones are dropped after a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "versions")]
    pub versions: Vec<Version>,
    /// `Ready`: the credential authenticates now, at every ready replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a rotation is.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The step.
    pub step: RotationStep,
    /// Since when.
    #[schemars(schema_with = "schema::instant")]
    pub since: Timestamp,
    /// Why there is a new version.
    pub cause: RotationCause,
    /// When the new version was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub delivered_at: Option<Timestamp>,
    /// What the step waits for, in a sentence.
    pub waits_for: String,
    /// The version that its bearer asked to be rotated, while that waits for the end of the overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RotationStep {
    /// Every replica is to know the new value before it is in the Secret.
    Delivering,
    /// Workloads are being restarted; old and new are both accepted.
    RollingOut,
    /// The old value is accepted until nobody has used it for a while, or until the end of the overlap.
    Quiet,
    /// Old and new are both accepted until the end of the overlap.
    Overlap,
}

/// Why there is a new version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RotationCause {
    /// `spec.rotation.every` has passed.
    Interval,
    /// `spec.rotation.trigger` has changed.
    Trigger,
    /// Its bearer asked for it at the management endpoint.
    Requested,
    /// The delivered Secret was deleted, or its value was changed.
    SecretLost,
    /// The credential is to be delivered again after its Secret was removed.
    Redelivery,
}

/// What becomes of the Secret of a credential that is shown once.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryStatus {
    /// When the Secret is removed, while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub remove_at: Option<Timestamp>,
    /// When the Secret was found removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub removed_at: Option<Timestamp>,
}

/// The imported value as it was last looked at.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// UID of the Secret.
    pub uid: String,
    /// Its resourceVersion: as long as it is the same, the value is.
    pub resource_version: String,
    /// The key of the value.
    #[serde(default)]
    pub key: String,
    /// true: the value ends with a line break, which is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub line_break_ignored: bool,
}

/// One value of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Version {
    /// The id inside the value.
    pub id: String,
    /// Where it is in its life.
    pub state: VersionState,
    /// When it was issued.
    #[schemars(schema_with = "schema::instant")]
    pub created_at: Timestamp,
    /// When it stopped, or will stop, being accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub retires_at: Option<Timestamp>,
    /// When it authenticated last; at most a minute behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub last_used_at: Option<Timestamp>,
    /// A salted hash of the value, in a short form; useless without the install key.
    pub verifier: Arc<str>,
}

impl Version {
    /// The first eight characters of a generated value, as leak reports show them: `pst_k7Qd`. No random bit of the value
    /// is among them.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("pst_{}", self.id.chars().take(4).collect::<String>())
    }
}

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum VersionState {
    /// Accepted.
    Active,
    /// Accepted until `retiresAt`: a newer one takes its place. Without `retiresAt` the newer one is not delivered yet.
    Retiring,
    /// Not accepted any more.
    Retired,
}

fn versions(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<Version>();
    schemars::json_schema!({
        "type": "array",
        "items": items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id"],
    })
}
