//! A token: its claims, the reasons to reject it now, and what remains of each of its scopes.

mod checks;
mod scopes;

use jiff::Timestamp;
use serde::Serialize;

use super::Settings;
use super::claims::Claims;
use super::client::{self, ExplainedClient};
use super::permissions::PermissionOrigin;
use super::secret::Secret;
use super::snapshot::TokenFacts;
use checks::Judge;
use scopes::scopes;

/// The explanation of a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenReport {
    /// Always false: the caller may have no key.
    pub(super) signature_checked: bool,
    pub(super) issuer: String,
    pub(super) id: String,
    pub(super) client_id: String,
    pub(super) subject: String,
    pub(super) location: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    pub(super) issued_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) epochs: Epochs,
    /// Name of the ClientSecret that the token was issued for, if its permissions are unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_secret: Option<String>,
    /// Why Postern rejects the token now; empty: no reason was found.
    pub(super) faults: Vec<Fault>,
    pub(super) scopes: Vec<ScopeNow>,
    /// What could not be read, and the consequence.
    pub(super) notes: Vec<String>,
    /// Absent: the client no longer exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<ExplainedClient>,
}

/// The epochs in the token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Epochs {
    pub(super) service_user: i64,
    pub(super) application: i64,
}

/// Why a token is rejected, by the name of the rule in the operator's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Fault {
    pub(super) rule: String,
    pub(super) message: String,
}

/// A scope of the token at one of its audiences.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScopeNow {
    /// Absent: the scope belongs to no API, and describes the service user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<String>,
    pub(super) scope: String,
    pub(super) held: bool,
    /// The roles that permit it, with their groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) from: Vec<PermissionOrigin>,
    /// Why it is not granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// Explains a token from the objects of its client.
pub(super) fn explain(claims: &Claims, facts: &TokenFacts, settings: &Settings, now: Timestamp) -> TokenReport {
    let client = facts.client.as_ref().map(|facts| client::explain(facts, settings, now));
    let secret = client.as_ref().and_then(|client| got_with(claims, client));
    let instant = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let revoked = facts.revoked.as_ref();
    let judge = Judge { claims, issuer: settings.issuer.as_deref(), now };
    TokenReport {
        signature_checked: false,
        issuer: claims.iss.clone(),
        id: claims.jti.clone(),
        client_id: claims.client_id.as_str().to_owned(),
        subject: claims.sub.clone(),
        location: claims.location.clone(),
        created_by: claims.created_by.clone(),
        issued_at: instant(claims.iat),
        ends_at: instant(claims.exp),
        epochs: Epochs { service_user: claims.postern_epoch[0], application: claims.postern_epoch[1] },
        client_secret: secret.map(|secret| secret.name.clone()),
        faults: judge.faults(revoked.is_some_and(|ids| ids.contains(&claims.jti)), client.as_ref(), secret),
        scopes: match (&client, &facts.client) {
            (Some(client), Some(facts)) => scopes(claims, client, facts, secret),
            _ => Vec::new(),
        },
        notes: notes(facts, settings),
        client,
    }
}

fn notes(facts: &TokenFacts, settings: &Settings) -> Vec<String> {
    let unseen = facts.revoked.is_none().then(|| {
        format!(
            "No ReplicaStates can be read in namespace {}: whether the token was revoked is not known. They are in the \
             namespace of the operator: give it with --operator-namespace, or ask for the right to list them.",
            settings.operator_namespace
        )
    });
    let no_issuer = || "--issuer was not given: whether the token is of another issuer is not known.".to_owned();
    unseen.into_iter().chain(settings.issuer.is_none().then(no_issuer)).collect()
}

/// The secret with the fingerprint of the token.
fn got_with<'a>(claims: &Claims, client: &'a ExplainedClient) -> Option<&'a Secret> {
    client.client_secrets.iter().find(|secret| secret.token_fingerprint.as_ref() == Some(&claims.postern_authority))
}
