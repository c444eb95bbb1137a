//! Application: an OAuth client that acts as one service user.

use std::num::NonZeroU32;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client_certificates::{self, CertificateEntry};
use super::client_secret::CredentialType;
use super::digest::digest;
use super::duration::ConfigDuration;
use super::jwks::{Jwk, JwkSet};
use super::lockout::{LockedSource, Lockout};
use super::names::UNLOCK_ANNOTATION;
use super::schema;
use super::service_account::ServiceAccountEntry;
use super::trusted_issuers::{self, IssuerEntry};

/// Default of `spec.token.lifetime`.
///
/// 15 minutes: within RFC 9700's "short-lived", and long enough that the busiest client requests tokens rarely.
pub const TOKEN_LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_mins(15);

/// Maximum of `spec.token.requestsPerMinute`: more than a replica can sign in a minute on one core needs no limit.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 100_000;

/// An OAuth client that acts as one service user.
#[derive(CustomResource, Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "Application",
    plural = "applications",
    namespaced,
    shortname = "psapp",
    category = "postern",
    status = "ApplicationStatus",
    doc = "Application is an OAuth client that acts as one service user. Changing its service user is one atomic step on every replica.",
    derive = "PartialEq",
    selectable = ".spec.serviceUserRef.name",
    selectable = ".status.clientId",
    selectable = ".status.subject",
    printcolumn(name = "Service User", type_ = "string", json_path = ".spec.serviceUserRef.name"),
    printcolumn(name = "Client ID", type_ = "string", json_path = ".status.clientId"),
    printcolumn(name = "Secrets", type_ = "string", json_path = ".status.secrets.summary"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Permitted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Permitted\")].status"
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Locked", type_ = "string", json_path = ".status.conditions[?(@.type==\"Locked\")].status"),
    printcolumn(
        name = "Created By",
        type_ = "string",
        json_path = ".metadata.annotations.postern\\.dev/created-by",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("has(self.clientId) == has(oldSelf.clientId) && (!has(self.clientId) || self.clientId == oldSelf.clientId)")
    .message("clientId is immutable: others trust it; create another Application to get another one")
    .field_path(".clientId"))]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ApplicationSpec {
    /// Display name: one line of up to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// Absolute http or https URL of the application. Up to 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::url")]
    pub url: Option<String>,
    /// Description of the application. Up to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// The ServiceUser, in the same namespace, that the client acts as. Can be changed; the next token has the new
    /// subject.
    pub service_user_ref: Reference,
    /// The client id: 1 to 128 letters, digits, `.`, `_`, `~` and `-`, case-sensitive. Immutable. Requires the verb
    /// `use` on `clientids.postern.dev/ID`. Default: the object's UID. If an older Application has the client id, or
    /// a ServiceUser has it as its subject, this Application is not Ready, reason `ClientIdTaken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::client_id")]
    pub client_id: Option<String>,
    /// Restricts the permissions of the service user; cannot add to them. Absent list: no restriction. Empty list: no
    /// permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_to: Option<Restriction>,
    /// How the client authenticates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Settings of the client's access tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// A run of wrong secrets locks the secrets of the client. Keys, certificates, ServiceAccounts and issued tokens are
    /// not affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockout: Option<Lockout>,
    /// true: the client is rejected until the field is false again. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Reference {
    /// Name of the object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// Restricts permissions. An entry that is not granted has no effect and is reported in a condition.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new(restriction_texts_rule())
    .message("roles, audiences and scopes must have at most 8192 characters together: shorten or remove some"))]
pub struct Restriction {
    /// Only permissions of these roles. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::roles")]
    pub roles: Option<Vec<String>>,
    /// Only these audiences. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::audiences")]
    pub audiences: Option<Vec<String>>,
    /// Only these scopes. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scopes")]
    pub scopes: Option<Vec<String>>,
}

/// Maximum number of characters of all texts in a `restrictTo` together. Each replica stores them for every object.
const RESTRICTION_TEXTS_MAX: u32 = 8_192;

/// CEL: the texts together are within the limit.
fn restriction_texts_rule() -> String {
    let texts = |field: &str| format!("(has(self.{field}) ? self.{field}.map(text, size(text)).sum() : 0)");
    format!("{} <= {RESTRICTION_TEXTS_MAX}", ["roles", "audiences", "scopes"].map(texts).join(" + "))
}

/// How the client authenticates.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.jwks) || !has(self.jwksUri)")
    .message("jwks and jwksUri exclude each other: remove one of them")
    .field_path(".jwksUri"))]
