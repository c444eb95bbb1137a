//! The methods by which a client can authenticate, and why the others are not accepted.

use serde::Serialize;

use super::secret::Secret;
use super::status::Standing;
use crate::oauth::client_auth::{Method, MethodSet};
use crate::read_model::from_objects::ListedCredentials;

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
}

/// The state of every method. `allowed`: those of `spec.auth.methods`.
pub(super) fn methods(
    allowed: MethodSet,
    ready: &Standing,
    secrets: &[Secret],
    listed: &ListedCredentials,
) -> Vec<MethodState> {
    let active: Vec<&str> =
        secrets.iter().filter(|secret| secret.ready.active).map(|secret| secret.name.as_str()).collect();
    let credentials = |method| match method {
        Method::ClientSecretBasic | Method::ClientSecretPost if active.is_empty() => Err("no active ClientSecret"),
        Method::ClientSecretBasic | Method::ClientSecretPost => Ok(format!("ClientSecrets {}", active.join(", "))),
        Method::PrivateKeyJwt if listed.keys.is_empty() => Err("no usable key in spec.auth.jwks"),
        Method::PrivateKeyJwt => Ok(format!("keys {}", listed.keys.join(", "))),
        Method::KubernetesServiceAccount if listed.service_accounts.is_empty() => {
            Err("no ServiceAccount in spec.auth.serviceAccounts")
        }
        Method::KubernetesServiceAccount => Ok(format!("ServiceAccounts {}", listed.service_accounts.join(", "))),
    };
    let state = |method: &Method| {
        let result = if !ready.active {
            Err("the client is disabled")
        } else if !allowed.contains(*method) {
            Err("not in spec.auth.methods")
        } else {
            credentials(*method)
        };
        let accepted = result.is_ok();
        MethodState { name: method.name(), accepted, detail: result.unwrap_or_else(str::to_owned) }
    };
    Method::ALL.iter().map(state).collect()
}
