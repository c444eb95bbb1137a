//! Scope syntax (RFC 6749 §3.3), and the scopes with a meaning for Postern.

/// Permits userinfo.
pub const OPENID: &str = "openid";
/// Name of the service user.
pub const PROFILE: &str = "profile";
/// E-mail address of the service user.
pub const EMAIL: &str = "email";
/// What OpenID Connect Core §5.4 calls scopes for claims. Every client has them: they concern its own identity.
pub const OIDC_SCOPES: [&str; 3] = [OPENID, PROFILE, EMAIL];
/// A client with this scope at an API can introspect every token for that API.
pub const INTROSPECT: &str = "introspect";

/// Whether the scope concerns the client's own identity and grants no permission.
#[must_use]
pub fn is_oidc_scope(scope: &str) -> bool {
    OIDC_SCOPES.contains(&scope)
}

/// The scopes of a request in their order, each once. `None`: not `scope-token *( SP scope-token )`.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<&str>> {
    let mut scopes: Vec<&str> = text.split(' ').collect();
    if !scopes.iter().all(|scope| is_token(scope)) {
        return None;
    }
    if scopes.len() > 1 {
        let mut seen = std::collections::HashSet::with_capacity(scopes.len());
        scopes.retain(|scope| seen.insert(*scope));
    }
    Some(scopes)
}

/// `1*( %x21 / %x23-5B / %x5D-7E )`
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Scopes that name an audience, for clients that can send only scopes: a text that contains `{id}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AudienceScope {
    prefix: String,
    suffix: String,
}

/// Why a text cannot be an [`AudienceScope`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be a scope with {{id}} once in it and a text before it, such as urn:zitadel:iam:org:project:id:{{id}}:aud"
)]
pub struct MalformedAudienceScope;

impl AudienceScope {
    /// The scope is reserved by Postern.
    #[must_use]
    pub fn native() -> Self {
        Self { prefix: "urn:postern:aud:".to_owned(), suffix: String::new() }
    }

    /// The audience that `scope` names, if any.
    #[must_use]
    pub fn audience_of<'s>(&self, scope: &'s str) -> Option<&'s str> {
        scope.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())
    }
}

impl std::str::FromStr for AudienceScope {
    type Err = MalformedAudienceScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, suffix) = text.split_once("{id}").ok_or(MalformedAudienceScope)?;
        let well_formed = is_token(prefix) && (suffix.is_empty() || is_token(suffix)) && !suffix.contains("{id}");
        let pattern = Self { prefix: prefix.to_owned(), suffix: suffix.to_owned() };
        if well_formed { Ok(pattern) } else { Err(MalformedAudienceScope) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_scopes_keep_their_order_and_duplicates_collapse() {
        assert_eq!(parse("b a b c a"), Some(vec!["b", "a", "c"]));
        assert_eq!(parse("!#[]~"), Some(vec!["!#[]~"]));
        assert_eq!(parse("a A"), Some(vec!["a", "A"]));
    }

    #[test]
    fn g2_other_characters_and_other_white_space_are_refused() {
        for text in ["", " ", " a", "a ", "a  b", "a\tb", "a\nb", "a\"b", "a\\b", "é", "a\u{7f}", "a\0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_audience_is_the_part_of_a_scope_in_place_of_the_id() {
        let alias: AudienceScope = "urn:zitadel:iam:org:project:id:{id}:aud".parse().unwrap();
        assert_eq!(alias.audience_of("urn:zitadel:iam:org:project:id:4711:aud"), Some("4711"));
        assert_eq!(alias.audience_of("urn:zitadel:iam:org:project:id:4711"), None);
        assert_eq!(alias.audience_of("urn:zitadel:iam:org:project:id:"), None);
        let native = AudienceScope::native();
        assert_eq!(native.audience_of("urn:postern:aud:https://a.example.com"), Some("https://a.example.com"));
        assert_eq!(native.audience_of("invoices:read"), None);
        for wrong in ["", "urn:x", "{id}", "{id}:aud", "a {id}", "a:{id}:{id}", "a:{id} b"] {
            assert_eq!(wrong.parse::<AudienceScope>(), Err(MalformedAudienceScope), "{wrong}");
        }
    }
}
