//! Bodies of answers (RFC 6749 §5).

use std::fmt;

use serde::Serialize;

use crate::oauth::error::WireError;

/// A token response (RFC 6749 §5.1). There is no refresh token (§4.4.3).
#[derive(Serialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// `Bearer`, or `DPoP` for a token that is bound to a key.
    pub token_type: &'static str,
    /// Remaining life in seconds; positive.
    pub expires_in: i64,
    /// The granted scopes; always present.
    pub scope: String,
}

impl TokenResponse {
    /// The JSON body.
    ///
    /// # Errors
    /// None in practice: the body consists of strings and a number.
    pub fn body(&self) -> serde_json::Result<Vec<u8>> {
        // The names and the braces take some 80 bytes.
        let mut body = Vec::with_capacity(self.access_token.len() + self.scope.len() + 128);
        serde_json::to_writer(&mut body, self)?;
        Ok(body)
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The body of an error (RFC 6749 §5.2, RFC 6750 §3).
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) error: &'a str,
    pub(super) error_description: &'a str,
}

impl WireError {
    /// The JSON body (RFC 6749 §5.2).
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let body = ErrorBody { error: self.code.as_str(), error_description: self.description };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}
