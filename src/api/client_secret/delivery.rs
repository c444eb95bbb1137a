//! How a credential is delivered.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::private_key::CredentialType;
use crate::api::duration::ConfigDuration;
use crate::api::schema;

/// `spec.delivery.ttl` when it is absent.
pub const TTL_DEFAULT: SignedDuration = SignedDuration::from_mins(15);

/// How the credential is delivered.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// authorization-grant-type, scope and jwk-set-uri. A key pair has private-key, key-id, private-key.jwk and key.json
    /// instead of client-secret.
    #[default]
    Default,
    /// Names of environment variables, for envFrom: CLIENT_ID, CLIENT_SECRET, TOKEN_URI, ISSUER_URI, JWKS_URI and
    /// SCOPES. A key pair has PRIVATE_KEY and KEY_ID instead of CLIENT_SECRET.
    Env,
}

impl KeyNaming {
    /// The names, in the order of [`Entry::ALL`]; `None`: the entry is not in this set.
    #[must_use]
    pub fn name(self, entry: Entry) -> Option<&'static str> {
        let (default, env) = match entry {
            Entry::ClientId => ("client-id", Some("CLIENT_ID")),
            Entry::ClientSecret => ("client-secret", Some("CLIENT_SECRET")),
            Entry::PrivateKey => ("private-key", Some("PRIVATE_KEY")),
            Entry::KeyId => ("key-id", Some("KEY_ID")),
            // Programs read both from a file.
            Entry::PrivateJwk => ("private-key.jwk", None),
            Entry::KeyFile => ("key.json", None),
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

    fn names(self, type_: CredentialType) -> Vec<&'static str> {
        Entry::ALL.iter().filter(|entry| entry.is_of(type_)).filter_map(|entry| self.name(*entry)).collect()
    }
}

/// The entries of a delivered Secret.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Entry {
    /// `client_id` (RFC 6749 §2.2).
    ClientId,
    /// `client_secret` (RFC 6749 §2.3.1).
    ClientSecret,
    /// The private key: PKCS#8 in PEM (RFC 5958, RFC 7468).
    PrivateKey,
    /// `kid` of the private key.
    KeyId,
    /// The private key as a JWK (RFC 7517).
    PrivateJwk,
    /// The private key in the key file of ZITADEL.
    KeyFile,
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
    pub const ALL: [Self; 16] = [
        Self::ClientId,
        Self::ClientSecret,
        Self::PrivateKey,
        Self::KeyId,
        Self::PrivateJwk,
        Self::KeyFile,
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

    /// Whether the entry is the credential, or contains it.
    #[must_use]
    pub fn is_credential(self) -> bool {
        CredentialType::ALL.into_iter().any(|type_| !self.is_of(type_))
    }

    /// Whether the Secret of a credential of this type has the entry.
    #[must_use]
    pub fn is_of(self, type_: CredentialType) -> bool {
        match self {
            Self::ClientSecret => type_ == CredentialType::SharedSecret,
            Self::PrivateKey | Self::KeyId | Self::PrivateJwk | Self::KeyFile => type_ == CredentialType::PrivateKey,
            _ => true,
        }
    }
}

fn cel_list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "))
}

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

/// CEL of a spec: the names of the keys of the Secret.
fn names() -> String {
    let list = |set: KeyNaming, type_| cel_list(&set.names(type_));
    let of_type = |type_| {
        let (env, default) = (list(KeyNaming::Env, type_), list(KeyNaming::Default, type_));
        format!("(has(self.delivery.keys) && self.delivery.keys == 'Env' ? {env} : {default})")
    };
    let [key_pair, secret] = [CredentialType::PrivateKey, CredentialType::SharedSecret].map(of_type);
    format!("(has(self.type) && self.type == 'PrivateKey' ? {key_pair} : {secret})")
}

const NO_RENAME: &str = "!has(self.delivery) || !has(self.delivery.rename)";

/// CEL of a spec: only keys of the set are renamed.
pub(super) fn rename_known_rule() -> String {
    format!("{NO_RENAME} || self.delivery.rename.all(key, key in {})", names())
}

/// CEL of a spec: no two keys have the same resulting name.
pub(super) fn rename_free_rule() -> String {
    let (names, rename) = (names(), "self.delivery.rename");
    format!(
        "{NO_RENAME} || {rename}.all(key, ({rename}[key] == key || !({rename}[key] in {names})) && {rename}.all(other, \
         other == key || {rename}[other] != {rename}[key]))"
    )
}
