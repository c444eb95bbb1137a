//! Where the value of a credential comes from.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema;

/// Where the value comes from.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Source {
    /// A value brought from elsewhere. It is never rotated by Postern; a change of it is a new version at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingSecret>,
}

/// A Secret of the same namespace that holds a value brought from elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingSecret {
    /// Its name. It has to carry the label postern.dev/import: "true", by which its owner allows the import.
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
    /// The key under which the value is: 16 to 256 characters.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}
