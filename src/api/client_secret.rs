//! ClientSecret: one credential of an application, and the Kubernetes Secret it is delivered in.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::application::{Reference, Restriction};
use super::duration::DurationOrNever;
use super::schema;

/// `spec.expiresIn` when neither it nor `spec.expiresAt` is given: a year of 365 days.
pub const EXPIRES_IN_DEFAULT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// One credential of an application.
#[derive(CustomResource, Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ClientSecret",
    plural = "clientsecrets",
    namespaced,
    shortname = "csec",
    category = "postern",
    status = "ClientSecretStatus",
    doc = "ClientSecret is one credential of an application, and the Kubernetes Secret it is delivered in. Up to 20 per application.",
    derive = "PartialEq",
    selectable = ".spec.applicationRef.name",
    printcolumn(name = "Application", type_ = "string", json_path = ".spec.applicationRef.name"),
    printcolumn(name = "Hint", type_ = "string", json_path = ".status.hint"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("!(has(self.expiresIn) && has(self.expiresAt))")
    .message("expiresIn and expiresAt exclude each other: give one of them")
    .field_path(".expiresAt"))]
#[x_kube(validation = Rule::new("(has(self.delivery) && has(self.delivery.secretName) ? self.delivery.secretName : '') == (has(oldSelf.delivery) && has(oldSelf.delivery.secretName) ? oldSelf.delivery.secretName : '')")
    .message("delivery.secretName is immutable: pods mount it; create another ClientSecret to deliver under another name")
    .field_path(".delivery"))]
#[x_kube(validation = Rule::new("!(has(oldSelf.revoke) && oldSelf.revoke) || (has(self.revoke) && self.revoke)")
    .message("revoke is for good and cannot be set back: create another ClientSecret")
    .field_path(".revoke"))]
#[serde(rename_all = "camelCase")]
pub struct ClientSecretSpec {
    /// The Application, of the same namespace, that this secret belongs to; immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("applicationRef is immutable: create another ClientSecret for another Application"))]
    pub application_ref: Reference,
    /// What the secret is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Narrower than the application; same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_to: Option<Restriction>,
    /// 1y, 2y, 90d, … or Never; counted from the issue of the version. Default 1y.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_or_never")]
    pub expires_in: Option<DurationOrNever>,
    /// Instead of expiresIn: an instant (RFC 3339). One that is past is refused at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub expires_at: Option<Timestamp>,
    /// How the credential is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// true: refused at once, for good. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<bool>,
}

/// How the credential is delivered.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Name of the Secret; immutable. Default: the name of the ClientSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,
    /// Keep (default): the Secret stays, and is restored with a new value when it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
}

/// What becomes of the Secret after delivery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeliveryMode {
    /// It stays.
    #[default]
    Keep,
}

/// What the controller says of a ClientSecret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecretStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Secret, as a Provisioned Service of the Service Binding Specification names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Reference>,
    /// The first characters of the credential, as leak reports show them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When the credential ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub expires_at: Option<Timestamp>,
    /// Versions, newest first; retired ones are dropped after a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "versions")]
    pub versions: Vec<Version>,
    /// `Ready`: the credential authenticates now, at every ready replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One value of a secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// An Argon2id hash; useless without the install's key.
    pub verifier: String,
}

/// Where a version is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum VersionState {
    /// Accepted.
    Active,
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

impl ClientSecretSpec {
    /// Whether it is revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoke.unwrap_or_default()
    }

    /// Name of the delivered Secret.
    #[must_use]
    pub fn secret_name<'a>(&'a self, metadata: &'a ObjectMeta) -> &'a str {
        let chosen = self.delivery.as_ref().and_then(|delivery| delivery.secret_name.as_deref());
        chosen.or(metadata.name.as_deref()).unwrap_or_default()
    }

    /// When a version issued at `issued` ends; `None`: never.
    #[must_use]
    pub fn expiry(&self, issued: Timestamp) -> Option<Timestamp> {
        match (self.expires_at, &self.expires_in) {
            (Some(at), _) => Some(at),
            (None, Some(DurationOrNever::Never)) => None,
            (None, Some(DurationOrNever::After(duration))) => Some(saturating_add(issued, duration.length())),
            (None, None) => Some(saturating_add(issued, EXPIRES_IN_DEFAULT)),
        }
    }
}

/// The UID of the object as the 16 bytes that its verifiers are bound to. A UID that is not a UUID (never given by an API
/// server) becomes zeros, with which no verifier was made.
#[must_use]
pub fn uid_bytes(metadata: &ObjectMeta) -> [u8; 16] {
    let hex: String = metadata.uid.iter().flat_map(|uid| uid.chars()).filter(|c| *c != '-').collect();
    if hex.len() == 32 { u128::from_str_radix(&hex, 16).unwrap_or_default().to_be_bytes() } else { [0; 16] }
}

fn saturating_add(instant: Timestamp, length: SignedDuration) -> Timestamp {
    instant.checked_add(length).unwrap_or(Timestamp::MAX)
}
