//! Claims of a JWT access token (RFC 9068 §2.2).

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
    /// Epochs of service user and application: a token with an older one than theirs has been ended.
    pub postern_epoch: [i64; 2],
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

/// The claims of one of our own tokens, as they are read back.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: OwnAudience,
    pub(crate) client_id: String,
    pub(crate) exp: i64,
    pub(crate) jti: String,
    pub(crate) scope: String,
    pub(crate) roles: Vec<String>,
    pub(crate) postern_epoch: [i64; 2],
}

/// [`Audience`], read back.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OwnAudience {
    One(String),
    Several(Vec<String>),
}

impl OwnAudience {
    pub(crate) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// A token id from 128 random bits.
#[must_use]
pub fn token_id(random: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}
