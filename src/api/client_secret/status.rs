//! The status of a ClientSecret.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::application::Reference;
use crate::api::jwks::Jwk;
use crate::api::schema;

/// Observed state of a ClientSecret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ClientSecretStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The delivered Secret, in the format of a Provisioned Service (Service Binding Specification). Absent if there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Reference>,
    /// UID of the delivered Secret. It identifies the Secret even if its labels and owner references change.
    #[serde(default, rename = "secretUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_uid: Option<String>,
    /// How often the Secret was lost: deleted, replaced or changed in value. Tokens from before the last loss are
    /// rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub losses: Option<i64>,
    /// The first characters of the credential, as shown in leak reports; of a key pair its key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Allowed purposes, in one line. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usages: Option<String>,
    /// When the credential expires. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub expires_at: Option<Timestamp>,
    /// When the next automatic rotation is due. Absent: none is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub next_rotation_at: Option<Timestamp>,
    /// When any version last authenticated, with a delay of at most one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub last_used_at: Option<Timestamp>,
    /// The rotation in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Box<RotationStatus>>,
    /// The last `spec.rotation.trigger` that the controller acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_trigger: Option<String>,
    /// Removal of the Secret with delivery mode Once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<DeliveryStatus>>,
    /// The imported value as it was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<SourceStatus>>,
    /// Versions, newest first. Retired versions are dropped after some time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "versions")]
    pub versions: Vec<Version>,
    /// `Ready`: the credential authenticates now, at every ready replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The progress of a rotation.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The current step.
    pub step: RotationStep,
    /// When the step began.
    #[schemars(schema_with = "schema::instant")]
    pub since: Timestamp,
    /// Why a new version was issued.
    pub cause: RotationCause,
    /// When the new version was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub delivered_at: Option<Timestamp>,
    /// What the step waits for, as a sentence.
    pub waits_for: String,
    /// The version whose rotation its bearer requested, while that waits for the end of the overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
}

/// The steps, in order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RotationStep {
    /// Every replica must know the new value before it is written into the Secret.
    Delivering,
    /// Workloads are being restarted; old and new value are both accepted.
    RollingOut,
    /// The old value is accepted until it is idle, or until the end of the overlap.
    WaitingForIdle,
    /// Old and new value are both accepted until the end of the overlap.
    Overlap,
}

/// Why a new version was issued.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RotationCause {
    /// `spec.rotation.every` has passed.
    Interval,
    /// `spec.rotation.trigger` has changed.
    Trigger,
    /// The bearer requested it at the management endpoint.
    Requested,
    /// A backup was restored after the version was issued (`--restored-at`).
    Restore,
    /// The delivered Secret was deleted, or its value was changed.
    SecretLost,
    /// The credential is delivered again after its Secret was removed.
    Redelivery,
}

/// Removal of the Secret with delivery mode Once.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryStatus {
    /// When the Secret will be removed. Absent once it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub remove_at: Option<Timestamp>,
    /// When the Secret was found removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub removed_at: Option<Timestamp>,
}

/// The imported value as it was last read.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// UID of the source Secret.
    pub uid: String,
    /// resourceVersion of the source Secret. While it is unchanged, the value is unchanged.
    pub resource_version: String,
    /// The key of the value.
    #[serde(default)]
    pub key: String,
    /// true: the value ends with a line break, which is ignored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub line_break_ignored: bool,
}

/// One value, or one key pair, of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Version {
    /// The id in the value; of a key pair its `kid`.
    pub id: String,
    /// State of the version.
    pub state: VersionState,
    /// When it was issued.
    #[schemars(schema_with = "schema::instant")]
    pub created_at: Timestamp,
    /// When the version stops, or stopped, being accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub retires_at: Option<Timestamp>,
    /// When the version last authenticated, with a delay of at most one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub last_used_at: Option<Timestamp>,
    /// How its credential is verified.
    #[serde(flatten)]
    pub verification: Verification,
}

/// How the credential of a version is verified. Without one of its forms, the version verifies nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// SharedSecret: a salted hash of the value, in a short form; useless without the install key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Arc<str>>,
    /// PrivateKey: the public key as a JWK (RFC 7517 §4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<Arc<Jwk>>,
    /// PrivateKey: the MAC on the public key; without it, or with another one, the key verifies nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Arc<str>>,
}

impl Verification {
    /// Verified by the hash of a value.
    #[must_use]
    pub fn of_value(verifier: &str) -> Self {
        Self { verifier: Some(verifier.into()), ..Self::default() }
    }

    /// Verified by a public key.
    #[must_use]
    pub fn of_key(public_key: Jwk, mac: &str) -> Self {
        Self { public_key: Some(Arc::new(public_key)), mac: Some(mac.into()), verifier: None }
    }
}

impl Version {
    /// The first eight characters of a generated value, as shown in leak reports: `pst_k7Qd`. They contain no random
    /// bit of the value. Of a key pair: its key id, which is public.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.verification.public_key {
            Some(_) => self.id.clone(),
            None => format!("pst_{}", self.id.chars().take(4).collect::<String>()),
        }
    }
}

/// State of a version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum VersionState {
    /// The version is accepted.
    Active,
    /// The version is accepted until `retiresAt`, because a newer version replaces it. Without `retiresAt` the newer
    /// version is not delivered yet.
    Retiring,
    /// The version is no longer accepted.
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
