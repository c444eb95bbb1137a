//! Application: whether the public keys of the client and of its issuers can verify assertions. Other than a field of the spec,
//! keys at a URL come and go with their host, so they never change whether the client is disabled, or its epoch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::application::Observed;
use crate::api::Application;
use crate::api::application::AuthMethod;
use crate::api::conditions::{ConditionValue, reasons, types};

/// What the controller knows of keys that are published.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// Whose keys they are.
    pub owner: KeyOwner,
    /// Number of keys that can verify assertions; `None`: not fetched yet.
    pub usable: Option<usize>,
    /// Why there are no keys, or why the last requests failed.
    pub problem: Option<KeysProblem>,
}

/// Whose keys are published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyOwner {
    /// The client, at `spec.auth.jwksUri`.
    Client {
        /// Host of the URL, with the port if it is not 443.
        host: String,
    },
    /// This issuer of `spec.auth.issuers`.
    Issuer(String),
}

/// A problem of published keys, for users.
#[derive(Clone, Debug)]
pub struct KeysProblem {
    /// What failed.
    pub what: String,
    /// A sentence with the remedy.
    pub remedy: String,
}

impl KeyOwner {
    /// The field, and whose keys they are.
    fn names(&self) -> (&'static str, &str) {
        match self {
            Self::Client { host } => ("spec.auth.jwksUri", host),
            Self::Issuer(issuer) => ("spec.auth.issuers", issuer),
        }
    }

    fn is_issuer(&self) -> bool {
        matches!(self, Self::Issuer(_))
    }
}

impl PublishedKeys {
    /// The first request has not ended.
    fn is_pending(&self) -> bool {
        self.usable.is_none() && self.problem.is_none()
    }

    fn is_empty(&self) -> bool {
        self.usable.unwrap_or_default() == 0
    }

    /// What status reports of them.
    fn message(&self) -> String {
        let (field, name) = self.owner.names();
        match (&self.problem, self.usable.unwrap_or_default()) {
            (None, 0) => format!("{field}: the keys of {name} are being fetched."),
            // Without their number: otherwise each change of the set would write the status.
            (None, _) => format!("Keys of {name} can verify assertions."),
            (Some(KeysProblem { what, remedy }), count) => {
                let (lack, effect) = match (count, self.owner.is_issuer()) {
                    (0, false) => ("no keys from", "Assertions of the client are refused."),
                    (0, true) => ("no keys from", "Its tokens are refused."),
                    _ => ("no newer keys from", "The keys that were fetched last are used for a day."),
                };
                format!("{field}: {lack} {name}: {what}. {effect} {remedy}")
            }
        }
    }
}

/// The condition `KeysResolved`; `None`: the client has no keys.
pub(super) fn resolved(observed: &Observed<'_>) -> Option<ConditionValue> {
    let (application, published) = (observed.application, &observed.published_keys);
    let has_keys = application.spec.keys().next().is_some();
    if !has_keys && published.is_empty() {
        return None;
    }
    let type_ = types::KEYS_RESOLVED;
    // After a restart of the controller, status keeps what it reports.
    let is_pending = published.iter().any(PublishedKeys::is_pending);
    if let Some(previous) = recorded(application, type_).filter(|_| is_pending) {
        let reasons = [reasons::RESOLVED, reasons::KEY_SET_UNAVAILABLE, reasons::KEY_UNUSABLE];
        let reason = reasons.into_iter().find(|reason| *reason == previous.reason).unwrap_or(reasons::PENDING);
        let (status, message) = (previous.status == "True", previous.message.clone());
        return Some(ConditionValue { type_, status, reason, message });
    }
    let reason = if !observed.unusable_keys.is_empty() {
        reasons::KEY_UNUSABLE
    } else if published.iter().any(|keys| keys.problem.is_some()) {
        reasons::KEY_SET_UNAVAILABLE
    } else if is_pending {
        reasons::PENDING
    } else {
        reasons::RESOLVED
    };
    // Problems first: a long message is cut at its end.
    let (failed, fetched): (Vec<_>, Vec<_>) = published.iter().partition(|keys| keys.problem.is_some());
    let published = failed.into_iter().chain(fetched).map(PublishedKeys::message);
    let listed = has_keys.then(|| listed_keys(&observed.unusable_keys));
    let messages: Vec<String> = listed.into_iter().chain(published).collect();
    Some(ConditionValue { type_, status: reason == reasons::RESOLVED, reason, message: messages.join(" ") })
}

/// What status reports of `spec.auth.jwks`. The schema refuses most unusable keys. It cannot check whether coordinates are on
/// the curve.
fn listed_keys(unusable: &[String]) -> String {
    if unusable.is_empty() {
        return "Every key can verify assertions.".to_owned();
    }
    format!(
        "{}: assertions that it signs are refused. Replace it with the public key of the client.",
        unusable.join("; ")
    )
}

/// The condition `Ready` of a client that could authenticate only with published keys, if there are none.
pub(super) fn missing(observed: &Observed<'_>) -> Option<ConditionValue> {
    let (application, published) = (observed.application, &observed.published_keys);
    if published.is_empty() || can_authenticate(observed) {
        return None;
    }
    if published.iter().any(PublishedKeys::is_pending)
        && let Some(ready) = recorded(application, types::READY)
        && ![reasons::KEY_SET_UNAVAILABLE, reasons::PENDING].contains(&ready.reason.as_str())
    {
        return None;
    }
    resolved(observed).map(|resolved| ConditionValue { type_: types::READY, ..resolved })
}

/// Whether a method of the client does not need published keys, or has some.
fn can_authenticate(observed: &Observed<'_>) -> bool {
    let has_keys = |is_issuer: bool| {
        let mut keys = observed.published_keys.iter().filter(|keys| keys.owner.is_issuer() == is_issuer).peekable();
        keys.peek().is_none() || keys.any(|keys| !keys.is_empty())
    };
    let others = [
        AuthMethod::ClientSecretBasic,
        AuthMethod::ClientSecretPost,
        AuthMethod::KubernetesServiceAccount,
        AuthMethod::TlsClientAuth,
        AuthMethod::SelfSignedTlsClientAuth,
    ];
    let allows = |method| observed.application.spec.allows(method);
    others.into_iter().any(allows)
        || allows(AuthMethod::PrivateKeyJwt) && (has_keys(false) || observed.secrets.has_key_pair)
        || allows(AuthMethod::FederatedJwt) && has_keys(true)
}

/// A condition that status has for the current spec.
pub(super) fn recorded<'a>(application: &'a Application, type_: &str) -> Option<&'a Condition> {
    let conditions = &application.status.as_ref()?.conditions;
    let is_current = |condition: &&Condition| condition.observed_generation == application.metadata.generation;
    conditions.iter().find(|condition| condition.type_ == type_).filter(is_current)
}

#[cfg(test)]
mod tests;
