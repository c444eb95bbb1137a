//! The methods by which a client can authenticate, and why the others are not accepted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::lockout::Locked;
use super::secret::Secret;
use super::status::Standing;
use crate::api::application::UsedMethod;
use crate::api::client_secret::CredentialType;
use crate::oauth::client_auth::{Method, MethodSet};
use crate::read_model::from_objects::ListedCredentials;

/// Why a method is not accepted whatever the Application lists.
const REFUSED_BY_OPERATOR: &str = "the settings of the operator do not admit it";
/// Added to certificates that only some operators accept, if the caller may not read what the replicas report.
const UNKNOWN: &str = ", if the operator accepts certificates";

/// One method of client authentication.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MethodState {
    /// Its name in `spec.auth.methods`.
    pub(super) name: &'static str,
    /// Whether the endpoint accepts it now.
    pub(super) accepted: bool,
    /// The credentials, or why it is not accepted.
    pub(super) detail: String,
    /// Whether the Application itself lists a credential that is accepted.
    #[serde(skip)]
    pub(super) is_of_application: bool,
    /// When the client last authenticated with it, according to status; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Timestamp>,
}

/// Who allows which methods.
pub(super) struct Allowed<'a> {
    /// `spec.auth.methods`
    pub(super) by_application: MethodSet,
    /// The settings of every replica; `None`: not known.
    pub(super) by_operator: Option<&'a BTreeSet<String>>,
}

/// The state of every method. `used`: those of status.
pub(super) fn methods(
    allowed: &Allowed<'_>,
    ready: &Standing,
    secrets: &[Secret],
    listed: &ListedCredentials,
    locked: Option<&Locked>,
    used: &[UsedMethod],
) -> Vec<MethodState> {
    let active = |type_| {
        let active = secrets.iter().filter(|secret| secret.ready.active && secret.type_ == type_);
        let names: Vec<&str> = active.map(|secret| secret.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("ClientSecrets {}", names.join(", ")))
    };
    let credentials = |method| match method {
        Method::ClientSecretBasic | Method::ClientSecretPost => {
            active(CredentialType::SharedSecret).ok_or("no active ClientSecret of the type SharedSecret")
        }
        Method::PrivateKeyJwt | Method::FederatedJwt if listed.lacks_published_keys => {
            Err("no key was fetched: see the condition KeysResolved")
        }
        Method::PrivateKeyJwt => {
            let keys = (!listed.keys.is_empty()).then(|| format!("keys {}", listed.keys.join(", ")));
            let all: Vec<String> = keys.into_iter().chain(active(CredentialType::PrivateKey)).collect();
            let none = "no usable key in spec.auth.jwks, and no active ClientSecret of the type PrivateKey";
            if all.is_empty() { Err(none) } else { Ok(all.join("; ")) }
        }
        Method::KubernetesServiceAccount if listed.service_accounts.is_empty() => {
            Err("no ServiceAccount in spec.auth.serviceAccounts")
        }
        Method::KubernetesServiceAccount => Ok(format!("ServiceAccounts {}", listed.service_accounts.join(", "))),
        Method::FederatedJwt if listed.issuers.is_empty() => Err("no subject in spec.auth.issuers"),
        Method::FederatedJwt => Ok(format!("tokens of {}", listed.issuers.join(", "))),
        Method::TlsClientAuth if listed.certificate_names.is_empty() => {
            Err("no usable sanDns, sanUri or subjectDn in spec.auth.certificates")
        }
        Method::TlsClientAuth => {
            let names = listed.certificate_names.join(", ");
            Ok(format!("certificates of the operator's CAs with {names}"))
        }
        Method::SelfSignedTlsClientAuth if listed.certificates.is_empty() => {
            Err("no thumbprintSha256 in spec.auth.certificates, and no usable x5c in spec.auth.jwks")
        }
        Method::SelfSignedTlsClientAuth => Ok(format!("certificates with {}", listed.certificates.join(", "))),
    };
    let state = |method: &Method| {
        let result = if !ready.active {
            Err("the client is disabled")
        } else if !allowed.by_application.contains(*method) {
            Err("not in spec.auth.methods")
        } else if allowed.by_operator.is_some_and(|admitted| !admitted.contains(method.name())) {
            Err(REFUSED_BY_OPERATOR)
        } else {
            credentials(*method).map(|listed| match (method, allowed.by_operator, locked) {
                (Method::TlsClientAuth | Method::SelfSignedTlsClientAuth, None, _) => listed + UNKNOWN,
                (secret, _, Some(locked)) if secret.is_secret() => {
                    format!("{listed}; {}", locked.text())
                }
                _ => listed,
            })
        };
        let is_locked = method.is_secret() && locked.is_some_and(|locked| locked.networks.is_empty());
        let accepted = result.is_ok() && !is_locked;
        let is_listed = match method {
            Method::ClientSecretBasic | Method::ClientSecretPost => false,
            Method::PrivateKeyJwt => !listed.keys.is_empty(),
            // Their credentials are never in a ClientSecret.
            _ => true,
        };
        MethodState {
            name: method.name(),
            accepted,
            detail: result.unwrap_or_else(str::to_owned),
            is_of_application: accepted && is_listed,
            last_used_at: used.iter().find(|used| used.method == method.name()).map(|used| used.last_used_at),
        }
    };
    Method::ALL.iter().map(state).collect()
}
