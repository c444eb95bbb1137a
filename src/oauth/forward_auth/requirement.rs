//! What a proxy requires of a request, strictly read: what is mistyped must not turn into "nothing is required".

use crate::oauth::client::ObjectRevision;
use crate::oauth::form::Form;
use crate::oauth::forward_auth::{AccessError, Malformed, Missing};
use crate::oauth::scope;

/// What whoever calls the API has to hold.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Requirement<'a> {
    /// The API; `None`: any.
    pub audience: Option<&'a str>,
    /// Scopes, all of them.
    pub scopes: Vec<&'a str>,
}

impl<'a> Requirement<'a> {
    /// Reads a query: `audience` and `scope`, each at most once and never empty, and nothing else. A token or a secret in
    /// the query is thereby refused too (RFC 6750 §2).
    ///
    /// # Errors
    /// [`Malformed::Query`]
    pub fn parse(query: &'a Form<'a>) -> Result<Self, Malformed> {
        let mut requirement = Self::default();
        for (name, value) in query.pairs() {
            match name {
                "audience" if !value.is_empty() => requirement.audience = Some(value),
                "scope" => requirement.scopes = scope::parse(value).ok_or(Malformed::Query)?,
                _ => return Err(Malformed::Query),
            }
        }
        Ok(requirement)
    }

    /// The same from a list of audiences and one of scopes, as headers bring them.
    ///
    /// # Errors
    /// [`Malformed::Header`]
    pub fn of_headers(audiences: &[&'a str], scopes: &[&'a str]) -> Result<Self, Malformed> {
        let audience = match audiences {
            [] => None,
            [only] if !only.is_empty() => Some(*only),
            _ => return Err(Malformed::Header),
        };
        let scopes = match scopes {
            [] => Vec::new(),
            [only] => scope::parse(only).ok_or(Malformed::Header)?,
            _ => return Err(Malformed::Header),
        };
        // Whoever has the proxy send nothing has most likely put the requirement elsewhere.
        if audience.is_none() && scopes.is_empty() {
            return Err(Malformed::Header);
        }
        Ok(Self { audience, scopes })
    }

    pub(in crate::oauth) fn not_met(&self, missing: Missing, object: Option<&ObjectRevision>) -> AccessError {
        let scope = (!self.scopes.is_empty()).then(|| self.scopes.join(" "));
        AccessError::Insufficient { missing, scope, object: object.cloned() }
    }
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
    fn a_query_says_what_is_required() {
        let read = |audience: Option<&str>, scopes: &[&str]| {
            Some((audience.map(str::to_owned), scopes.iter().map(|scope| (*scope).to_owned()).collect()))
        };
        assert_eq!(parse(""), read(None, &[]));
        assert_eq!(
            parse("audience=https://a.example.com&scope=b+a%20b"),
            read(Some("https://a.example.com"), &["b", "a"])
        );
    }

    #[test]
    fn what_is_mistyped_is_refused_and_never_taken_for_no_requirement() {
        for query in [
            "scopes=a",
            "Scope=a",
            "scope",
            "scope=",
            "scope=a&scope=b",
            "scope=a++b",
            "scope=%22",
            "audience=",
            "audience=a&audience=b",
            "resource=a",
            "access_token=x",
            "client_secret=x",
            "scope=%FF",
        ] {
            assert_eq!(parse(query), None, "{query}");
        }
    }

    #[test]
    fn headers_require_something() {
        let (audience, scope) = (["a"], ["b c"]);
        assert_eq!(
            Requirement::of_headers(&audience, &scope),
            Ok(Requirement { audience: Some("a"), scopes: vec!["b", "c"] })
        );
        assert!(Requirement::of_headers(&audience, &[]).is_ok() && Requirement::of_headers(&[], &scope).is_ok());
        for (audiences, scopes) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["a", "a"], &[]),
            (&[], &[""]),
            (&["a"], &["b", "c"]),
            (&["a"], &["\""]),
        ] {
            assert_eq!(Requirement::of_headers(audiences, scopes), Err(Malformed::Header), "{audiences:?} {scopes:?}");
        }
    }
}
