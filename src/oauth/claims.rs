//! Claims of an access token (RFC 9068 §2.2). An opaque token has the same ones, encrypted.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The claims, in the order in which they are written.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    /// Issuer, byte for byte as configured.
    pub iss: &'a str,
    /// UID of the ServiceUser.
    pub sub: &'a str,
    /// The audiences: a string when it is one, an array when there are several.
    pub aud: Audience<'a>,
    /// The client that asked.
    pub client_id: &'a str,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Ends at, in seconds since 1970.
    pub exp: i64,
    /// Unique id of the token: 128 random bits.
    pub jti: &'a str,
    /// Scopes with single spaces between.
    pub scope: &'a str,
    /// Roles behind the scopes (RFC 9068 §2.2.3.1).
    pub roles: &'a BTreeSet<&'a str>,
    /// Planes of the roles.
    pub planes: &'a BTreeSet<&'a str>,
    /// Where the ServiceUser acts.
    pub location: &'a str,
    /// Who created the ServiceUser, as admission stamped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<&'a str>,
    /// Display name, where scope `profile` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Namespace and name of the ServiceUser, where scope `profile` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<&'a str>,
    /// E-mail address, where scope `email` was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
    /// Epochs of service user and application: a token with an older one than theirs has been ended.
    pub postern_epoch: [i64; 2],
    /// What the token stands for: see [`SecretRecord::authority`](crate::oauth::client::SecretRecord::authority).
    pub postern_authority: &'a str,
    /// Opaque tokens only: seconds without use after which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postern_idle: Option<i64>,
}

/// RFC 7519 §4.1.3.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Audience<'a> {
    /// The general case.
    One(&'a str),
    /// For applications that may name several.
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

/// The claims of one of our own tokens, as they are read back. What is borrowed holds for as long as the token's text.
#[derive(Debug, Deserialize)]
pub struct OwnClaims<'a> {
    /// Issuer.
    #[serde(borrow)]
    pub iss: Cow<'a, str>,
    /// UID of the ServiceUser.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// The audiences.
    pub aud: OwnAudience,
    /// The client that asked.
    #[serde(borrow)]
    pub client_id: Cow<'a, str>,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Ends at, in seconds since 1970.
    pub exp: i64,
    /// Unique id of the token.
    #[serde(borrow)]
    pub jti: Cow<'a, str>,
    /// Scopes with single spaces between.
    #[serde(borrow)]
    pub scope: Cow<'a, str>,
    /// Roles behind the scopes.
    pub roles: Vec<String>,
    /// Planes of the roles.
    pub planes: Vec<String>,
    /// Where the ServiceUser acts.
    #[serde(borrow)]
    pub location: Cow<'a, str>,
    /// Who created the ServiceUser.
    #[serde(borrow)]
    pub created_by: Option<Cow<'a, str>>,
    /// Epochs of service user and application.
    pub postern_epoch: [i64; 2],
    /// What the token stands for.
    #[serde(borrow)]
    pub postern_authority: Cow<'a, str>,
    /// Seconds without use after which it ends.
    pub postern_idle: Option<i64>,
}

impl OwnClaims<'_> {
    /// Whether the token was granted this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|held| held == scope)
    }
}

/// [`Audience`], read back.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OwnAudience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl OwnAudience {
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
        .map(String::as_str)
    }
}

/// A token id from 128 random bits.
#[must_use]
pub fn token_id(random: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}
