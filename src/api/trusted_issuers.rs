//! Issuers whose tokens authenticate a client.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema;

/// Maximum number of entries of an Application.
const ENTRIES_MAX: usize = 20;

/// A subject of an issuer whose tokens authenticate the client, such as a pipeline or a pod of another cluster.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerEntry {
    /// The claim `iss`, exactly: an https URL, with a host that the operator allows. Postern reads its metadata (OpenID
    /// Connect Discovery) and its keys in the background. Up to 2048 characters.
    #[schemars(schema_with = "schema::issuer")]
    pub issuer: String,
    /// The claim `sub`, exactly; there are no wildcards.
    #[schemars(schema_with = "schema::subject")]
    pub subject: String,
    /// The claim `aud`, exactly, as the only audience. Default: the issuer of Postern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::audience")]
    pub audience: Option<String>,
}

/// 1 to 20 entries, each subject of an issuer once.
pub(super) fn issuers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": ENTRIES_MAX,
        "items": generator.subschema_for::<IssuerEntry>(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["issuer", "subject"],
    })
}
