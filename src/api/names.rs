//! Names that are part of the API: labels, annotations, field managers, keys of the delivered Secret.

/// API group of every kind.
pub const GROUP: &str = "postern.dev";
/// Field manager of the controller.
pub const FIELD_MANAGER: &str = "postern";
/// Field manager of the endpoint, on the objects that each replica publishes.
pub const ENDPOINT_FIELD_MANAGER: &str = "postern-endpoint";

/// Label on every object that Postern creates.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "postern";
/// Label with the role of a Secret. Secrets are watched by this label, and no other Secret is read.
pub const COMPONENT_LABEL: &str = "postern.dev/component";
/// Value of [`COMPONENT_LABEL`] on delivered credentials.
pub const CREDENTIAL: &str = "credential";

/// Value of [`COMPONENT_LABEL`] on the Lease by which a replica reports that it is live.
pub const REPLICA: &str = "replica";

/// Annotation of a delivered Secret: id of the version in it.
pub const VERSION_ANNOTATION: &str = "postern.dev/version";
/// Annotation of a delivered Secret: digest of all content that is not secret, so that a change is detected from
/// metadata alone.
pub const CONTENT_ANNOTATION: &str = "postern.dev/content";
/// Annotation of a delivered Secret: when the version in it was issued (RFC 3339).
pub const ISSUED_ANNOTATION: &str = "postern.dev/issued-at";
/// Annotation of a delivered Secret: the MAC by which Postern identifies a value that it delivered.
pub const MAC_ANNOTATION: &str = "postern.dev/mac";
/// Annotation of a delivered Secret: the names of everything that Postern wrote into it, so that Postern can remove
/// what is no longer desired.
pub const KEYS_ANNOTATION: &str = "postern.dev/keys";
/// Annotation of the Secret with the install keys: when unproven values were adopted after the previous key was lost.
pub const RECOVERED_ANNOTATION: &str = "postern.dev/recovered-at";
/// Annotation of the Secret with the endpoint's certificate: a request to replace the CA. Postern removes it. Also of a Secret
/// with rotating keys: a request to replace the active keys, once for each value.
pub const ROTATE_ANNOTATION: &str = "postern.dev/rotate";
/// Annotation of an Application: a new value ends the locks of its secrets.
pub const UNLOCK_ANNOTATION: &str = "postern.dev/unlock";
/// Annotation of a Namespace: service users in it must be at or below this location.
pub const LOCATION_ANNOTATION: &str = "postern.dev/location";
/// Annotation of a user's object: its creator. The API server sets and protects it by policies of the chart.
pub const CREATED_BY: &str = "postern.dev/created-by";

/// Type of the delivered Secret, as in the Service Binding Specification's convention.
pub const SECRET_TYPE: &str = "servicebinding.io/oauth2";

/// Annotation of a pod template, followed by a digest of a ClientSecret: the version for which its pods were restarted.
pub const ROLLOUT_ANNOTATION_PREFIX: &str = "postern.dev/restarted-for-";

/// Label by which the owner of a Secret allows its value to be imported.
pub const IMPORT_LABEL: &str = "postern.dev/import";
/// Value of [`IMPORT_LABEL`].
pub const IMPORT_ALLOWED: &str = "true";