#[x_kube(validation = Rule::new("!has(self.methods) || !('kubernetes_service_account' in self.methods) || has(self.serviceAccounts)")
    .message("kubernetes_service_account needs the ServiceAccounts whose pods may authenticate: set serviceAccounts")
    .field_path(".serviceAccounts"))]
#[x_kube(validation = Rule::new("!has(self.methods) || !('federated_jwt' in self.methods) || has(self.issuers)")
    .message("federated_jwt needs the issuers whose tokens authenticate the client: set issuers")
    .field_path(".issuers"))]
#[x_kube(validation = Rule::new("!has(self.methods) || !('tls_client_auth' in self.methods) || (has(self.certificates) && self.certificates.exists(entry, !has(entry.thumbprintSha256)))")
    .message("tls_client_auth needs what identifies the certificates of the client: set certificates with sanDns, sanUri or subjectDn")
    .field_path(".certificates"))]
#[x_kube(validation = Rule::new("!has(self.methods) || !('self_signed_tls_client_auth' in self.methods) || (has(self.certificates) && self.certificates.exists(entry, has(entry.thumbprintSha256))) || (has(self.jwks) && self.jwks.keys.exists(key, has(key.x5c)))")
    .message("self_signed_tls_client_auth needs the certificates of the client: set certificates with thumbprintSha256, or jwks with x5c")
    .field_path(".certificates"))]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Allowed methods, by their `token_endpoint_auth_method` names of RFC 7591. Default: `client_secret_basic` and
    /// `client_secret_post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Option<Vec<AuthMethod>>,
    /// The public keys of the client, for `private_key_jwt` and the JWT bearer grant. Absent: only those of its
    /// ClientSecrets of the type PrivateKey. A key with `x5c` also names a certificate for
    /// `self_signed_tls_client_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    /// URL at which the client publishes its public keys as a JWK Set (RFC 7517), instead of `jwks`: https, with a host that
    /// the operator allows. Postern fetches it in the background. Up to 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::jwks_uri")]
    pub jwks_uri: Option<String>,
    /// ServiceAccounts of the same namespace, for `kubernetes_service_account`: 1 to 20. Their pods authenticate with a
    /// projected token whose audience is the issuer, and need no Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::service_account::service_accounts")]
    pub service_accounts: Option<Vec<ServiceAccountEntry>>,
    /// Subjects of other issuers, for `federated_jwt`: 1 to 20. A client authenticates with a token that its issuer signed,
    /// and sends its `client_id` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "trusted_issuers::issuers")]
    pub issuers: Option<Vec<IssuerEntry>>,
    /// What identifies the certificates of the client. 1 to 20 entries, each with exactly one field. One that matches is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "client_certificates::entries")]
    pub certificates: Option<Vec<CertificateEntry>>,
    /// Source networks from which the client may authenticate, with any method: 1 to 32 in CIDR notation, such as
    /// 10.20.0.0/16. `networks` of a ClientSecret can restrict them further. Absent: all networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub networks: Option<Vec<IpNet>>,
}

impl Auth {
    /// The methods of a client that names none: those with a secret.
    const DEFAULT: [AuthMethod; 2] = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost];
}

/// A client authentication method, by its RFC 7591 §2 name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// The client sends id and secret in the Authorization header, scheme Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// The client sends id and secret as form parameters (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// The client sends a JWT that it signs with its private key (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// The client sends the projected token of a ServiceAccount of `serviceAccounts`.
    KubernetesServiceAccount,
    /// The client sends a token of an issuer of `issuers`.
    FederatedJwt,
    /// The client presents a certificate that a CA of the operator issued (RFC 8705 §2.1).
    TlsClientAuth,
    /// The client presents a certificate that the Application names, of any issuer (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
}

