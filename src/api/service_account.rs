//! ServiceAccounts whose tokens authenticate a client.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::schema;

/// Maximum number of ServiceAccounts of an Application.
const ENTRIES_MAX: usize = 20;

/// A ServiceAccount of the namespace of the Application. Its pods authenticate with their projected token.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name != 'default' || (has(self.allowDefault) && self.allowDefault)")
    .message("every pod without a ServiceAccount of its own uses the account default: create a ServiceAccount for the client, or set allowDefault: true")
    .field_path(".name"))]
pub struct ServiceAccountEntry {
    /// Name of the ServiceAccount.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Only the ServiceAccount with this UID. An account that was deleted and created again has another one. Empty or
    /// absent: each ServiceAccount with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid_or_empty")]
    pub uid: Option<String>,
    /// true: `name` may be `default`, the ServiceAccount of every pod that names none. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_default: Option<bool>,
}

impl ServiceAccountEntry {
    /// The only UID; `None`: each.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref().filter(|uid| !uid.is_empty())
    }

    /// Whether the account may authenticate. The API server refuses others.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.name != "default" || self.allow_default.unwrap_or_default()
    }
}

/// 1 to 20 ServiceAccounts, each once.
pub(super) fn service_accounts(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": ENTRIES_MAX,
        "items": generator.subschema_for::<ServiceAccountEntry>(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}
