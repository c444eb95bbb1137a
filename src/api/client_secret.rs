//! ClientSecret: one credential of an application, and the Kubernetes Secret it is delivered in.

use std::borrow::Cow;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::application::{Reference, Restriction};
use super::duration::DurationOrNever;
use super::precedence::uid_number;
use super::schema;

mod delivery;
mod lifetime;
mod private_key;
mod rotation;
mod source;
mod status;
mod usages;

pub use delivery::{Delivery, DeliveryMode, Entry, KeyNaming, TTL_DEFAULT};
pub use lifetime::{EXPIRES_IN_DEFAULT, LifetimePolicy};
pub use private_key::{CredentialType, PrivateKey, PrivateKeyAlgorithm};
pub use rotation::{OVERLAP_DEFAULT, Rotation, Workload, WorkloadKind};
pub use source::{ExistingSecret, Source};
pub use status::{
    ClientSecretStatus, DeliveryStatus, RotationCause, RotationStatus, RotationStep, SourceStatus, Verification,
    Version, VersionState,
};
pub use usages::Usage;

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
    label("servicebinding.io/provisioned-service", "true"),
    status = "ClientSecretStatus",
    doc = "ClientSecret is one credential of an application, and the Kubernetes Secret it is delivered in. Up to 20 per application.",
    derive = "PartialEq",
    selectable = ".spec.applicationRef.name",
    printcolumn(name = "Application", type_ = "string", json_path = ".spec.applicationRef.name"),
    printcolumn(name = "Hint", type_ = "string", json_path = ".status.hint"),
    printcolumn(name = "Usages", type_ = "string", json_path = ".status.usages", priority = "1"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Last Used", type_ = "date", json_path = ".status.lastUsedAt"),
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
#[x_kube(validation = Rule::new("!(has(self.expiresIn) && has(self.expiresAt))")
    .message("expiresIn and expiresAt exclude each other: give one of them")
    .field_path(".expiresAt"))]
#[x_kube(validation = Rule::new("(has(self.delivery) && has(self.delivery.secretName) ? self.delivery.secretName : '') == (has(oldSelf.delivery) && has(oldSelf.delivery.secretName) ? oldSelf.delivery.secretName : '')")
    .message("delivery.secretName is immutable: pods mount it; create another ClientSecret to deliver under another name")
    .field_path(".delivery"))]
#[x_kube(validation = Rule::new("!(has(oldSelf.revoke) && oldSelf.revoke) || (has(self.revoke) && self.revoke)")
    .message("revoke is permanent and cannot be unset: create another ClientSecret")
    .field_path(".revoke"))]
#[x_kube(validation = Rule::new("!has(self.rotation) || !has(self.source) || !has(self.source.existing)")
    .message("rotation does not apply to an imported value, which changes only in the Secret that it comes from: remove rotation, or source.existing to have a value generated")
    .field_path(".rotation"))]
#[x_kube(validation = Rule::new(rotation::room_rule())
    .message("rotation.every plus rotation.overlap (24h when it is absent, or rotation.every if that is shorter) must fit into the life of a version: lengthen expiresIn (1y when it is absent), or shorten one of them")
    .field_path(".rotation.every"))]
#[x_kube(validation = Rule::new("(has(self.type) ? self.type : 'SharedSecret') == (has(oldSelf.type) ? oldSelf.type : 'SharedSecret')")
    .message("type is immutable: create another ClientSecret of the other type")
    .field_path(".type"))]
#[x_kube(validation = Rule::new("!has(self.privateKey) || (has(self.type) && self.type == 'PrivateKey')")
    .message("privateKey describes a key pair: set type to PrivateKey, or remove privateKey")
    .field_path(".privateKey"))]
#[x_kube(validation = Rule::new("!has(self.source) || !has(self.source.existing) || !has(self.type) || self.type != 'PrivateKey'")
    .message("source.existing imports a value, and a key pair is always generated: remove source.existing, or the type PrivateKey")
    .field_path(".source"))]
