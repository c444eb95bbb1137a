//! The checks of the endpoint, in the words of the explanation. The endpoint stops at the first failure; here all
//! checks run.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::Fault;
use crate::explain::client::ExplainedClient;
use crate::explain::secret::Secret;
use crate::oauth::access_token::TokenFault;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_record::{ClientRecord, Denial};
use crate::oauth::client_store::Lookup;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::token_checks::{
    Counted, CounterPair, Mismatch, check_expiry, check_issuer, check_restore, mismatches,
};

/// The inputs of the checks.
pub(super) struct Checks<'a> {
    pub(super) claims: &'a OwnClaims<'a>,
    /// The issuer of the install, if known.
    pub(super) issuer: Option<&'a str>,
    pub(super) restored_at: Option<Timestamp>,
    pub(super) is_revoked: bool,
    /// What the endpoint knows of the client.
    pub(super) lookup: Lookup,
    /// The client; `None`: no Application has the client id.
    pub(super) client: Option<&'a ExplainedClient>,
    /// The secret that the token was issued for, if it is known.
    pub(super) secret: Option<&'a Secret>,
    pub(super) now: Timestamp,
}

impl Checks<'_> {
    /// All reasons to reject the token.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.faults_of_claims();
        match (&self.lookup, self.client) {
            (Lookup::Live(record), Some(client)) => faults.extend(self.mismatches(record, client)),
            (Lookup::Disabled(denial), Some(client)) => faults.push(disabled(denial, client)),
            (_, client) => faults.push(unknown(client)),
        }
        faults
    }

    fn faults_of_claims(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |found: TokenFault, message: String| faults.push(Fault { rule: found.rule(), message });
        if let Some((issuer, Err(found))) = self.issuer.map(|issuer| (issuer, check_issuer(self.claims, issuer))) {
            add(found, format!("Another issuer issued the token. The issuer here is {issuer}."));
        }
        if let Err(found) = check_expiry(self.claims, self.now.as_second()) {
            add(found, "It has expired: the client must request a new one.".to_owned());
        }
        if let Some((at, Err(found))) = self.restored_at.map(|at| (at, check_restore(self.claims, Some(at)))) {
            add(
                found,
                format!("It was issued before {at}, when a backup was restored: the client must request a new one."),
            );
        }
        if self.is_revoked {
            add(TokenFault::Revoked, "It was revoked by its client.".to_owned());
        }
        faults
    }

    /// Every difference between the token and what its client has. A change of epoch or of service user explains why no
    /// secret has the fingerprint of the token.
    fn mismatches(&self, record: &ClientRecord, client: &ExplainedClient) -> Vec<Fault> {
        let found: Vec<Mismatch<'_>> = mismatches(record, self.now, self.claims).collect();
        let is_explained = found.len() > 1 || client.membership.is_none() || client.has_published_keys;
        let faults = found.into_iter().filter_map(|mismatch| {
            let message = match mismatch {
                Mismatch::Lost => "The client has lost permissions of the token since its issue.".to_owned(),
                Mismatch::Epoch(pair) => epoch(pair, client),
                Mismatch::SecretDisabled(denial) => self.secret_refused(&denial.object.name),
                Mismatch::SecretExpired(end) => {
                    let name = self.secret.map(|secret| secret.name.as_str()).unwrap_or_default();
                    format!("ClientSecret {name} expired at {end}, and its tokens with it.")
                }
                Mismatch::NoSecret => self.no_secret(record, client, is_explained)?,
            };
            Some(Fault { rule: mismatch.fault(record, self.claims).rule(), message })
        });
        faults.collect()
    }

    /// Why no secret of the record has the fingerprint of the token; `None`: another fault explains it, or it is
    /// unknown.
    fn no_secret(&self, record: &ClientRecord, client: &ExplainedClient, is_explained: bool) -> Option<String> {
        match (&client.service_user, self.secret) {
            (Some(user), _) if record.subject != self.claims.sub => Some(format!(
                "The client acts for another service user now: {}, whose subject is {}. A ServiceUser that was deleted \
                 and created again is another one.",
                user.name, user.subject
            )),
            // It is beyond the limit.
            (_, Some(secret)) => Some(self.secret_refused(&secret.name)),
            _ if is_explained => None,
            _ => Some(
                "No ClientSecret matches the token's fingerprint: permissions have changed since, or the ClientSecret or \
                 its Secret was deleted."
                    .to_owned(),
            ),
        }
    }

    fn secret_refused(&self, name: &str) -> String {
        let why = self.secret.map(|secret| secret.ready.message.as_str()).unwrap_or_default();
        format!("ClientSecret {name} is refused: {why}")
    }
}

fn epoch(pair: CounterPair, client: &ExplainedClient) -> String {
    let CounterPair { counted, of_token, of_client } = pair;
    let what = match (counted, &client.service_user) {
        (Counted::ServiceUser, Some(user)) => format!("ServiceUser {}", user.name),
        (Counted::ServiceUser, None) => "Its ServiceUser".to_owned(),
        (Counted::Application, _) => format!("Application {}", client.application.name),
    };
    let why = match pair.order() {
        Ordering::Greater => "a change is not numbered in status yet, or status was lost or restored since.",
        Ordering::Less | Ordering::Equal => "permissions have changed since.",
    };
    format!("{what} is at epoch {of_client} and the token of epoch {of_token}: {why}")
}

fn disabled(denial: &Denial, client: &ExplainedClient) -> Fault {
    let why = &client.application.ready.message;
    let message = match denial.rule {
        DenialRule::NamespaceUnknown => why.clone(),
        _ => format!("The client is refused: {why}"),
    };
    Fault { rule: denial.rule, message }
}

fn unknown(client: Option<&ExplainedClient>) -> Fault {
    let message = match client {
        Some(client) => client.application.ready.message.clone(),
        None => "No Application has its client id: it was deleted.".to_owned(),
    };
    Fault { rule: TokenFault::UnknownClient.rule(), message }
}
