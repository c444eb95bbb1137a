//! The purposes that a credential may be used for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A purpose of a credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Usage {
    /// The client authenticates at the token endpoint.
    Token,
    /// The client authenticates at an API directly, with id and secret. The API calls the forward-auth endpoint.
    Direct,
    /// The client reads the state of its Application, and requests rotations, at the management endpoint.
    Manage,
}
