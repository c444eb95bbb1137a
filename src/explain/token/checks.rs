//! Reasons to reject a token now. The checks are those of the endpoint; all of them run, while the endpoint stops at
//! the first failure.

use jiff::Timestamp;

use super::Fault;
use crate::api::conditions::reasons;
use crate::explain::claims::Claims;
use crate::explain::client::{DELETING, ExplainedClient};
use crate::explain::secret::Secret;

/// The inputs of the checks.
pub(super) struct Judge<'a> {
    pub(super) claims: &'a Claims,
    /// The issuer of the install, if known.
    pub(super) issuer: Option<&'a str>,
    pub(super) now: Timestamp,
}

impl Judge<'_> {
    /// All reasons to reject the token.
    pub(super) fn faults(
        &self,
        revoked: bool,
        client: Option<&ExplainedClient>,
        secret: Option<&Secret>,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(issuer) = self.issuer.filter(|issuer| *issuer != self.claims.iss) {
            faults.push(fault("OtherIssuer", format!("Another issuer issued the token. The issuer here is {issuer}.")));
        }
        if self.claims.exp <= self.now.as_second() {
            faults.push(fault("TokenExpired", "It has expired: the client must request a new one."));
        }
        if revoked {
            faults.push(fault("TokenRevoked", "It was revoked by its client."));
        }
        match client {
            None => faults.push(fault("UnknownClient", "No Application has its client id: it was deleted.")),
            Some(client) if client.application.ready.reason == DELETING => {
                faults.push(fault("UnknownClient", &*client.application.ready.message));
            }
            Some(client) if !client.application.ready.in_force => {
                let ready = &client.application.ready;
                faults.push(fault(&ready.reason, format!("The client is refused: {}", ready.message)));
            }
            Some(client) => faults.extend(self.authority(client, secret)),
        }
        faults
    }

    /// Whether the token represents the current permissions of the client.
    fn authority(&self, client: &ExplainedClient, secret: Option<&Secret>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let user = client.service_user.as_ref();
        let [of_user, of_application] = self.claims.postern_epoch;
        let mut compare = |what: String, of_token: i64, now: Option<i64>| {
            match now {
            Some(now) if of_token < now => faults.push(fault(
                "AuthorityChanged",
                format!("{what} is at epoch {now} and the token of epoch {of_token}: what is held has changed since."),
            )),
            Some(now) if of_token > now => faults.push(fault(
                "UnknownAuthority",
                format!(
                    "{what} is at epoch {now} and the token of epoch {of_token}: a change is not numbered in status yet, \
                     or status was lost or restored since."
                ),
            )),
            _ => {}
        }
        };
        compare(format!("Application {}", client.application.name), of_application, client.application.epoch);
        if let Some(user) = user.filter(|user| user.subject == self.claims.sub) {
            // Epochs of two service users do not compare.
            compare(format!("ServiceUser {}", user.name), of_user, user.epoch);
        }
        if let Some(user) = user.filter(|user| user.subject != self.claims.sub) {
            faults.push(fault(
                "AuthorityChanged",
                format!(
                    "The client acts for another service user now: {}, whose subject is {}. A ServiceUser that was \
                     deleted and created again is another one.",
                    user.name, user.subject
                ),
            ));
        }
        match secret {
            Some(secret) => faults.extend(self.of_secret(secret)),
            None if faults.is_empty() && client.membership.is_some() => faults.push(fault(
                "AuthorityChanged",
                "No ClientSecret of the Application holds what the token stands for: permissions have changed since, the \
                 ClientSecret was deleted, or its Secret was.",
            )),
            None => {}
        }
        faults
    }

    /// Rotation of a value invalidates no token; the end of the credential, and the loss of its Secret, do.
    fn of_secret(&self, secret: &Secret) -> Option<Fault> {
        let ends = [reasons::REVOKED, reasons::LIMIT_REACHED].contains(&secret.ready.reason.as_str());
        if ends {
            let message = format!("ClientSecret {} is refused: {}", secret.name, secret.ready.message);
            return Some(fault(&secret.ready.reason, message));
        }
        let end = secret.expires_at.filter(|end| *end <= self.now)?;
        Some(fault("TokenExpired", format!("ClientSecret {} expired at {end}, and its tokens with it.", secret.name)))
    }
}

fn fault(rule: &str, message: impl Into<String>) -> Fault {
    Fault { rule: rule.to_owned(), message: message.into() }
}
