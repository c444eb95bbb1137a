//! What a credential may be used for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A purpose of a credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Use {
    /// Authenticates at the token endpoint.
    Token,
    /// Id and secret authenticate at an API directly, which asks the forward-auth endpoint.
    Direct,
    /// Reads about its own application at the management endpoint.
    Manage,
}
