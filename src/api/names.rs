//! Names that others rely on: labels, annotations, field managers, keys of the delivered Secret.

/// API group of every kind.
pub const GROUP: &str = "postern.dev";
/// Field manager of the controller.
pub const FIELD_MANAGER: &str = "postern";

/// Label on every object that Postern creates.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "postern";
/// Label that says which part a Secret plays; Secrets are watched by it, and no other Secret is read.
pub const COMPONENT_LABEL: &str = "postern.dev/component";
/// Value of [`COMPONENT_LABEL`] on delivered credentials.
pub const CREDENTIAL: &str = "credential";

/// Annotation of a delivered Secret: id of the version it holds.
pub const VERSION_ANNOTATION: &str = "postern.dev/version";
/// Annotation of a delivered Secret: digest of everything in it that is not secret, so that a change of it is seen in
/// metadata alone.
pub const CONTENT_ANNOTATION: &str = "postern.dev/content";
/// Annotation of a delivered Secret: when the version it holds was issued (RFC 3339).
pub const ISSUED_ANNOTATION: &str = "postern.dev/issued-at";
/// Annotation of a Namespace: service users in it lie at or below this location.
pub const LOCATION_ANNOTATION: &str = "postern.dev/location";

/// Type of the delivered Secret, by the Service Binding Specification's convention.
pub const SECRET_TYPE: &str = "servicebinding.io/oauth2";

/// Keys of the delivered Secret.
pub mod keys {
    /// `client_id` (RFC 6749 §2.2).
    pub const CLIENT_ID: &str = "client-id";
    /// `client_secret` (RFC 6749 §2.3.1).
    pub const CLIENT_SECRET: &str = "client-secret";
    /// URL of the token endpoint.
    pub const TOKEN_URI: &str = "token-uri";
    /// The issuer identifier (RFC 8414 §2).
    pub const ISSUER_URI: &str = "issuer-uri";
    /// URL of the JSON Web Key Set.
    pub const JWKS_URI: &str = "jwks-uri";
    /// Scopes that the credential holds, separated by spaces.
    pub const SCOPES: &str = "scopes";
    /// `oauth2`, a well-known entry of the Service Binding Specification.
    pub const TYPE: &str = "type";
    /// `postern`, a well-known entry of the Service Binding Specification.
    pub const PROVIDER: &str = "provider";
}