/// Settings of access tokens.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || (has(self.format) && self.format == 'Opaque')")
    .message("idleTimeout needs format: Opaque, because Postern does not see the use of a JWT; set the format, or leave idleTimeout out")
    .field_path(".idleTimeout"))]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Format of access tokens. Default: JWT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TokenFormat>,
    /// Header `typ` of a JWT access token. Default: at+jwt.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<TokenType>,
    /// Idle timeout, only for Opaque tokens: a token that is not used for this long becomes inactive. Minimum: 1m. Each
    /// introspection, userinfo call or forward-auth request is a use. Absent: no idle timeout; only `lifetime` applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub idle_timeout: Option<ConfigDuration>,
    /// Lifetime of a token. Minimum: 1m. Maximum: set by the operator (24h by default). Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub lifetime: Option<ConfigDuration>,
    /// Signature algorithm of JWT access tokens (RFC 7518 §3.1). Default: ES256. The key of PS256 or EdDSA is created when the
    /// first Application requests it, and published before it signs. Until then, the Application is not Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// Handling of a requested scope that is not granted (RFC 6749 §3.3). Default: Reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_policy: Option<ScopePolicy>,
    /// Scopes of a token if the request names none: 1 to 64. Absent: all scopes granted at the chosen audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::some_scopes")]
    pub default_scopes: Option<Vec<String>>,
    /// Audience of a token if the request names none. Absent: the only granted audience; with several, the error
    /// `invalid_target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::audience")]
    pub default_audience: Option<String>,
    /// true: a token may have several audiences, with the scopes that are granted at all of them. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_audiences: Option<bool>,
    /// Whether tokens must be bound to a key or a certificate of the client, so that a stolen token is useless without it.
    /// A change ends all tokens. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_constraint: Option<SenderConstraint>,
    /// Token requests a minute: 1 to 100000. Further requests get the status 429 with `Retry-After`. Each replica counts
    /// the requests that it receives. Default: set by the operator (no limit by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = REQUESTS_PER_MINUTE_MAX))]
    pub requests_per_minute: Option<i32>,
}

/// Binding of access tokens to a key or a certificate of the client.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SenderConstraint {
    /// A token is bound if its request has a DPoP proof, and is a bearer token otherwise.
    #[default]
    None,
    /// A token request without a DPoP proof is rejected (`dpop_bound_access_tokens` of RFC 9449 §5.2).
    #[serde(rename = "DPoP")]
    Dpop,
    /// A token request without a client certificate is rejected (`tls_client_certificate_bound_access_tokens` of RFC 8705
    /// §3.4), and the token is valid only together with that certificate. Works only where the installation accepts client
    /// certificates.
    #[serde(rename = "MutualTLS")]
    MutualTls,
}

impl SenderConstraint {
    /// Its name in the schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Dpop => "DPoP",
            Self::MutualTls => "MutualTLS",
        }
    }
}

/// Format of an access token.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TokenFormat {
    /// A JSON Web Token in the profile of RFC 9068. APIs verify it offline.
    #[default]
    #[serde(rename = "JWT")]
    Jwt,
    /// A token without readable content that begins with pat_. APIs call the introspection endpoint.
    Opaque,
}

/// Header `typ` of a JWT access token.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TokenType {
    /// The type of RFC 9068 §2.1. An API that requires it accepts no other JWT as an access token.
    #[default]
    #[serde(rename = "at+jwt")]
    AccessToken,
    /// For verifiers that are older than RFC 9068, reject at+jwt and cannot be changed.
    #[serde(rename = "JWT")]
    Jwt,
}

/// JWS algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for verifiers without support for ES256.
    Rs256,
    /// RSASSA-PSS with SHA-256, which some profiles such as FAPI require.
    Ps256,
    /// Ed25519. kube-apiserver and Apache mod_oauth2 do not accept it.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Its registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether each installation has keys of the algorithm. Those of others are created when the first Application
    /// requests them.
    #[must_use]
    pub fn has_keys_from_the_start(self) -> bool {
        matches!(self, Self::Es256 | Self::Rs256)
    }
}

/// Handling of a requested scope that is not granted (RFC 6749 §3.3).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ScopePolicy {
    /// The request fails with the error `invalid_scope`.
    #[default]
    Reject,
    /// The scope is omitted, and `scope` in the response lists the issued scopes.
    Narrow,
}

/// Observed state of an Application.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::describe_values)]
pub struct ApplicationStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The effective client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The claim `sub` of tokens: UID of the service user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Incremented when the effective authority changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Digest of the effective authority that `epoch` represents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Effective permissions: those of the service user, restricted by restrictTo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<EffectivePermission>>,
    /// Effective roles, sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Number of ClientSecrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretCount>,
    /// The methods of client authentication that were used, sorted by name. A method stays when it is no longer allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["method"]))]
    pub auth_methods: Vec<UsedMethod>,
    /// While the secrets of the client are locked for all callers or for a network: when the last lock ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instant")]
    pub locked_until: Option<Timestamp>,
    /// The networks for which the secrets are locked, at most 10, the one whose lock ends last first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["network"]))]
    pub locked_sources: Vec<LockedSource>,
    /// `Ready`, `ServiceUserResolved`, and with restrictTo `RestrictionsResolved`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The most methods in status. There are fewer; the rest is for those of later versions.
pub const USED_METHODS_MAX: usize = 16;

