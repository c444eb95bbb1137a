//! What a proxy requires of a request. Parsing is strict: a typing error must not turn into "nothing is required".

use crate::oauth::client_record::ObjectRevision;
use crate::oauth::form::Form;
use crate::oauth::forward_auth::{AccessError, Malformed, Missing};
use crate::oauth::scope;

/// What the caller of the API must have.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Requirement<'a> {
    /// The API; `None`: any, or none.
    pub audience: Option<&'a str>,
    /// Scopes, all of them.
    pub scopes: Vec<&'a str>,
}

/// The prefix of our header names, in lower case.
const OURS: &str = "x-postern-";
/// The prefix of the rest of a name that defines a requirement.
const REQUIRE: &str = "require-";
/// The rests of the header names that the API gets. A client may send such a header; it is ignored.
const IDENTITY: [&str; 4] = ["subject", "client-id", "roles", "scope"];

impl<'a> Requirement<'a> {
    /// Reads a query: `audience` or `anyone=true`, and `scope`, each at most once and never empty, and nothing else.
    /// This also refuses a token or a secret in the query (RFC 6750 §2).
    ///
    /// # Errors
    /// [`Malformed::Query`], [`Malformed::NoAudience`]
    pub fn parse(query: &'a Form<'a>) -> Result<Self, Malformed> {
        Self::of_fields(query.pairs(), Malformed::Query)
    }

    /// Reads a requirement from headers: `X-Postern-Require-Audience` and so on. Any other header of Postern is probably
    /// mistyped.
    ///
    /// # Errors
    /// [`Malformed::Header`], [`Malformed::NoAudience`]
    pub fn of_headers(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Malformed> {
        let required = headers.into_iter().filter_map(|(name, value)| {
            let field = asked(name)?.strip_prefix(REQUIRE).unwrap_or_default();
            // A value that is not text is an error, like an empty one.
            Some((field, std::str::from_utf8(value).unwrap_or_default()))
        });
        Self::of_fields(required, Malformed::Header)
    }

    /// Whether a header of this name, in lower case, can only be a requirement.
    #[must_use]
    pub fn is_header(name: &str) -> bool {
        asked(name).is_some()
    }

    fn of_fields(
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        malformed: Malformed,
    ) -> Result<Self, Malformed> {
        let (mut audience, mut scopes, mut anyone) = (None, None, None);
        for (name, value) in fields {
            let is_new = match name {
                "audience" if !value.is_empty() => audience.replace(value).is_none(),
                "scope" => scopes.replace(scope::parse(value).ok_or(malformed)?).is_none(),
                "anyone" if value == "true" => anyone.replace(()).is_none(),
                _ => false,
            };
            if !is_new {
                return Err(malformed);
            }
        }
        if audience.is_some() == anyone.is_some() {
            return Err(Malformed::NoAudience);
        }
        Ok(Self { audience, scopes: scopes.unwrap_or_default() })
    }

    pub(in crate::oauth) fn not_met(&self, missing: Missing, object: Option<&ObjectRevision>) -> AccessError {
        let scope = (!self.scopes.is_empty()).then(|| self.scopes.join(" "));
        AccessError::Insufficient { missing, scope, object: object.cloned() }
    }
}

/// The rest of the name of a header of Postern that is not for the API.
fn asked(name: &str) -> Option<&str> {
    name.strip_prefix(OURS).filter(|rest| !IDENTITY.contains(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Option<(Option<String>, Vec<String>)> {
        let form = Form::parse(query.as_bytes()).ok()?;
        let requirement = Requirement::parse(&form).ok()?;
        Some((requirement.audience.map(str::to_owned), requirement.scopes.into_iter().map(str::to_owned).collect()))
    }

    #[test]
    fn a_query_defines_the_requirement() {
        let read = |audience: Option<&str>, scopes: &[&str]| {
            Some((audience.map(str::to_owned), scopes.iter().map(|scope| (*scope).to_owned()).collect()))
        };
        assert_eq!(parse("anyone=true"), read(None, &[]));
        assert_eq!(parse("scope=a&anyone=true"), read(None, &["a"]));
        assert_eq!(
            parse("audience=https://a.example.com&scope=b+a%20b"),
            read(Some("https://a.example.com"), &["b", "a"])
        );
    }

    #[test]
    fn a_mistyped_query_is_refused_and_never_treated_as_no_requirement() {
        for query in [
            "scopes=a",
            "Scope=a",
            "scope",
            "scope=",
            "scope=a&scope=b",
            "scope=a++b",
            "scope=%22",
            "audience=b&audience=c",
            "audience=",
            "anyone=yes",
            "anyone=false",
            "anyone",
            "anyone=true",
            "resource=a",
            "access_token=x",
            "client_secret=x",
            "scope=%FF",
        ] {
            for required in ["audience=a", "anyone=true"] {
                assert_eq!(parse(&format!("{required}&{query}")), None, "{required}&{query}");
            }
        }
    }

    #[test]
    fn an_audience_or_anyone_is_required_and_not_both() {
        for query in ["", "scope=a", "audience=a&anyone=true"] {
            let form = Form::parse(query.as_bytes()).unwrap();
            assert_eq!(Requirement::parse(&form), Err(Malformed::NoAudience), "{query}");
        }
    }

    fn of_headers<'a>(headers: &[(&'a str, &'a str)]) -> Result<Requirement<'a>, Malformed> {
        Requirement::of_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn headers_define_the_same_requirement() {
        let (audience, scope) = (("x-postern-require-audience", "a"), ("x-postern-require-scope", "b c"));
        let anyone = ("x-postern-require-anyone", "true");
        assert_eq!(
            of_headers(&[("host", "x"), ("x-postern-subject", "forged"), audience, scope]),
            Ok(Requirement { audience: Some("a"), scopes: vec!["b", "c"] })
        );
        assert_eq!(of_headers(&[anyone, scope]), Ok(Requirement { audience: None, scopes: vec!["b", "c"] }));
        for headers in [&[][..], &[scope], &[audience, anyone]] {
            assert_eq!(of_headers(headers), Err(Malformed::NoAudience), "{headers:?}");
        }
        for wrong in [
            ("x-postern-require-audience", "b"),
            ("x-postern-require-audience", ""),
            ("x-postern-require-scope", ""),
            ("x-postern-require-scope", "\""),
            ("x-postern-require-scopes", "admin"),
            ("x-postern-require-roles", "admin"),
            ("x-postern-audience", "a"),
            ("x-postern-required-scope", "a"),
            ("x-postern-require-", "a"),
            ("x-postern-require-anyone", "1"),
        ] {
            assert_eq!(of_headers(&[audience, wrong]), Err(Malformed::Header), "{wrong:?}");
        }
        let not_text = [("x-postern-require-audience", &b"\xff"[..])];
        assert_eq!(Requirement::of_headers(not_text), Err(Malformed::Header));
    }
}
