//! The claims of a token. Its signature is not verified: the caller may have no key, and the explanation does not make
//! the token more trustworthy.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::ExplainError;
use crate::api::client_id::is_client_id;
use crate::oauth::claims::OwnClaims;
use crate::oauth::token_checks::parse_claims;

/// The prefix of opaque tokens.
const OPAQUE_PREFIX: &str = "pat_";

/// A client id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ClientId(String);

impl ClientId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = ExplainError;

    fn try_from(text: String) -> Result<Self, ExplainError> {
        if is_client_id(&text) { Ok(Self(text)) } else { Err(ExplainError::ClientName) }
    }
}

/// A reference to a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ClientName {
    /// A text that is no valid name of an Application.
    Id(ClientId),
    /// A client id, or the name of an Application in the namespace of the flag or of the context.
    IdOrName(String),
    Application {
        namespace: String,
        name: String,
    },
}

impl ClientName {
    /// The name, unless `flag` names another namespace.
    pub(super) fn agreeing_with(self, flag: Option<&str>) -> Result<Self, ExplainError> {
        match (&self, flag) {
            (Self::Application { namespace, name }, Some(flag)) if flag != namespace => {
                Err(ExplainError::OtherNamespace { flag: flag.to_owned(), named: format!("{namespace}/{name}") })
            }
            _ => Ok(self),
        }
    }
}

/// Whether the text is a valid object name (RFC 1123 subdomain). A secret that was pasted by mistake is not.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.')
}

impl FromStr for ClientName {
    type Err = ExplainError;

    fn from_str(text: &str) -> Result<Self, ExplainError> {
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self::Application { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            Some(_) => Err(ExplainError::ClientName),
            None if is_name(text) => Ok(Self::IdOrName(text.to_owned())),
            None => ClientId::try_from(text.to_owned()).map(Self::Id),
        }
    }
}

/// The claims of a token as JSON, decoded.
pub(super) fn payload(token: &str) -> Result<Vec<u8>, ExplainError> {
    let token = token.trim();
    if token.starts_with(OPAQUE_PREFIX) {
        return Err(ExplainError::Opaque);
    }
    let mut parts = token.split('.').skip(1);
    let (Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ExplainError::NotAToken);
    };
    URL_SAFE_NO_PAD.decode(payload).map_err(|_| ExplainError::NotAToken)
}

/// Parses the claims, and the client id in them.
pub(super) fn parse(payload: &[u8]) -> Result<(OwnClaims<'_>, ClientId), ExplainError> {
    let claims = parse_claims(payload).map_err(|_| ExplainError::NotAToken)?;
    let client_id = ClientId::try_from(claims.client_id.to_string()).map_err(|_| ExplainError::NotAToken)?;
    Ok((claims, client_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_by_its_id_or_by_its_application() {
        let application = ClientName::Application { namespace: "billing".to_owned(), name: "sync.v2-a".to_owned() };
        assert_eq!("billing/sync.v2-a".parse::<ClientName>().unwrap(), application);
        for either in ["sync.v2-a", "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", &"x".repeat(253)] {
            assert_eq!(either.parse::<ClientName>().unwrap(), ClientName::IdOrName(either.to_owned()));
        }
        for id in ["Sync", "billing_sync", "~", "3F0C3A52-9D55-4D0E-8B6A-0F1F2A6F5C1E"] {
            assert!(matches!(id.parse(), Ok(ClientName::Id(found)) if found.as_str() == id), "{id}");
        }
        for text in ["", "/sync", "billing/", "a/b/c", "pst_k7Qd", "pat_k7Qd", "a b", "a+b", "Billing/sync"] {
            assert!(text.parse::<ClientName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_with_a_namespace_and_a_flag_with_another_contradict_each_other() {
        let name = |text: &str, flag| text.parse::<ClientName>().unwrap().agreeing_with(flag);
        assert!(name("billing/sync", None).is_ok() && name("billing/sync", Some("billing")).is_ok());
        assert!(name("sync", Some("ledger")).is_ok());
        let refused = name("billing/sync", Some("ledger")).unwrap_err();
        let said = "--namespace is ledger and the client is named billing/sync: leave one of the two namespaces out";
        assert_eq!((refused.to_string().as_str(), refused.exit_code()), (said, 2));
    }

    #[test]
    fn an_opaque_token_and_text_that_is_no_postern_jwt_have_different_errors() {
        let read = |token: &str| payload(token).and_then(|payload| parse(&payload).map(|(_, client_id)| client_id));
        assert!(matches!(read("pat_abc"), Err(ExplainError::Opaque)));
        let foreign = format!("a.{}.b", URL_SAFE_NO_PAD.encode(r#"{"iss":"https://other"}"#));
        for text in ["", "abc", "a.b", "a.b.c", "a.b.c.d", &foreign] {
            assert!(matches!(read(text), Err(ExplainError::NotAToken)), "{text}");
        }
    }
}
