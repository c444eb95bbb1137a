//! A token request, parsed into what the protocol allows it to be.

use url::Url;

use crate::oauth::error::{RequestError, TokenError};
use crate::oauth::form::Form;
use crate::oauth::scope;

/// The grants that exist here. The metadata lists exactly these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
}

impl GrantType {
    /// Every grant.
    pub const ALL: &[Self] = &[Self::ClientCredentials];

    /// The value of `grant_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// What a request asks for. Client credentials are not part of it.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The grant.
    pub grant_type: GrantType,
    /// Scopes, each once, in the order of the request; `None`: the request names none.
    pub scopes: Option<Vec<&'a str>>,
    /// Audiences named by `resource` (RFC 8707) and `audience` together, each once. Empty: the request names none.
    pub audiences: Vec<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Reads a request from a decoded body. Unknown parameters are ignored (RFC 6749 §3.2).
    ///
    /// # Errors
    /// Without a grant [`RequestError::MissingGrantType`], with an unknown one [`TokenError::UnsupportedGrantType`],
    /// then what is wrong with `scope` ([`TokenError::ScopeSyntax`]) and `resource` ([`TokenError::TargetSyntax`]).
    pub fn parse(form: &'a Form<'a>) -> Result<Self, TokenError> {
        let grant_type = form.one("grant_type").ok_or(RequestError::MissingGrantType)?;
        let known = GrantType::ALL.iter().find(|known| known.name() == grant_type);
        let grant_type = *known.ok_or(TokenError::UnsupportedGrantType)?;
        let scopes = match form.one("scope") {
            Some(text) => Some(scope::parse(text).ok_or(TokenError::ScopeSyntax)?),
            None => None,
        };
        let mut audiences: Vec<&str> = form.all("resource").collect();
        if !audiences.iter().all(|resource| is_resource(resource)) {
            return Err(TokenError::TargetSyntax);
        }
        audiences.extend(form.one("audience"));
        if audiences.len() > 1 {
            let mut seen = std::collections::HashSet::with_capacity(audiences.len());
            audiences.retain(|audience| seen.insert(*audience));
        }
        Ok(Self { grant_type, scopes, audiences })
    }
}

/// RFC 8707 §2: an absolute URI without a fragment.
fn is_resource(text: &str) -> bool {
    !text.contains('#') && text.bytes().all(|byte| byte.is_ascii_graphic()) && Url::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<(Option<Vec<String>>, Vec<String>), TokenError> {
        let form = Form::parse(body.as_bytes()).map_err(TokenError::from)?;
        let request = TokenRequest::parse(&form)?;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Ok((request.scopes.as_deref().map(owned), owned(&request.audiences)))
    }

    #[test]
    fn t8_the_grant_is_required_and_must_be_known() {
        assert!(matches!(parse(""), Err(TokenError::Request(RequestError::MissingGrantType))));
        assert!(matches!(parse("grant_type="), Err(TokenError::Request(RequestError::MissingGrantType))));
        for unknown in ["password", "Client_Credentials", "client_credentials+", "authorization_code"] {
            assert!(
                matches!(parse(&format!("grant_type={unknown}")), Err(TokenError::UnsupportedGrantType)),
                "{unknown}"
            );
        }
    }

    #[test]
    fn t5_unknown_parameters_and_empty_ones_are_ignored() {
        let (scopes, audiences) =
            parse("grant_type=client_credentials&scope=&resource=&audience=&colour=blue").unwrap();
        assert_eq!((scopes, audiences), (None, vec![]));
    }

    #[test]
    fn g5_a_resource_is_an_absolute_uri_without_fragment() {
        for wrong in ["relative/path", "https://a.example.com/%23x%23", "a%20b:c", "%23", "billing"] {
            let body = format!("grant_type=client_credentials&resource={}", wrong.replace("%23x", "#x"));
            assert!(matches!(parse(&body), Err(TokenError::TargetSyntax)), "{wrong}");
        }
        let body = "grant_type=client_credentials&resource=https://a.example.com&resource=urn:b&resource=urn:b";
        assert_eq!(parse(body).unwrap().1, ["https://a.example.com", "urn:b"]);
    }

    #[test]
    fn g6_audience_names_an_audience_too_and_may_be_any_string() {
        let body = "grant_type=client_credentials&resource=urn:b&audience=my+api";
        assert_eq!(parse(body).unwrap().1, ["urn:b", "my api"]);
        assert_eq!(parse("grant_type=client_credentials&resource=urn:b&audience=urn:b").unwrap().1, ["urn:b"]);
    }
}
