//! The source of a credential's value.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema;

/// The source of the value.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Source {
    /// The Secret to import the value from. Postern never rotates an imported value. A change of it is a new version
    /// immediately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingSecret>,
}

/// A Secret of the same namespace with the value to import.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingSecret {
    /// Name of the Secret. The Secret must have the label postern.dev/import: "true", with which its owner allows the
    /// import.
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
    /// Key of the value in the Secret. The value must have 16 to 256 characters.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}
