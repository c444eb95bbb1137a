//! Application: whether the public keys of the client can verify assertions. Other than a field of the spec, keys at a URL
//! come and go with their host, so they never change whether the client is disabled, or its epoch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::Application;
use crate::api::application::AuthMethod;
use crate::api::conditions::{ConditionValue, reasons, types};

/// What the controller knows of the keys at `spec.auth.jwksUri`.
#[derive(Clone, Debug, Default)]
pub struct PublishedKeys {
    /// Host of the URL, with the port if it is not 443.
    pub host: String,
    /// Number of keys that can verify assertions; `None`: not fetched yet.
    pub usable: Option<usize>,
    /// Why there are no keys, or why the last request failed.
    pub problem: Option<KeysProblem>,
}

/// A problem of published keys, for users.
#[derive(Clone, Debug)]
pub struct KeysProblem {
    /// What failed.
    pub what: String,
    /// A sentence with the remedy.
    pub remedy: String,
}

impl PublishedKeys {
    /// The first request has not ended. After a restart of the controller, status keeps what it reports.
    fn is_pending(&self) -> bool {
        self.usable.is_none() && self.problem.is_none()
    }

    /// The condition `KeysResolved`.
    pub(super) fn resolved(&self, application: &Application) -> ConditionValue {
        let (type_, host) = (types::KEYS_RESOLVED, &self.host);
        let previous = recorded(application, type_).filter(|_| self.is_pending());
        if let Some(previous) = previous {
            let reasons = [reasons::RESOLVED, reasons::KEY_SET_UNAVAILABLE];
            let reason = reasons.into_iter().find(|reason| *reason == previous.reason).unwrap_or(reasons::PENDING);
            let (status, message) = (previous.status == "True", previous.message.clone());
            return ConditionValue { type_, status, reason, message };
        }
        match (&self.problem, self.usable.unwrap_or_default()) {
            (None, 0) => {
                let message = format!("spec.auth.jwksUri: the keys of {host} are being fetched.");
                ConditionValue::new_false(type_, reasons::PENDING, message)
            }
            (None, count) => {
                let message = format!("Keys of {host} that can verify assertions: {count}.");
                ConditionValue::new_true(type_, reasons::RESOLVED, message)
            }
            (Some(KeysProblem { what, remedy }), count) => {
                let effect = match count {
                    0 => "Assertions of the client are refused.",
                    _ => "The keys that were fetched last are used for a day.",
                };
                let message = format!("spec.auth.jwksUri: no keys from {host}: {what}. {effect} {remedy}");
                ConditionValue::new_false(type_, reasons::KEY_SET_UNAVAILABLE, message)
            }
        }
    }

    /// The condition `Ready` of a client that could authenticate only with these keys, if it has none.
    pub(super) fn blocks(&self, application: &Application) -> Option<ConditionValue> {
        let others = [
            AuthMethod::ClientSecretBasic,
            AuthMethod::ClientSecretPost,
            AuthMethod::KubernetesServiceAccount,
            AuthMethod::TlsClientAuth,
            AuthMethod::SelfSignedTlsClientAuth,
        ];
        if others.into_iter().any(|method| application.spec.allows(method)) {
            return None;
        }
        let is_blocked = match recorded(application, types::READY).filter(|_| self.is_pending()) {
            Some(ready) => [reasons::KEY_SET_UNAVAILABLE, reasons::PENDING].contains(&ready.reason.as_str()),
            None => self.usable.unwrap_or_default() == 0,
        };
        is_blocked.then(|| ConditionValue { type_: types::READY, ..self.resolved(application) })
    }
}

/// A condition that status has for the current spec.
fn recorded<'a>(application: &'a Application, type_: &str) -> Option<&'a Condition> {
    let conditions = &application.status.as_ref()?.conditions;
    let is_current = |condition: &&Condition| condition.observed_generation == application.metadata.generation;
    conditions.iter().find(|condition| condition.type_ == type_).filter(is_current)
}

#[cfg(test)]
mod tests;