#[x_kube(validation = Rule::new(delivery::rename_known_rule())
    .message("rename may name only the keys of spec.delivery.keys and spec.type: with Default client-id, client-secret (with the type PrivateKey private-key, key-id, private-key.jwk and key.json instead), token-uri, issuer-uri, jwks-uri, scopes, type, provider, ca.crt, authorization-grant-type, scope and jwk-set-uri; with Env CLIENT_ID, CLIENT_SECRET (with the type PrivateKey PRIVATE_KEY and KEY_ID instead), TOKEN_URI, ISSUER_URI, JWKS_URI and SCOPES")
    .field_path(".delivery.rename"))]
#[x_kube(validation = Rule::new(delivery::rename_free_rule())
    .message("rename must not give a key the name of another key: choose a name that no other key has")
    .field_path(".delivery.rename"))]
// One for each credential is in memory: fields that are usually absent are boxed.
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ClientSecretSpec {
    /// The Application, in the same namespace, that this secret belongs to. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("applicationRef is immutable: create another ClientSecret for another Application"))]
    pub application_ref: Reference,
    /// Purpose of the secret, for users. Up to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// What the credential is. Immutable. Default: SharedSecret.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<CredentialType>,
    /// The key pair, with the type PrivateKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Box<PrivateKey>>,
    /// Restricts the permissions of the Application; cannot add to them. Absent list: no restriction. Empty list: no
    /// permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_to: Option<Box<Restriction>>,
    /// What the secret may be used for: 1 to 3 values. Absent: all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub usages: Option<Vec<Usage>>,
    /// Source networks from which the secret is accepted: 1 to 32 in CIDR notation, such as 10.20.0.0/16. Absent: all
    /// networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub networks: Option<Vec<IpNet>>,
    /// How long a version is valid after its issue: a duration such as 2y or 90d, or Never. Default: 1y (365 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_or_never")]
    pub expires_in: Option<DurationOrNever>,
    /// When the credential expires, instead of expiresIn: an RFC 3339 time. A time in the past is rejected at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::given_instant")]
    pub expires_at: Option<Timestamp>,
    /// Automatic rotation of a generated value. Absent: no automatic rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Box<Rotation>>,
    /// How the credential is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<Delivery>>,
    /// Source of the value. Absent: Postern generates the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<Source>>,
    /// true: the secret is rejected immediately and permanently. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<bool>,
}

impl ClientSecret {
    /// Identifies the credential of a token for [`token_fingerprint`](super::fingerprint::token_fingerprint): the UID of the object,
    /// and the number of losses of its Secret. A token for a lost value belongs to another credential.
    #[must_use]
    pub fn credential(&self) -> Cow<'_, str> {
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        match self.status.as_ref().and_then(|status| status.losses) {
            None => uid.into(),
            Some(losses) => format!("{uid} {losses}").into(),
        }
    }
}

impl ClientSecretSpec {
    /// Whether it is revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoke.unwrap_or_default()
    }

    /// Whether it is a key pair.
    #[must_use]
    pub fn is_key_pair(&self) -> bool {
        self.type_.unwrap_or_default() == CredentialType::PrivateKey
    }

    /// The uses in one line, as in the column USES; `None`: all.
    #[must_use]
    pub fn uses_summary(&self) -> Option<String> {
        let uses = self.usages.as_ref()?.iter();
        Some(uses.map(|purpose| format!("{purpose:?}")).collect::<Vec<_>>().join(", "))
    }

    /// Whether the secret may be used for this purpose.
    #[must_use]
    pub fn is_for(&self, purpose: Usage) -> bool {
        self.usages.as_ref().is_none_or(|uses| uses.contains(&purpose))
    }

    /// The Secret from which the value is imported; `None`: it is generated.
    #[must_use]
    pub fn existing(&self) -> Option<&ExistingSecret> {
        self.source.as_ref()?.existing.as_ref()
    }

    /// Name of the delivered Secret.
    #[must_use]
    pub fn secret_name<'a>(&'a self, metadata: &'a ObjectMeta) -> &'a str {
        let chosen = self.delivery.as_ref().and_then(|delivery| delivery.secret_name.as_deref());
        chosen.or(metadata.name.as_deref()).unwrap_or_default()
    }
}

/// The UID of the object as the 16 bytes that its verifiers are bound to. A UID that is not a UUID (API servers assign
/// none) becomes zeros, which match no verifier.
#[must_use]
pub fn uid_bytes(metadata: &ObjectMeta) -> [u8; 16] {
    uid_number(metadata).unwrap_or_default().to_be_bytes()
}
