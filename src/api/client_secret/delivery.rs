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
    /// Name of the Secret; immutable. Default: the name of the ClientSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: Option<String>,
    /// Keep (default): the Secret stays, and is restored with a new value when it is deleted. Once: the Secret is removed
    /// after `ttl` and not restored; the credential goes on working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeliveryMode>,
    /// How long the Secret stays with mode Once; default 15m, at least 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub ttl: Option<ConfigDuration>,
    /// Names of the keys. Default: client-id, client-secret, token-uri, issuer-uri, jwks-uri, scopes, type, provider;
    /// ca.crt where the endpoint's certificate has a CA of its own; and what Spring Cloud Bindings reads:
    /// authorization-grant-type, scope, jwk-set-uri. Env, for envFrom: CLIENT_ID, CLIENT_SECRET, TOKEN_URI, ISSUER_URI, JWKS_URI, SCOPES.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeySet>,
    /// Other names for single keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::renamed_keys")]
    pub rename: Option<BTreeMap<String, String>>,
    /// Labels added to the Secret. Keys under postern.dev/ and app.kubernetes.io/ are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::added_labels")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations added to the Secret. Keys under postern.dev/ and app.kubernetes.io/ are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::added_annotations")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Delivery {
    /// How long the Secret stays; `None`: for good.
    #[must_use]
    pub fn stays(&self) -> Option<SignedDuration> {
        match self.mode.unwrap_or_default() {
            DeliveryMode::Keep => None,
            DeliveryMode::Once => Some(self.ttl.as_ref().map_or(TTL_DEFAULT, ConfigDuration::length)),
        }
    }
}

/// What becomes of the Secret after delivery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeliveryMode {
    /// It stays.
    #[default]
    Keep,
    /// It is removed after a while and not restored.
    Once,
}

/// Names of the keys of the delivered Secret.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum KeySet {
    /// As the Service Binding Specification names them.
    #[default]
    Default,
    /// As environment variables are named.
    Env,
}

impl KeySet {
    /// The names, in the order of [`Entry::ALL`]; `None`: this set leaves the entry out.
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
            // Programs take a CA from a file.
            Entry::Ca => ("ca.crt", None),
            // What Spring Cloud Bindings reads beside the others.
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

/// What a delivered Secret holds.
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
    /// Scopes that the credential holds, separated by spaces.
    Scopes,
    /// `oauth2`, a well-known entry of the Service Binding Specification.
    Type,
    /// `postern`, a well-known entry of the Service Binding Specification.
    Provider,
    /// The CA of the endpoint's certificate in PEM, where it is not one that every machine knows.
    Ca,
    /// `client_credentials`, the grant type of a client without users (RFC 6749 §4.4).
    GrantType,
    /// Scopes that a request gets that names none, separated by commas.
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

/// Characters of everything in `spec.delivery` together. Each replica keeps them of every ClientSecret.
const TEXTS_MAX: u32 = 16_384;

/// CEL: the texts are not too long together.
fn texts_rule() -> String {
    let texts = |field: &str| {
        format!("(has(self.{field}) ? self.{field}.map(key, size(key) + size(self.{field}[key])).sum() : 0)")
    };
    let [rename, labels, annotations] = ["rename", "labels", "annotations"].map(texts);
    format!("(has(self.secretName) ? size(self.secretName) : 0) + {rename} + {labels} + {annotations} <= {TEXTS_MAX}")
}

/// CEL: only keys of the set are renamed.
fn rename_known_rule() -> String {
    let [default, env] = [KeySet::Default, KeySet::Env].map(|set| cel_list(&set.names()));
    format!("!has(self.rename) || self.rename.all(key, key in ({HAS_ENV_KEYS} ? {env} : {default}))")
}

/// CEL: no two keys end up with one name.
fn rename_free_rule() -> String {
    let [default, env] = [KeySet::Default, KeySet::Env].map(|set| cel_list(&set.names()));
    format!(
        "!has(self.rename) || self.rename.all(key, (self.rename[key] == key || !(self.rename[key] in ({HAS_ENV_KEYS} ? \
         {env} : {default}))) && self.rename.all(other, other == key || self.rename[other] != self.rename[key]))"
    )
}
