//! What a delivered Secret holds beside the secret value.

use std::collections::BTreeMap;

use crate::api::digest::digest;
use crate::api::names::keys;

/// URLs of this install that clients need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// The issuer identifier.
    pub issuer: String,
    /// URL of the token endpoint.
    pub token: String,
    /// URL of the JSON Web Key Set.
    pub jwks: String,
}

/// The data of a Secret without the secret value; that one is added where it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content(BTreeMap<&'static str, String>);

impl Content {
    /// The content for a client with `client_id` whose credential holds `scopes`.
    #[must_use]
    pub fn new(endpoints: &Endpoints, client_id: &str, scopes: &[String]) -> Self {
        Self(BTreeMap::from([
            (keys::CLIENT_ID, client_id.to_owned()),
            (keys::TOKEN_URI, endpoints.token.clone()),
            (keys::ISSUER_URI, endpoints.issuer.clone()),
            (keys::JWKS_URI, endpoints.jwks.clone()),
            (keys::SCOPES, scopes.join(" ")),
            (keys::TYPE, "oauth2".to_owned()),
            (keys::PROVIDER, "postern".to_owned()),
        ]))
    }

    /// Key and value, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Every key that the Secret has, the secret one among them.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied().chain([keys::CLIENT_SECRET])
    }

    /// By this a later look sees in metadata alone whether the Secret is up to date.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(self.entries().flat_map(|(key, value)| [key, value]))
    }
}
