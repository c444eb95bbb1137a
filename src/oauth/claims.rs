//! Claims of an access token (RFC 9068 §2.2). An opaque token has the same ones, encrypted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::oauth::confirmation::Confirmation;

/// The claims, in the order in which they are written.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    /// Issuer, byte for byte as configured.
    pub iss: &'a str,
    /// UID of the ServiceUser.
    pub sub: &'a str,
    /// The audiences: a string when it is one, an array when there are several.
    pub aud: Audience<'a>,
    /// The client that requested the token.
    pub client_id: &'a str,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
    /// Unique id of the token: 128 random bits.
    pub jti: &'a str,
    /// Scopes, separated by single spaces.
    pub scope: &'a str,
    /// Roles that permit the scopes (RFC 9068 §2.2.3.1).
    pub roles: &'a BTreeSet<&'a str>,
    /// Planes of the roles.
    pub planes: &'a BTreeSet<&'a str>,
    /// The location of the ServiceUser.
    pub location: &'a str,
    /// Who created the ServiceUser, as recorded by admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<&'a str>,
    /// Display name, where scope `profile` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Namespace and name of the ServiceUser, where scope `profile` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<&'a str>,
    /// E-mail address, where scope `email` was granted.
    #[serde(flatten)]
    pub email: Option<Email<'a>>,
    /// The key to which the token is bound (RFC 7800 §3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<&'a Confirmation<'a>>,
    /// Epochs of service user and application: a token with an older one is no longer valid.
    pub postern_epoch: [i64; 2],
    /// What the token represents: see [`SecretRecord::authority`](crate::oauth::client_record::SecretRecord::authority).
    pub postern_authority: &'a str,
    /// Opaque tokens only: seconds without use after which it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postern_idle: Option<i64>,
}

/// The claims about an e-mail address (OpenID Connect Core §5.1). The author of a ServiceUser can write any address,
/// and Postern does not verify it. Some proxies treat an address without `email_verified` as verified.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Email<'a> {
    email: &'a str,
    email_verified: bool,
}

impl<'a> Email<'a> {
    /// The claims about the address of a ServiceUser.
    #[must_use]
    pub fn unverified(email: &'a str) -> Self {
        Self { email, email_verified: false }
    }
}

/// RFC 7519 §4.1.3.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Audience<'a> {
    /// The general case.
    One(&'a str),
    /// For applications that may request several.
    Several(&'a [&'a str]),
}

impl<'a> From<&'a [&'a str]> for Audience<'a> {
    fn from(audiences: &'a [&'a str]) -> Self {
        match audiences {
            [one] => Self::One(one),
            several => Self::Several(several),
        }
    }
}

/// The claims of one of our own tokens, as read back. Borrows from the token's text.
#[derive(Debug, Deserialize)]
pub struct OwnClaims<'a> {
    /// Issuer.
    #[serde(borrow)]
    pub iss: Cow<'a, str>,
    /// UID of the ServiceUser.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// The audiences.
    #[serde(borrow)]
    pub aud: OwnAudience<'a>,
    /// The client that requested the token.
    #[serde(borrow)]
    pub client_id: Cow<'a, str>,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
    /// Unique id of the token.
    #[serde(borrow)]
    pub jti: Cow<'a, str>,
    /// Scopes, separated by single spaces.
    #[serde(borrow)]
    pub scope: Cow<'a, str>,
    /// Roles that permit the scopes.
    #[serde(borrow)]
    pub roles: Vec<Text<'a>>,
    /// Planes of the roles.
    #[serde(borrow)]
    pub planes: Vec<Text<'a>>,
    /// The location of the ServiceUser.
    #[serde(borrow)]
    pub location: Cow<'a, str>,
    /// Who created the ServiceUser.
    #[serde(borrow)]
    pub created_by: Option<Cow<'a, str>>,
    /// The key to which the token is bound; `None`: a bearer token.
    #[serde(borrow)]
    pub cnf: Option<Confirmation<'a>>,
    /// Epochs of service user and application.
    pub postern_epoch: [i64; 2],
    /// What the token represents.
    #[serde(borrow)]
    pub postern_authority: Cow<'a, str>,
    /// Seconds without use after which it expires.
    pub postern_idle: Option<i64>,
}

impl OwnClaims<'_> {
    /// Whether the token was granted this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|held| held == scope)
    }
}

/// A string of a token, borrowed from it unless it contains escapes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// [`Audience`], as read back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum OwnAudience<'a> {
    /// One.
    One(Text<'a>),
    /// Several.
    Several(Vec<Text<'a>>),
}

impl OwnAudience<'_> {
    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several.as_slice(),
        }
        .iter()
        .map(|audience| &*audience.0)
    }
}

/// Implemented by hand: the derived `Deserialize` for the two forms first reads a token into a tree, with a copy of
/// each string.
impl<'de: 'a, 'a> Deserialize<'de> for OwnAudience<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = OwnAudience<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an audience or a list of them")
    }

    fn visit_borrowed_str<E>(self, one: &'de str) -> Result<Self::Value, E> {
        Ok(OwnAudience::One(Text(Cow::Borrowed(one))))
    }

    fn visit_str<E>(self, one: &str) -> Result<Self::Value, E> {
        Ok(OwnAudience::One(Text(Cow::Owned(one.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OwnAudience::Several)
    }
}

/// A token id from 128 random bits.
#[must_use]
pub fn token_id(random: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_of_a_token_is_one_or_a_list_and_nothing_else() {
        let read = |json: &'static str| serde_json::from_str::<OwnAudience<'_>>(json);
        let all = |json| read(json).unwrap().iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(all(r#""a""#), ["a"]);
        assert_eq!(all(r#""a\"b""#), ["a\"b"], "escaped");
        assert_eq!(all(r#"["a","b\\c"]"#), ["a", "b\\c"]);
        for wrong in ["7", "null", "{}", "[7]", "[[]]", "true"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
