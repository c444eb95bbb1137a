//! An API: the clients that can call it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::Settings;
use super::client::{self, ExplainedClient};
use super::permissions::permits_at;
use super::secret::Secret;
use super::snapshot::{CallerFacts, Snapshot};
use super::status::Standing;
use crate::api::client_secret::Usage;
use crate::api::permissions::Authority;

/// The explanation of an API.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedAudience {
    pub(super) audience: String,
    /// By namespace and name.
    pub(super) callers: Vec<Caller>,
    /// What could not be read, and the consequence.
    pub(super) notes: Vec<String>,
}

/// An Application with a permission at the audience.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Caller {
    /// `namespace/name`
    pub(super) application: String,
    pub(super) client_id: String,
    /// Whether the client is accepted, and otherwise the rule that rejects it.
    pub(super) ready: Standing,
    /// The service user; absent: it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_user: Option<Acting>,
    /// Source networks from which the client may authenticate; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) networks: Option<Vec<String>>,
    /// The permissions of the Application there.
    pub(super) scopes: BTreeSet<String>,
    /// Whether the client can authenticate with a credential that the Application itself lists: a key, a ServiceAccount or a
    /// certificate.
    pub(super) has_own_credential: bool,
    /// ClientSecrets with permissions at the API, the oldest first.
    pub(super) client_secrets: Vec<Reaching>,
    /// When the client last authenticated with one of these ClientSecrets, or with any method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Timestamp>,
}

/// A service user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Acting {
    /// `namespace/name`
    pub(super) name: String,
    pub(super) subject: String,
}

/// A ClientSecret with permissions at the API.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reaching {
    pub(super) name: String,
    /// Whether it authenticates, and otherwise the rule that rejects it.
    pub(super) ready: Standing,
    /// The scopes there that restrictTo leaves.
    pub(super) scopes: BTreeSet<String>,
    /// Allowed purposes; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usages: Option<Vec<Usage>>,
    /// Allowed source networks; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) networks: Option<Vec<String>>,
    /// When the newest value expires; absent: never, or there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    /// When one of its values was last used, at any API; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Timestamp>,
}

/// Explains which clients can call the API of `audience`.
pub(super) fn explain(audience: &str, facts: &CallerFacts, settings: &Settings, now: Timestamp) -> ExplainedAudience {
    let mut callers = Vec::new();
    let mut notes = facts.notes.clone();
    // A note about one client, such as a different limit of the operator, may apply to many.
    let mut of_clients = BTreeSet::new();
    for client in &facts.clients {
        let explained = client::explain(client, settings, now);
        if let Some(caller) = caller(audience, client, &explained) {
            of_clients.extend(explained.notes);
            callers.push(caller);
        }
    }
    callers.sort_by(|a, b| a.application.cmp(&b.application));
    notes.extend(of_clients);
    if facts.groups.as_ref().is_some_and(|groups| !groups.values().any(|group| permits_at(group, audience))) {
        notes.push(format!(
            "No AccessGroup permits anything at {audience}: compare it with spec.permissions, character by character."
        ));
    }
    ExplainedAudience { audience: audience.to_owned(), callers, notes }
}

/// The client as a caller; `None`: it has no permission there.
fn caller(audience: &str, facts: &Snapshot, client: &ExplainedClient) -> Option<Caller> {
    let scopes = scopes_at(&client.authority, audience);
    if scopes.is_empty() {
        return None;
    }
    // Both lists have the same objects in the same order.
    let secrets = facts.secrets.iter().zip(&client.client_secrets);
    let client_secrets: Vec<_> = secrets
        .filter(|(secret, _)| [Usage::Token, Usage::Direct].into_iter().any(|purpose| secret.spec.is_for(purpose)))
        .map(|(_, explained)| reaching(explained, audience))
        .filter(|reaching| !reaching.scopes.is_empty())
        .collect();
    let of_secrets = client_secrets.iter().filter_map(|secret| secret.last_used_at);
    let of_methods = client.methods.iter().filter_map(|method| method.last_used_at);
    Some(Caller {
        application: client.application.name.clone(),
        client_id: client.client_id.clone(),
        ready: client.application.ready.clone(),
        service_user: client
            .service_user
            .as_ref()
            .map(|user| Acting { name: user.name.clone(), subject: user.subject.clone() }),
        networks: client.application.networks.clone(),
        scopes,
        has_own_credential: client.methods.iter().any(|method| method.is_of_application),
        last_used_at: of_secrets.chain(of_methods).max(),
        client_secrets,
    })
}

fn reaching(secret: &Secret, audience: &str) -> Reaching {
    Reaching {
        name: secret.name.clone(),
        ready: secret.ready.clone(),
        scopes: scopes_at(&secret.authority, audience),
        usages: secret.usages.clone(),
        networks: secret.networks.clone(),
        expires_at: secret.expires_at,
        last_used_at: secret.last_used_at,
    }
}

fn scopes_at(authority: &Authority, audience: &str) -> BTreeSet<String> {
    let here = authority.iter().filter(|permit| permit.audience == audience);
    here.map(|permit| permit.scope.clone()).collect()
}
