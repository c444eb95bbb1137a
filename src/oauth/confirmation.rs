//! The key to which a token is bound: the claim `cnf` (RFC 7800 §3.1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `cnf` of a token: exactly one member. A value with another member, or with several, is no confirmation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Confirmation<'a> {
    /// The thumbprint of the key that signs DPoP proofs (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Key(#[serde(borrow)] Cow<'a, str>),
}

/// `token_type` of a bearer token (RFC 6750 §4).
const BEARER: &str = "Bearer";
/// `token_type` of a token that is bound to a key (RFC 9449 §5).
const DPOP: &str = "DPoP";

/// `token_type` of a token with this confirmation.
#[must_use]
pub fn token_type(confirmation: Option<&Confirmation<'_>>) -> &'static str {
    match confirmation {
        None => BEARER,
        Some(Confirmation::Key(_)) => DPOP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j5_a_confirmation_has_exactly_one_member() {
        let jkt = Confirmation::Key("abc".into());
        assert_eq!(serde_json::to_string(&jkt).unwrap(), r#"{"jkt":"abc"}"#);
        assert_eq!(serde_json::from_str::<Confirmation<'_>>(r#"{"jkt":"abc"}"#).unwrap(), jkt);
        for wrong in ["{}", r#"{"jkt":7}"#, r#"{"jwk":{}}"#, r#"{"jkt":"a","kid":"b"}"#, r#"{"jkt":"a","jkt":"b"}"#] {
            assert!(serde_json::from_str::<Confirmation<'_>>(wrong).is_err(), "{wrong}");
        }
    }
}
