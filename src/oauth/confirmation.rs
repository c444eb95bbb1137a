//! What a token is bound to: the claim `cnf` (RFC 7800 §3.1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `cnf` of a token: exactly one member. A value with another member, or with several, is no confirmation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Confirmation<'a> {
    /// The thumbprint of the key that signs DPoP proofs (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Key(#[serde(borrow)] Cow<'a, str>),
    /// The base64url-encoded SHA-256 of the certificate of the client (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    Certificate(#[serde(borrow)] Cow<'a, str>),
}

/// `token_type` of a bearer token (RFC 6750 §4).
const BEARER: &str = "Bearer";
/// `token_type` of a token that is bound to a key (RFC 9449 §5).
const DPOP: &str = "DPoP";

/// `token_type` of a token with this confirmation. A token that is bound to a certificate is sent like a bearer token
/// (RFC 8705 §3).
#[must_use]
pub fn token_type(confirmation: Option<&Confirmation<'_>>) -> &'static str {
    match confirmation {
        None | Some(Confirmation::Certificate(_)) => BEARER,
        Some(Confirmation::Key(_)) => DPOP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j5_a_confirmation_has_exactly_one_member() {
        for (confirmation, json) in [
            (Confirmation::Key("abc".into()), r#"{"jkt":"abc"}"#),
            (Confirmation::Certificate("abc".into()), r#"{"x5t#S256":"abc"}"#),
        ] {
            assert_eq!(serde_json::to_string(&confirmation).unwrap(), json);
            assert_eq!(serde_json::from_str::<Confirmation<'_>>(json).unwrap(), confirmation);
        }
        for wrong in [
            "{}",
            r#"{"jkt":7}"#,
            r#"{"x5t#S256":null}"#,
            r#"{"x5t":"a"}"#,
            r#"{"jwk":{}}"#,
            r#"{"jkt":"a","kid":"b"}"#,
            r#"{"jkt":"a","jkt":"b"}"#,
            r#"{"jkt":"a","x5t#S256":"b"}"#,
        ] {
            assert!(serde_json::from_str::<Confirmation<'_>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn x5_a_token_that_is_bound_to_a_certificate_is_sent_as_a_bearer_token() {
        assert_eq!(token_type(Some(&Confirmation::Certificate("abc".into()))), "Bearer");
        assert_eq!(token_type(Some(&Confirmation::Key("abc".into()))), "DPoP");
    }
}