/// A method of client authentication that was used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedMethod {
    /// Its name in `spec.auth.methods`. It is a text, so that an earlier version of Postern can read a later method.
    #[schemars(length(max = 64))]
    pub method: String,
    /// When a client last authenticated with it, with a delay of at most one minute.
    #[schemars(schema_with = "schema::instant")]
    pub last_used_at: Timestamp,
}

/// An audience and the scopes granted there.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct EffectivePermission {
    /// Value of the claim `aud`.
    pub audience: String,
    /// Scopes granted at the audience, sorted.
    pub scopes: Vec<String>,
}

/// Number of ClientSecrets of an Application.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretCount {
    /// ClientSecrets that authenticate.
    pub active: i64,
    /// All ClientSecrets.
    pub total: i64,
    /// Maximum number of active ClientSecrets.
    pub limit: i64,
    /// `active/total`.
    pub summary: String,
}

impl Application {
    /// Digest of the annotation that unlocks the client; empty: there is none. Locks and wrong secrets before another value
    /// have ended.
    #[must_use]
    pub fn unlock(&self) -> String {
        let value = self.metadata.annotations.as_ref().and_then(|annotations| annotations.get(UNLOCK_ANNOTATION));
        value.map(|value| digest([value.as_str()])).unwrap_or_default()
    }
}

impl ApplicationSpec {
    /// The signature algorithm of its tokens.
    #[must_use]
    pub fn signing_algorithm(&self) -> SigningAlgorithm {
        self.token.as_ref().and_then(|token| token.signing_algorithm).unwrap_or_default()
    }

    /// Whether the Application is suspended.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    /// The client id that this object claims: `spec.clientId`, or its UID.
    #[must_use]
    pub fn claimed_client_id<'a>(&'a self, metadata: &'a ObjectMeta) -> &'a str {
        self.client_id.as_deref().or(metadata.uid.as_deref()).unwrap_or_default()
    }

    /// Whether the client may authenticate with `method`.
    #[must_use]
    pub fn allows(&self, method: AuthMethod) -> bool {
        let methods = self.auth.as_ref().and_then(|auth| auth.methods.as_deref());
        methods.unwrap_or(&Auth::DEFAULT).contains(&method)
    }

    /// Whether the client may authenticate with credentials of this type.
    #[must_use]
    pub fn accepts(&self, type_: CredentialType) -> bool {
        match type_ {
            CredentialType::SharedSecret => Auth::DEFAULT.into_iter().any(|method| self.allows(method)),
            CredentialType::PrivateKey => self.allows(AuthMethod::PrivateKeyJwt),
        }
    }

    /// The public keys of the client, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &Jwk> {
        self.auth.iter().flat_map(|auth| &auth.jwks).flat_map(|jwks| &jwks.keys)
    }

    /// The URL at which the client publishes its keys.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        self.auth.as_ref()?.jwks_uri.as_deref()
    }

    /// The ServiceAccounts whose tokens authenticate the client.
    pub fn service_accounts(&self) -> impl Iterator<Item = &ServiceAccountEntry> {
        let listed = self.auth.iter().flat_map(|auth| &auth.service_accounts).flatten();
        listed.filter(|entry| entry.is_allowed())
    }

    /// The subjects of other issuers whose tokens authenticate the client.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerEntry> {
        self.auth.iter().flat_map(|auth| &auth.issuers).flatten()
    }

    /// Whether tokens must be bound to a key of the client.
    #[must_use]
    pub fn sender_constraint(&self) -> SenderConstraint {
        self.token.as_ref().and_then(|token| token.sender_constraint).unwrap_or_default()
    }

    /// Token requests a minute; `None`: the default of the operator.
    #[must_use]
    pub fn requests_per_minute(&self) -> Option<NonZeroU32> {
        let given = self.token.as_ref()?.requests_per_minute?;
        u32::try_from(given).ok().and_then(NonZeroU32::new)
    }

    /// What identifies the certificates of the client, in their order.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateEntry> {
        self.auth.iter().flat_map(|auth| &auth.certificates).flatten()
    }

    /// Source networks from which the client may authenticate; `None`: all.
    #[must_use]
    pub fn networks(&self) -> Option<&[IpNet]> {
        self.auth.as_ref()?.networks.as_deref()
    }

    /// Token lifetime, before the operator's maximum.
    #[must_use]
    pub fn token_lifetime(&self) -> SignedDuration {
        self.token
            .as_ref()
            .and_then(|token| token.lifetime.as_ref())
            .map_or(TOKEN_LIFETIME_DEFAULT, ConfigDuration::length)
    }
}
