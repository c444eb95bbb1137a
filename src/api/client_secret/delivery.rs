//! How a credential is delivered.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::ConfigDuration;
use crate::api::schema;

/// `spec.delivery.ttl` when it is absent.
pub const TTL_DEFAULT: SignedDuration = SignedDuration::from_mins(15);

/// How the credential is delivered.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rename_known_rule())
    .message("rename may name only the keys of spec.delivery.keys: client-id, client-secret, token-uri, issuer-uri, jwks-uri, scopes, type, provider, ca.crt, authorization-grant-type, scope and jwk-set-uri with Default; CLIENT_ID, CLIENT_SECRET, TOKEN_URI, ISSUER_URI, JWKS_URI and SCOPES with Env")
    .field_path(".rename"))]
#[x_kube(validation = Rule::new(rename_free_rule())
    .message("rename must not give a key the name of another key: choose a name that no other key has")
    .field_path(".rename"))]
#[x_kube(validation = Rule::new(texts_rule())
    .message("secretName, rename, labels and annotations must have at most 16384 characters together: shorten or remove some"))]
pub struct Delivery {
    /// Name of the Secret. Immutable. Default: the name of the ClientSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,
    /// What happens to the Secret after delivery. Default: Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
    /// How long the Secret stays with mode Once. Default: 15m. Minimum: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub ttl: Option<ConfigDuration>,
    /// Names of the keys of the Secret. Default: Default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyNaming>,
    /// Other names for single keys: a map from the name in the set `keys` to the new name. At most 8 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::renamed_keys")]
    pub rename: Option<BTreeMap<String, String>>,
    /// Labels added to the Secret, at most 32. Keys under postern.dev/ and app.kubernetes.io/ are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::added_labels")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations added to the Secret, at most 32. Keys under postern.dev/ and app.kubernetes.io/ are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::added_annotations")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Delivery {
    /// How long the Secret stays; `None`: without limit.
    #[must_use]
    pub fn ttl(&self) -> Option<SignedDuration> {
        match self.mode.unwrap_or_default() {
            DeliveryMode::Keep => None,
            DeliveryMode::Once => Some(self.ttl.as_ref().map_or(TTL_DEFAULT, ConfigDuration::length)),
        }
    }
}

/// What happens to the Secret after delivery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeliveryMode {
    /// The Secret stays. If it is deleted, Postern recreates it with a new value.
    #[default]
    Keep,
    /// Postern removes the Secret after `ttl` and does not recreate it. The credential stays valid.
    Once,
}

/// Names of the keys of the delivered Secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum KeyNaming {
    /// Names of the Service Binding Specification: client-id, client-secret, token-uri, issuer-uri, jwks-uri, scopes,
    /// type and provider; ca.crt if the endpoint's certificate has a private CA; and for Spring Cloud Bindings
    /// authorization-grant-type, scope and jwk-set-uri.
    #[default]
    Default,
    /// Names of environment variables, for envFrom: CLIENT_ID, CLIENT_SECRET, TOKEN_URI, ISSUER_URI, JWKS_URI and
    /// SCOPES.
    Env,
}

impl KeyNaming {
    /// The names, in the order of [`Entry::ALL`]; `None`: the entry is not in this set.
    #[must_use]
    pub fn name(self, entry: Entry) -> Option<&'static str> {
        let (default, env) = match entry {
            Entry::ClientId => ("client-id", Some("CLIENT_ID")),
            Entry::ClientSecret => ("client-secret", Some("CLIENT_SECRET")),
            Entry::TokenUri => ("token-uri", Some("TOKEN_URI")),
            Entry::IssuerUri => ("issuer-uri", Some("ISSUER_URI")),
            Entry::JwksUri => ("jwks-uri", Some("JWKS_URI")),
            Entry::Scopes => ("scopes", Some("SCOPES")),
            Entry::Type => ("type", None),
            Entry::Provider => ("provider", None),
            // Programs read a CA from a file.
            Entry::Ca => ("ca.crt", None),
            // Additional keys that Spring Cloud Bindings reads.
            Entry::GrantType => ("authorization-grant-type", None),
            Entry::DefaultScopes => ("scope", None),
            Entry::JwkSetUri => ("jwk-set-uri", None),
        };
        match self {
            Self::Default => Some(default),
            Self::Env => env,
        }
    }

    fn names(self) -> Vec<&'static str> {
        Entry::ALL.iter().filter_map(|entry| self.name(*entry)).collect()
    }
}

/// The entries of a delivered Secret.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Entry {
    /// `client_id` (RFC 6749 §2.2).
    ClientId,
    /// `client_secret` (RFC 6749 §2.3.1).
    ClientSecret,
    /// URL of the token endpoint.
    TokenUri,
    /// The issuer identifier (RFC 8414 §2).
    IssuerUri,
    /// URL of the JSON Web Key Set.
    JwksUri,
    /// Scopes that the credential has, separated by spaces.
    Scopes,
    /// `oauth2`, a well-known entry of the Service Binding Specification.
    Type,
    /// `postern`, a well-known entry of the Service Binding Specification.
    Provider,
    /// The CA of the endpoint's certificate in PEM, unless it is publicly trusted.
    Ca,
    /// `client_credentials`, the grant type of a client without users (RFC 6749 §4.4).
    GrantType,
    /// Scopes that a request without scopes receives, separated by commas.
    DefaultScopes,
    /// The same as [`Entry::JwksUri`].
    JwkSetUri,
}

impl Entry {
    /// Every entry.
    pub const ALL: [Self; 12] = [
        Self::ClientId,
        Self::ClientSecret,
        Self::TokenUri,
        Self::IssuerUri,
        Self::JwksUri,
        Self::Scopes,
        Self::Type,
        Self::Provider,
        Self::Ca,
        Self::GrantType,
        Self::DefaultScopes,
        Self::JwkSetUri,
    ];
}

fn cel_list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "))
}

const HAS_ENV_KEYS: &str = "has(self.keys) && self.keys == 'Env'";

/// Maximum number of characters of all texts in `spec.delivery` together. Each replica stores them for every
/// ClientSecret.
const TEXTS_MAX: u32 = 16_384;

/// CEL: the texts together are within the limit.
fn texts_rule() -> String {
    let texts = |field: &str| {
        format!("(has(self.{field}) ? self.{field}.map(key, size(key) + size(self.{field}[key])).sum() : 0)")
    };
    let [rename, labels, annotations] = ["rename", "labels", "annotations"].map(texts);
    format!("(has(self.secretName) ? size(self.secretName) : 0) + {rename} + {labels} + {annotations} <= {TEXTS_MAX}")
}

/// CEL: only keys of the set are renamed.
fn rename_known_rule() -> String {
    let [default, env] = [KeyNaming::Default, KeyNaming::Env].map(|set| cel_list(&set.names()));
    format!("!has(self.rename) || self.rename.all(key, key in ({HAS_ENV_KEYS} ? {env} : {default}))")
}

/// CEL: no two keys have the same resulting name.
fn rename_free_rule() -> String {
    let [default, env] = [KeyNaming::Default, KeyNaming::Env].map(|set| cel_list(&set.names()));
    format!(
        "!has(self.rename) || self.rename.all(key, (self.rename[key] == key || !(self.rename[key] in ({HAS_ENV_KEYS} ? \
         {env} : {default}))) && self.rename.all(other, other == key || self.rename[other] != self.rename[key]))"
    )
}
