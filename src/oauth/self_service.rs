//! What the bearer of a secret with use Manage may do. It may read its own application and the state of its secrets,
//! but no value, no verifier and no other client. It may request the rotation of the secret that it presents.
//!
//! Names are those of the custom resources, so that the output resembles `kubectl get --output json`.

use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Serialize;

use crate::clock::Clock;
use crate::crypto::secret;
use crate::crypto::signing::SigningAlgorithm;
use crate::oauth::authorization_header::single_authorization;
use crate::oauth::client_auth::{Authenticated, Method, RequestContext};
use crate::oauth::client_record::{ClientRecord, Grant, Purpose, SecretRecord, SecretVersion, Verification};
use crate::oauth::client_store::ClientStore;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::Unavailable;
use crate::oauth::forward_auth::AccessError;
use crate::oauth::token::{AuditRecord, AuthorizationServer};

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// The client of these Authorization headers, if its secret is allowed for managing. Tokens are not accepted: they
    /// are for APIs and do not permit managing.
    ///
    /// # Errors
    /// [`AccessError`]
    pub async fn manager<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        facts: &mut AuditRecord,
    ) -> Result<Authenticated, AccessError> {
        let (scheme, header) = single_authorization(authorization)?;
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(AccessError::NoCredentials);
        }
        self.with_secret(arrival, Purpose::Manage, header, facts).await
    }
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// Requests the next version of the presented secret. No effect for a version that already has a successor, or
    /// that is imported and changes only with its source.
    ///
    /// # Errors
    /// [`AccessError`] when the request could not be recorded.
    pub async fn rotate(&self, client: &Authenticated, now: Timestamp) -> Result<Vec<u8>, AccessError> {
        if is_rotatable(client) {
            let (record, secret) = (&client.record, &client.credential);
            let recorded = self.clients.request_rotation(record, secret, &client.version_id, now).await;
            recorded.map_err(|error| AccessError::from(Unavailable::from(error)))?;
        }
        let rotating = Rotating { name: &client.credential.name, version: &client.version_id };
        Ok(serde_json::to_vec(&rotating).unwrap_or_default())
    }
}

/// Whether the version that the client presented is the newest of its secret, and generated.
fn is_rotatable(client: &Authenticated) -> bool {
    let secret = client.record.secrets.iter().find(|secret| secret.object == client.credential);
    let newest = secret.and_then(|secret| secret.versions.first());
    newest.is_some_and(|newest| newest.id == client.version_id && !newest.verification.is_imported())
}

#[derive(Serialize)]
struct Rotating<'a> {
    name: &'a str,
    /// The version that the next one replaces.
    version: &'a str,
}

/// The application of a client as JSON.
#[must_use]
pub fn application(client: &Authenticated) -> Vec<u8> {
    serde_json::to_vec(&Application::of(&client.record)).unwrap_or_default()
}

/// The secrets of a client as JSON, oldest first.
#[must_use]
pub fn secrets(client: &Authenticated, now: Timestamp) -> Vec<u8> {
    let view = |secret| Secret::of(secret, secret.object == client.credential, now);
    let secrets = Secrets { secrets: client.record.secrets.iter().map(view).collect() };
    serde_json::to_vec(&secrets).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Application<'a> {
    namespace: &'a str,
    name: &'a str,
    client_id: &'a str,
    subject: &'a str,
    auth: Auth,
    token: Token,
    permissions: Vec<Permission<'a>>,
}

#[derive(Serialize)]
struct Auth {
    methods: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    lifetime_seconds: i64,
    signing_algorithm: SigningAlgorithm,
}

#[derive(Serialize)]
struct Permission<'a> {
    audience: &'a str,
    scopes: Vec<&'a str>,
    roles: BTreeSet<&'a str>,
}

impl<'a> Application<'a> {
    fn of(record: &'a ClientRecord) -> Self {
        let methods = Method::ALL.iter().copied().filter(|method| record.auth_methods.contains(*method));
        Self {
            namespace: &record.application.namespace,
            name: &record.application.name,
            client_id: &record.client_id,
            subject: &record.subject,
            auth: Auth {
                methods: methods.map(Method::name).collect(),
                networks: record.networks.as_deref().map(texts),
            },
            token: Token {
                lifetime_seconds: record.token.lifetime.as_secs(),
                signing_algorithm: record.token.signing_algorithm,
            },
            permissions: permissions(&record.grant),
        }
    }
}

fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

fn permissions(grant: &Grant) -> Vec<Permission<'_>> {
    let held = grant.permissions.iter().filter(|(_, scopes)| !scopes.is_empty());
    held.map(|(audience, scopes)| Permission {
        audience,
        scopes: scopes.keys().map(AsRef::as_ref).collect(),
        roles: scopes.values().flatten().map(|role| role.name.as_ref()).collect(),
    })
    .collect()
}

#[derive(Serialize)]
struct Secrets<'a> {
    secrets: Vec<Secret<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret<'a> {
    name: &'a str,
    /// Whether the request presented this secret.
    in_use_here: bool,
    /// The rule that refuses it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    usages: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    permissions: Vec<Permission<'a>>,
    versions: Vec<Version<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retires_at: Option<Timestamp>,
}

impl<'a> Secret<'a> {
    fn of(secret: &'a SecretRecord, in_use_here: bool, now: Timestamp) -> Self {
        let expired = secret.expires_at.is_some_and(|end| end <= now).then_some(DenialRule::Expired);
        let purposes = Purpose::ALL.iter().filter(|purpose| secret.usages.allow(**purpose));
        let networks = secret.networks.as_deref().map(texts);
        Self {
            name: &secret.object.name,
            in_use_here,
            refused: secret.disabled.as_ref().map(|refusal| refusal.rule).or(expired).map(DenialRule::name),
            usages: purposes.map(|purpose| purpose.name()).collect(),
            networks,
            expires_at: secret.expires_at,
            permissions: permissions(&secret.grant),
            versions: secret.versions.iter().map(|version| Version::of(version, now)).collect(),
        }
    }
}

impl<'a> Version<'a> {
    fn of(version: &'a SecretVersion, now: Timestamp) -> Self {
        let state = match version.accepted_until {
            None => "Active",
            Some(end) if end > now => "Retiring",
            Some(_) => "Retired",
        };
        // As in status. The prefix: leak reports show no more of a value. Imported values have no such prefix.
        let hint = match &version.verification {
            Verification::Generated(_) => {
                Some(format!("{}{}", secret::PREFIX, version.id.chars().take(4).collect::<String>()))
            }
            Verification::KeyPair(_) => Some(version.id.clone()),
            Verification::Imported(_) => None,
        };
        Self { id: &version.id, hint, state, retires_at: version.accepted_until.filter(|end| *end != Timestamp::MIN) }
    }
}
