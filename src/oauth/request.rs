//! A token request, parsed and checked against the protocol.

use url::Url;

use crate::oauth::error::{RequestError, TokenError};
use crate::oauth::form::Form;
use crate::oauth::scope::{self, AudienceScope};

/// The supported grants. The metadata lists exactly these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 7523 §2.1.
    JwtBearer,
}

impl GrantType {
    /// Every grant.
    pub const ALL: &[Self] = &[Self::ClientCredentials, Self::JwtBearer];

    /// The value of `grant_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }
}

/// What a request asks for, without client credentials.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The grant.
    pub grant_type: GrantType,
    /// Scopes, each once, in the order of the request; `None`: the request names none.
    pub scopes: Option<Vec<&'a str>>,
    /// Audiences named by `resource` (RFC 8707), `audience` and scopes together, each once. Empty: none requested.
    pub audiences: Vec<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Reads a request from a decoded body. Unknown parameters are ignored (RFC 6749 §3.2). A scope that names an
    /// audience is read as an audience and is not kept as a scope.
    ///
    /// # Errors
    /// Without a grant [`RequestError::MissingGrantType`], with an unknown one [`TokenError::UnsupportedGrantType`],
    /// then errors of `scope` ([`TokenError::ScopeSyntax`]) and `resource` ([`TokenError::TargetSyntax`]).
    pub fn parse(form: &'a Form<'a>, patterns: &[AudienceScope]) -> Result<Self, TokenError> {
        let grant_type = form.one("grant_type").ok_or(RequestError::MissingGrantType)?;
        let known = GrantType::ALL.iter().find(|known| known.name() == grant_type);
        let grant_type = *known.ok_or(TokenError::UnsupportedGrantType)?;
        let mut scopes = match form.one("scope") {
            Some(text) => scope::parse(text).ok_or(TokenError::ScopeSyntax)?,
            None => Vec::new(),
        };
        let mut audiences: Vec<&str> = form.all("resource").collect();
        if !audiences.iter().all(|resource| is_resource(resource)) {
            return Err(TokenError::TargetSyntax);
        }
        audiences.extend(form.one("audience"));
        scopes.retain(|scope| {
            let audience = patterns.iter().find_map(|pattern| pattern.audience_of(scope));
            audiences.extend(audience);
            audience.is_none()
        });
        if audiences.len() > 1 {
            let mut seen = std::collections::HashSet::with_capacity(audiences.len());
            audiences.retain(|audience| seen.insert(*audience));
        }
        Ok(Self { grant_type, scopes: (!scopes.is_empty()).then_some(scopes), audiences })
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
        let alias = "urn:zitadel:iam:org:project:id:{id}:aud".parse().unwrap();
        let request = TokenRequest::parse(&form, &[AudienceScope::native(), alias])?;
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

    #[test]
    fn an_audience_named_by_a_scope_is_the_same_as_one_named_by_resource() {
        let parse = |rest: &str| parse(&format!("grant_type=client_credentials&{rest}")).unwrap();
        let named = parse("resource=urn:b");
        assert_eq!(parse("scope=urn:postern:aud:urn:b"), named);
        assert_eq!(parse("scope=urn:zitadel:iam:org:project:id:urn:b:aud"), named);
        let (scopes, audiences) = parse("scope=read+urn:postern:aud:urn:b+urn:postern:aud:urn:c+write&audience=urn:c");
        assert_eq!(scopes.unwrap(), ["read", "write"]);
        assert_eq!(audiences, ["urn:c", "urn:b"]);
    }
}
