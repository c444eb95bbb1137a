//! Application: an OAuth client that acts as one service user.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::ConfigDuration;
use super::schema;

/// `spec.token.lifetime` when it is absent.
///
/// A quarter of an hour: within RFC 9700's "short-lived", and long enough that the busiest client asks rarely.
pub const TOKEN_LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_mins(15);

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
pub struct ApplicationSpec {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::display_name")]
    pub display_name: Option<String>,
    /// Where the application lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::url")]
    pub url: Option<String>,
    /// What the application is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::description")]
    pub description: Option<String>,
    /// The ServiceUser, of the same namespace, that it acts as; changeable. The next token carries the new subject.
    pub service_user_ref: Reference,
    /// The client id: 1 to 128 letters, digits, `.`, `_`, `~` and `-`; immutable. Upper and lower case differ. It needs
    /// the verb `use` on `clientids.postern.dev/ID`. Absent: the object's UID. If another object has it already, Ready is
    /// False, reason `ClientIdTaken`, and the older object keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::client_id")]
    pub client_id: Option<String>,
    /// Narrows what the service user holds; can never widen it. Each list: absent = not narrowed, empty = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restrict_to: Option<Restriction>,
    /// How the client proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The tokens it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// true: the client is refused; reversible. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Reference {
    /// Its name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// Narrows a grant. An entry that is not held is reported and grants nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new(restriction_texts_rule())
    .message("roles, audiences and scopes must have at most 8192 characters together: shorten or remove some"))]
pub struct Restriction {
    /// Only what comes with these roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::roles")]
    pub roles: Option<Vec<String>>,
    /// Only these audiences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::audiences")]
    pub audiences: Option<Vec<String>>,
    /// Only these scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scopes")]
    pub scopes: Option<Vec<String>>,
}

/// Characters of everything in a `restrictTo` together. Each replica keeps them of every object.
const RESTRICTION_TEXTS_MAX: u32 = 8_192;

/// CEL: the texts are not too long together.
fn restriction_texts_rule() -> String {
    let texts = |field: &str| format!("(has(self.{field}) ? self.{field}.map(text, size(text)).sum() : 0)");
    format!("{} <= {RESTRICTION_TEXTS_MAX}", ["roles", "audiences", "scopes"].map(texts).join(" + "))
}

/// How the client proves who it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Auth {
    /// `token_endpoint_auth_method` names of RFC 7591. Absent: `client_secret_basic` and `client_secret_post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Option<Vec<AuthMethod>>,
}

/// A client authentication method, by its RFC 7591 §2 name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// Id and secret in the form (RFC 6749 §2.3.1).
    ClientSecretPost,
}

/// Settings of access tokens.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.idleTimeout) || (has(self.format) && self.format == 'Opaque')")
    .message("idleTimeout needs format: Opaque, because Postern does not see the use of a JWT; set the format, or leave idleTimeout out")
    .field_path(".idleTimeout"))]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// JWT (default): RFC 9068, verified by the API itself. Opaque: says nothing to who holds it; APIs ask the
    /// introspection endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TokenFormat>,
    /// Header `typ` of a JWT: at+jwt (default, RFC 9068), or JWT for verifiers that refuse at+jwt and cannot be changed.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<TokenType>,
    /// Opaque tokens only: a token that has not been used for this long has ended; at least 1m. Each introspection, call
    /// of userinfo or pass through forward authentication is a use. Absent: a token lives as long as `lifetime` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub idle_timeout: Option<ConfigDuration>,
    /// Longest life of a token: at least 1m, at most the operator's maximum (24h unless set otherwise). Default 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub lifetime: Option<ConfigDuration>,
    /// ES256 (default), or RS256 for verifiers that know nothing newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// Reject (default): a scope outside the grant is `invalid_scope`. Narrow: it is left out, and `scope` says what
    /// was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_policy: Option<ScopePolicy>,
    /// Scopes given when the request names none. Absent: all that is held for the chosen audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::some_scopes")]
    pub default_scopes: Option<Vec<String>>,
    /// Audience given when the request names none. Absent and only one is held: that one; several: `invalid_target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::audience")]
    pub default_audience: Option<String>,
    /// true: one token may carry several audiences, with the scopes that are held at every one of them. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_audiences: Option<bool>,
}

/// Form of an access token.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TokenFormat {
    /// RFC 9068.
    #[default]
    #[serde(rename = "JWT")]
    Jwt,
    /// `pat_…`, for introspection.
    Opaque,
}

/// Header `typ` of an access token that is a JWT: at+jwt (default, RFC 9068), or JWT for verifiers that refuse at+jwt and
/// cannot be changed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TokenType {
    /// As RFC 9068 §2.1 says: no other JWT passes for an access token.
    #[default]
    #[serde(rename = "at+jwt")]
    AccessToken,
    /// What verifiers know that are older than RFC 9068.
    #[serde(rename = "JWT")]
    Jwt,
}

/// JWS algorithm (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// What happens to a requested scope that is not held (RFC 6749 §3.3).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ScopePolicy {
    /// `invalid_scope`.
    #[default]
    Reject,
    /// Left out.
    Narrow,
}

/// What the controller says of an Application.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// `metadata.generation` that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The client id in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The token's `sub`: UID of the service user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Raised when the effective authority changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Digest of the effective authority that `epoch` stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Effective permissions: service user ∩ restrictTo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<EffectivePermission>>,
    /// Effective roles, sorted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// How many secrets it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretCount>,
    /// `Ready`, `ServiceUserResolved`, and `Narrowed` while restrictTo names something that is not held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// An audience and the scopes held there.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct EffectivePermission {
    /// What lands in `aud`.
    pub audience: String,
    /// Scopes held there, sorted.
    pub scopes: Vec<String>,
}

/// How many secrets an application has.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretCount {
    /// Those that authenticate.
    pub active: i64,
    /// All of them.
    pub total: i64,
    /// The most that count.
    pub limit: i64,
    /// `active/total`.
    pub summary: String,
}

impl ApplicationSpec {
    /// Whether it is switched off.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    /// The client id that this object claims: its own choice, or its UID.
    #[must_use]
    pub fn claimed_client_id<'a>(&'a self, metadata: &'a ObjectMeta) -> &'a str {
        self.client_id.as_deref().or(metadata.uid.as_deref()).unwrap_or_default()
    }

    /// Whether the client may authenticate with `method`.
    #[must_use]
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.auth.as_ref().and_then(|auth| auth.methods.as_ref()).is_none_or(|methods| methods.contains(&method))
    }

    /// Longest life of a token, before the operator's maximum.
    #[must_use]
    pub fn token_lifetime(&self) -> SignedDuration {
        self.token
            .as_ref()
            .and_then(|token| token.lifetime.as_ref())
            .map_or(TOKEN_LIFETIME_DEFAULT, ConfigDuration::length)
    }
}
