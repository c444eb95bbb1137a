//! The purposes that a credential may be used for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A purpose of a credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Usage {
    /// Authenticates at the token endpoint.
    Token,
    /// Authenticates at an API directly with id and secret; the API calls the forward-auth endpoint.
    Direct,
    /// Reads the state of its application at the management endpoint.
    Manage,
}
