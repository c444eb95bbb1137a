//! A token: its claims, the reasons to reject it now, and what remains of each of its scopes.

mod checks;
mod scopes;

use jiff::Timestamp;
use serde::Serialize;

use super::Settings;
use super::client::{self, ExplainedClient};
use super::permissions::PermissionOrigin;
use super::secret::Secret;
use super::snapshot::TokenFacts;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_store::Lookup;
use crate::oauth::confirmation::Confirmation;
use crate::oauth::denial_rule::DenialRule;
use checks::Checks;
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
    /// The key without which the token is useless; absent: a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bound_to: Option<String>,
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

/// Why a token is rejected, by the rule in the operator's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Fault {
    pub(super) rule: DenialRule,
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
    pub(super) granted: bool,
    /// The roles that permit it, with their groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) from: Vec<PermissionOrigin>,
    /// Why it is not granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// Explains a token from the objects of its client.
pub(super) fn explain(claims: &OwnClaims<'_>, facts: &TokenFacts, settings: &Settings, now: Timestamp) -> TokenReport {
    let client = facts.client.as_ref().map(|facts| client::explain(facts, settings, now));
    let secret = client.as_ref().and_then(|client| issued_for(claims, client));
    let instant = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let checks = Checks {
        claims,
        issuer: settings.issuer.as_deref(),
        restored_at: settings.restored_at,
        is_revoked: facts.revoked.as_ref().is_some_and(|ids| ids.contains(&*claims.jti)),
        lookup: lookup(facts, client.as_ref(), settings),
        client: client.as_ref(),
        secret,
        now,
    };
    TokenReport {
        signature_checked: false,
        issuer: claims.iss.to_string(),
        id: claims.jti.to_string(),
        client_id: claims.client_id.to_string(),
        subject: claims.sub.to_string(),
        location: claims.location.to_string(),
        created_by: claims.created_by.as_deref().map(str::to_owned),
        bound_to: claims.cnf.as_ref().map(|confirmation| match confirmation {
            Confirmation::Key(thumbprint) => format!("DPoP key {thumbprint}"),
            Confirmation::Certificate(thumbprint) => format!("certificate {thumbprint} (x5t#S256)"),
        }),
        issued_at: instant(claims.iat),
        ends_at: instant(claims.exp),
        epochs: Epochs { service_user: claims.postern_epoch[0], application: claims.postern_epoch[1] },
        client_secret: secret.map(|secret| secret.name.clone()),
        faults: checks.faults(),
        scopes: match (&client, &facts.client) {
            (Some(client), Some(facts)) => scopes(claims, client, facts, secret),
            _ => Vec::new(),
        },
        notes: notes(facts, settings),
        client,
    }
}

/// What the endpoint knows of the client.
fn lookup(facts: &TokenFacts, client: Option<&ExplainedClient>, settings: &Settings) -> Lookup {
    let held = client.and_then(|client| client.membership.as_ref());
    facts.client.as_ref().map_or(Lookup::Unknown, |facts| facts.objects(held, settings).lookup(&settings.limits()))
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
fn issued_for<'a>(claims: &OwnClaims<'_>, client: &'a ExplainedClient) -> Option<&'a Secret> {
    client.client_secrets.iter().find(|secret| secret.token_fingerprint.as_deref() == Some(&claims.postern_authority))
}
