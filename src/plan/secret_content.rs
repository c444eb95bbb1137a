//! The content of a delivered Secret except the credential, and the names of all its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::application::Token;
use crate::api::client_secret::{CredentialType, Delivery, Entry};
use crate::api::default_scopes::default_scopes;
use crate::api::digest::digest;
use crate::api::permissions::{Authority, scopes};

/// URLs of this install that clients need.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoints {
    /// The issuer identifier.
    pub issuer: String,
    /// URL of the token endpoint.
    pub token: String,
    /// URL of the JSON Web Key Set.
    pub jwks: String,
    /// The CA of the endpoint's certificate in PEM; `None`: a publicly trusted CA, or no TLS.
    pub ca: Option<Arc<str>>,
}

/// The client that a Secret is for.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// `client_id`.
    pub id: &'a str,
    /// UID of its service user; empty if there is none.
    pub subject: &'a str,
    /// The permissions of the credential.
    pub held: &'a Authority,
    /// The token settings of the Application.
    pub token: &'a Token,
}

/// A Secret without the credential, which is added when the Secret is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    entries: BTreeMap<String, String>,
    client_id_key: String,
    credential_keys: Vec<(Entry, String)>,
    /// UID of the service user, which the key file of a key pair contains.
    subject: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Content {
    /// The content for a client with a credential of this type, in the format of `delivery`.
    #[must_use]
    pub fn new(endpoints: &Endpoints, client: &Client<'_>, type_: CredentialType, delivery: Option<&Delivery>) -> Self {
        let delivery = delivery.cloned().unwrap_or_default();
        let renamed = delivery.rename.unwrap_or_default();
        let name = |entry| {
            let name = delivery.keys.unwrap_or_default().name(entry)?;
            Some(renamed.get(name).cloned().unwrap_or_else(|| name.to_owned()))
        };
        let value = |entry| match entry {
            Entry::ClientSecret | Entry::PrivateKey | Entry::KeyId | Entry::PrivateJwk | Entry::KeyFile => None,
            Entry::ClientId => Some(client.id.to_owned()),
            Entry::TokenUri => Some(endpoints.token.clone()),
            Entry::IssuerUri => Some(endpoints.issuer.clone()),
            Entry::JwksUri | Entry::JwkSetUri => Some(endpoints.jwks.clone()),
            Entry::Scopes => Some(scopes(client.held).join(" ")),
            Entry::Type => Some("oauth2".to_owned()),
            Entry::Provider => Some("postern".to_owned()),
            Entry::Ca => endpoints.ca.as_deref().map(str::to_owned),
            Entry::GrantType => Some("client_credentials".to_owned()),
            Entry::DefaultScopes => comma_separated(&default_scopes(client.held, client.token)),
        };
        let credential = Entry::ALL.into_iter().filter(|entry| entry.is_credential() && entry.is_of(type_));
        Self {
            entries: Entry::ALL.into_iter().filter_map(|entry| Some((name(entry)?, value(entry)?))).collect(),
            client_id_key: name(Entry::ClientId).unwrap_or_default(),
            credential_keys: credential.filter_map(|entry| Some((entry, name(entry)?))).collect(),
            subject: (type_ == CredentialType::PrivateKey).then(|| client.subject.to_owned()),
            labels: delivery.labels.unwrap_or_default(),
            annotations: delivery.annotations.unwrap_or_default(),
        }
    }

    /// Keys and values of everything except the credential, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.entries)
    }

    /// Key and value of the client id.
    #[must_use]
    pub fn client_id(&self) -> Option<(&str, &str)> {
        self.entries.get_key_value(&self.client_id_key).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The entries of the credential, and their keys.
    pub fn credential_keys(&self) -> impl Iterator<Item = (Entry, &str)> {
        self.credential_keys.iter().map(|(entry, key)| (*entry, key.as_str()))
    }

    /// UID of the service user, if the credential is a key pair.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Every key of the Secret, including those of the credential.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str).chain(self.credential_keys().map(|(_, key)| key))
    }

    /// Labels from the spec.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.labels)
    }

    /// Annotations from the spec.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.annotations)
    }

    /// Digest by which a later reconciliation detects from metadata alone whether the Secret is up to date.
    #[must_use]
    pub fn digest(&self) -> String {
        let flat = |(key, value)| [key, value];
        let credential = self.credential_keys().map(|(_, key)| key);
        let parts = [
            self.entries().flat_map(flat).chain(credential).chain(self.subject()).collect::<Vec<_>>(),
            self.labels().flat_map(flat).collect(),
            self.annotations().flat_map(flat).collect(),
        ];
        // A digest of digests: a label must differ from an equal annotation.
        let parts = parts.map(digest);
        digest(parts.iter().map(String::as_str))
    }
}

/// `None`: there is no scope to request, or a comma in a scope would split it in two. The endpoint grants the same
/// scopes to a client that requests none.
fn comma_separated(scopes: &[String]) -> Option<String> {
    let is_written = !scopes.is_empty() && scopes.iter().all(|scope| !scope.contains(','));
    is_written.then(|| scopes.join(","))
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}
